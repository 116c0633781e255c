"""What the store keeps: frozen records, no behaviour beyond packing.

Moments are integers: milliseconds of the *store's* clock since 1970. Durations are milliseconds.
Payloads are opaque ``bytes``, encoded once by ``runner.codec``; no store ever looks inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgpack


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal: the final outcome of the call ``id``. Never changes once recorded.

    ``number`` is its place in the order in which results entered the workflow, ``at`` the store's
    time then, ``consumes`` the index of the inbox item it used up (-1: none).
    """

    number: int
    id: str
    kind: str  # step | sleep | signal | cancel
    outcome: str  # ok | failed | timed_out
    payload: bytes
    at: int
    attempts: int = 1
    consumes: int = -1
    started_at: int = 0

    def pack(self) -> bytes:
        return bytes(
            msgpack.packb(
                (
                    self.number,
                    self.id,
                    self.kind,
                    self.outcome,
                    self.payload,
                    self.at,
                    self.attempts,
                    self.consumes,
                    self.started_at,
                )
            )
        )

    @classmethod
    def unpack(cls, blob: bytes) -> Entry:
        number, id, kind, outcome, payload, at, attempts, consumes, started_at, *_ = msgpack.unpackb(blob)
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
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """An open wait as the store holds it: its deadline (None: no deadline) is absolute."""

    id: str
    kind: str
    name: str
    opened_at: int
    deadline: int | None
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem:
    """Something that reached an execution from outside. ``index`` counts from 0 in arrival order."""

    index: int
    at: int
    kind: str  # signal | cancel
    name: str
    payload: bytes


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


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A record with all that replay needs, read in one round trip; ``now`` is the store's clock."""

    execution: Execution
    entries: tuple[Entry, ...]  # by number
    waits: tuple[Wait, ...]
    inbox: tuple[InboxItem, ...]
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One live worker process, and the workflows it knows: (name, version, queue).

    ``seen_at`` is the store's time of its last heartbeat.
    """

    id: str
    build: str
    queues: tuple[str, ...]
    workflows: tuple[tuple[str, int, str], ...]
    slots: int
    lease_ms: int = 10_000
    seen_at: int = 0


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
    limit: int = 20
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``cursor`` is None on the last page."""

    executions: tuple[Execution, ...]
    cursor: str | None
