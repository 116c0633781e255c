"""What the store keeps: frozen records, no behaviour beyond packing.

Moments are integers: milliseconds of the *store's* clock since 1970. Durations are milliseconds.
Payloads are opaque ``bytes``, encoded once by ``runner.codec``; no store ever looks inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgpack

from runner.codec import unpack_as
from runner.load import NO_LOAD, Load


class Status(StrEnum):
    """Where an execution is. The legal moves are in ``runner.core.status``."""

    PENDING = "pending"
    RUNNING = "running"
    SLEEPING = "sleeping"
    RETRYING = "retrying"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    COMPENSATION_FAILED = "compensation_failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.COMPENSATION_FAILED, Status.CANCELLED})


class Cause(StrEnum):
    """Why a terminal execution ended otherwise than by its own return or error."""

    NONE = ""
    TIMED_OUT = "timed_out"
    POISONED = "poisoned"
    FORCED = "forced"  # by an operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal: the final outcome of the call ``id``. Never changes once recorded.

    ``number`` is its place in the order in which results entered the workflow, ``at`` the store's
    time then, ``consumes`` the index of the inbox item it used up (-1: none).
    """

    number: int
    id: str
    kind: str  # step | compensation | sleep | signal | ended | cancel | switch | race | patch | emit | note | child | attempt
    outcome: str  # ok | failed | timed_out | refused
    payload: bytes
    at: int
    attempts: int = 1
    consumes: int = -1
    started_at: int = 0
    tries: bytes = b""  # the attempts that failed before it: ``unpack_tries``

    def pack(self) -> bytes:
        result = (self.number, self.id, self.kind, self.outcome, self.payload, self.at)
        return bytes(msgpack.packb((*result, self.attempts, self.consumes, self.started_at, self.tries)))

    @classmethod
    def unpack(cls, blob: bytes) -> Entry:
        number, id, kind, outcome, payload, at, attempts, consumes, started_at, tries, *_ = unpack_as(
            blob, "entry", members=10
        )
        return cls(
            number=number,
            id=id,
            kind=kind,
            outcome=outcome,
            payload=payload,
            at=at,
            attempts=attempts,
            consumes=consumes,
            started_at=started_at,
            tries=tries,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One failed attempt of a step: by which worker, from when to when, and what it ended with."""

    attempt: int
    started_at: int
    ended_at: int
    worker: str
    error: str


def pack_tries(tries: tuple[Try, ...]) -> bytes:
    return bytes(msgpack.packb([astuple(one) for one in tries])) if tries else b""


def unpack_tries(blob: bytes) -> tuple[Try, ...]:
    names = [one.name for one in fields(Try)]
    return tuple(Try(**dict(zip(names, row, strict=True))) for row in unpack_as(blob, "attempts")) if blob else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """An open wait as the store holds it: its deadline (None: no deadline) is absolute.

    ``details`` is opaque to the store; of a step it holds the attempts so far and its last heartbeat.
    """

    id: str
    kind: str  # sleep | signal | ended | step
    name: str  # the signal's name, the execution waited for, the step's last error
    opened_at: int
    deadline: int | None
    attempts: int = 0
    details: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem:
    """Something that reached an execution from outside. ``index`` counts from 0 in arrival order."""

    index: int
    at: int
    kind: str  # signal | cancel | ended
    name: str  # the signal's name, the cancel's reason, the execution that ended
    payload: bytes  # of ``ended``: a packed Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """How an execution ended, as it reaches whoever waits for it.

    ``status`` is a terminal Status, or ``unknown`` (no such execution), ``mismatch`` (it is of the workflow
    ``workflow``, not of the one that was asked for) or ``conflict`` (a child's id belongs to another input).
    """

    execution_id: str
    status: str
    workflow: str = ""
    attempt: int = 0
    key: str | None = None
    cause: str = ""
    reason: str = ""
    result: bytes | None = None
    error: bytes | None = None

    def pack(self) -> bytes:
        return bytes(msgpack.packb(astuple(self)))

    @classmethod
    def unpack(cls, blob: bytes) -> Notice:
        names = [one.name for one in fields(cls)]
        return cls(**dict(zip(names, unpack_as(blob, "notice", len(names)), strict=False)))


#: An audit trail's field: plain, so that both stores and every reader can show it.
Plain = str | int | float | bool | bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of an execution's audit trail. The kinds and their fields are listed in ``runner.audit``."""

    execution_id: str
    at: int
    kind: str
    fields: Mapping[str, Plain] = field(default_factory=lambda: MappingProxyType({}))

    def pack(self) -> bytes:
        """Without the execution's id, which whoever keeps it knows."""
        return bytes(msgpack.packb((self.at, self.kind, dict(self.fields))))

    @classmethod
    def unpack(cls, execution_id: str, blob: bytes) -> AuditEntry:
        at, kind, fields = unpack_as(blob, "audit row", 3)
        # Lua has one type for an empty list and an empty map.
        return cls(execution_id=execution_id, at=int(at), kind=kind, fields=fields or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildLink:
    """A child that an execution's present run started, or that an older one left running."""

    execution_id: str
    policy: str  # cancel | abandon
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The record of one execution."""

    id: str
    workflow: str
    version: int
    queue: str
    status: Status
    input: bytes
    digest: str
    key: str | None
    run: int
    attempt: int
    crashes: int  # since the last entry was recorded
    created_at: int
    started_at: int | None
    ended_at: int | None
    deadline: int | None
    seq: int
    worker: str
    lease_until: int | None
    result: bytes | None
    error: bytes | None
    cause: Cause
    reason: str  # of the cancel
    passed: str  # why a worker last passed it over
    parent: str = ""  # the execution that started it, if any …
    parent_run: int = 0  # … and in which of its runs
    seed: str = ""  # what uuid and random are derived from: of a fork its origin's, otherwise its own id
    run_at: int | None = None  # when this run began; None in the first, which begins with ``started_at``
    timeout_ms: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    outstanding: int = 0  # compensations that are registered and have not run
    rollback: bool = False  # reopened to run those, and nothing else
    escaped: tuple[str, ...] = ()  # the recorded entries whose failure ended it
    openings: int = 0  # how often an operator reopened it

    @property
    def derived_from(self) -> str:
        """What uuid and random of this run derive from: of a fork's first run its origin's, which recorded it."""
        forked = self.seed if self.run == 1 and self.seed != self.id else ""
        return forked or f"{self.id}#{self.run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A record with all that replay needs, read in one round trip; ``now`` is the store's clock."""

    execution: Execution
    entries: tuple[Entry, ...]  # by number
    waits: tuple[Wait, ...]
    inbox: tuple[InboxItem, ...]
    now: int
    rows: tuple[AuditEntry, ...] = ()  # what this read itself added to the audit trail (a claim does)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A worker process, and the workflows it knows: (name, version, queue).

    ``seen_at`` is the store's time of its last heartbeat; ``host`` and ``pid`` say where it runs, where it said so.
    """

    id: str
    build: str
    queues: tuple[str, ...]
    workflows: tuple[tuple[str, int, str], ...]
    slots: int
    lease_ms: int = 10_000
    seen_at: int = 0
    load: Load = NO_LOAD
    host: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leadership:
    """Who leads. ``leading`` is about the asker; ``leader`` names whoever holds the lease now."""

    leading: bool
    leader: str
    expires_in_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a listing shows, newest first. All conditions hold together."""

    status: Status | None = None
    workflow: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()  # name and JSON text, as in ``Start.attributes``
    stuck: bool = False  # only what needs an operator: see ``Store.executions``
    limit: int = 20
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``cursor`` is None on the last page. ``unreadable``: what could not be read and is left out, and why, by its name."""

    executions: tuple[Execution, ...]
    cursor: str | None
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])


class Overlap(StrEnum):
    """What a tick does while an execution of an earlier tick has not ended."""

    ALLOW = "allow"
    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    CANCEL_OTHER = "cancel_other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What was decided of one tick and is not carried out yet. Whoever finds it carries it out; nobody decides it again.

    ``action``: start (``execution_id``, after cancelling ``cancels``), skip, or buffer (it starts when what runs has ended).
    """

    tick: int
    action: str
    execution_id: str = ""
    cancels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule, whole: decisions are functions from one of these to the next, the store compares and sets.

    ``revision`` counts the changes. ``due_at``: when a scheduler must look at it next (None: never by itself).
    ``grid_from``: ticks after this moment are still to be decided.
    """

    id: str
    revision: int = 0
    workflow: str
    version: int
    queue: str
    input: bytes
    digest: str
    cron: str = ""
    interval_ms: int = 0
    timezone: str = "UTC"
    overlap: Overlap = Overlap.ALLOW
    all_within_ms: int = 60_000
    then: str = "latest"  # latest | all | skip
    window_ms: int = 3_600_000
    jitter_ms: int = 0
    start_at: int | None = None
    end_at: int | None = None
    max_runs: int | None = None
    timeout_ms: int | None = None
    retention_ms: int = 7 * 24 * 3600 * 1000
    attributes: tuple[tuple[str, str], ...] = ()
    audit: int = 1_000
    created_at: int = 0
    updated_at: int = 0
    paused: bool = False
    note: str = ""  # of the pause
    grid_from: int = 0
    due_at: int | None = None
    pending: Pending | None = None
    buffered: int | None = None  # the tick that starts when what runs has ended
    running: tuple[str, ...] = ()  # executions of earlier ticks that may not have ended
    runs: int = 0  # executions started
    skipped: int = 0  # ticks that were not run: overlapping, or too late
    last_tick: int | None = None  # the last that really started an execution …
    last_started_at: int | None = None  # … when …
    last_execution: str = ""  # … and which
    error: str = ""  # why it is unhealthy: the last attempt to carry out a tick failed
    failures: int = 0  # in a row

    def pack(self) -> bytes:
        """All of it; stores keep it as it is."""
        row = {one.name: getattr(self, one.name) for one in fields(self)}
        row["pending"] = None if self.pending is None else astuple(self.pending)
        return bytes(msgpack.packb(row))

    @classmethod
    def unpack(cls, blob: bytes) -> Schedule:
        row = unpack_as(blob, "schedule")
        row["overlap"] = Overlap(row["overlap"])
        row["running"] = tuple(row["running"])
        row["attributes"] = tuple((name, text) for name, text in row["attributes"])
        if row["pending"] is not None:
            tick, action, execution_id, cancels = row["pending"]
            row["pending"] = Pending(tick=tick, action=action, execution_id=execution_id, cancels=tuple(cancels))
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in row.items() if name in known})
