"""What a store is asked, and what it answers: one record for each side of every transaction.

Moments and durations are milliseconds, moments by the store's clock; payloads are opaque bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum

import msgpack

from runner.codec import unpack_as
from runner.messages import Hint
from runner.records import AuditEntry, Entry, InboxItem, Schedule, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A wait to be opened by a commit. The store turns ``after_ms`` into a deadline, once.

    Exactly one of ``after_ms`` / ``until_ms`` may be given; neither: no deadline. A wait that is
    open already keeps its deadline, except with ``replace`` (a step's next retry, or its heartbeat).
    """

    id: str
    kind: str  # sleep | signal | ended | step
    name: str = ""  # the signal's name, the execution waited for, the step's last error
    after_ms: int | None = None
    until_ms: int | None = None
    attempts: int = 0
    replace: bool = False
    details: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Everything a start stores. ``request`` is one random id per logical call: a repeat is recognised by it."""

    id: str
    request: str
    workflow: str
    version: int
    queue: str
    input: bytes
    digest: str
    key: str | None = None
    timeout_ms: int | None = None
    delay_ms: int = 0
    at_ms: int | None = None
    retention_ms: int = 7 * 24 * 3600 * 1000
    parent: str = ""  # who hears of its end, and in which run; "@<id>": a schedule
    parent_run: int = 0
    parent_close: str = ""  # of a child: "cancel" or "abandon" at its parent's end
    seed: str = ""  # of a fork, what its origin's run derived from …
    run_at: int | None = None  # … and when that began
    attributes: tuple[tuple[str, str], ...] = ()  # name and JSON text, sorted by name
    audit: int = 1_000  # lines that its audit trail keeps; 0: none
    entries: tuple[Entry, ...] = ()  # a journal to begin with (a fork's)

    def pack(self) -> bytes:
        """For the outbox."""
        row = [getattr(self, name) for name in _START_FIELDS]
        return bytes(msgpack.packb((*row, [entry.pack() for entry in self.entries])))

    @classmethod
    def unpack(cls, blob: bytes) -> Start:
        *row, entries = unpack_as(blob, "start", len(_START_FIELDS) + 1)
        named = dict(zip(_START_FIELDS, row, strict=True))
        named["attributes"] = tuple((name, text) for name, text in named["attributes"])
        return cls(**named, entries=tuple(Entry.unpack(one) for one in entries))


_START_FIELDS = tuple(one.name for one in fields(Start) if one.name != "entries")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """An execution that has just become ready, with all its hint must say."""

    id: str
    queue: str
    workflow: str
    version: int
    seq: int

    @property
    def hint(self) -> Hint:
        """What tells a worker of it."""
        return Hint(self.id, self.workflow, self.version, self.seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The store's answer to a start.

    ``new``: created by this request (also when this request is a repeat of itself). Otherwise the
    id was there before, with ``digest`` of the input it was created with. ``wake`` is set when a
    hint should be published (new, or still pending and never claimed: its publish may be lost).
    """

    new: bool
    digest: str
    wake: Wake | None
    parcels: tuple[Parcel, ...] = ()
    rows: tuple[AuditEntry, ...] = ()


class Refusal(StrEnum):
    """Why a claim was refused: in every case the delivery is finished with."""

    UNKNOWN = "unknown"  # the store does not know the execution: its hint is an orphan
    TERMINAL = "terminal"
    OWNED = "owned"
    IDLE = "idle"  # not ready: nothing to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """End the turn: nothing left to do but wait. Refused while there is news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    result: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """``escaped``: the recorded entries whose failure it was; an operator's retry tries them again."""

    error: bytes
    escaped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FailCompensation:
    """A compensation failed for good: ends ``compensation_failed``, also while cancelling."""

    error: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCancelled:
    """The workflow reached its end after a cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAttempt:
    """Try the execution again after ``after_ms``, without the recorded failures ``drop``."""

    after_ms: int
    error: bytes
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueAsNew:
    """Begin the next run with ``input``: an empty journal, and of the inbox the items ``keep`` (by index) and all unseen."""

    input: bytes
    keep: tuple[int, ...] = ()


End = Suspend | Complete | Fail | FailCompensation | EndCancelled | RetryAttempt | ContinueAsNew


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Something on its way to another partition or to the broker; applied idempotently under ``request``.

    ``start``: payload is a packed Start. ``signal``, ``cancel``, ``ended``: an item for the target's inbox (a cancel leaves
    a tombstone where the target has not been started yet; ``run``: only for this run of the
    target, 0 for any). ``follow``: payload is a packed Follow. ``reopened``: an operator has opened the target's child
    ``name`` again. ``emit``: target is the event's name, payload what the broker is to carry.
    """

    target: str
    request: str
    kind: str  # start | signal | cancel | ended | reopened | follow | emit
    name: str = ""
    payload: bytes = b""
    run: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """``waiter`` (in its run ``run``) wants to hear of the end of ``target``, which it takes for a ``workflow`` ("": for any)."""

    target: str
    waiter: str
    run: int
    workflow: str
    request: str = ""  # what tells one answer from another that the same waiter was given of the same target
    expected: bool = False  # not to be answered while the target is not there: see ``Store.follow``

    def pack(self) -> bytes:
        return bytes(msgpack.packb((self.target, self.waiter, self.run, self.workflow, self.request)))

    @classmethod
    def unpack(cls, blob: bytes) -> Follow:
        target, waiter, run, workflow, request = unpack_as(blob, "follow", 5)
        return cls(target=target, waiter=waiter, run=run, workflow=workflow, request=request)

    @property
    def suffix(self) -> str:
        """Behind the request of a notice that answers at once."""
        return f":{self.request}" if self.request else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The one fenced write of a turn. ``count`` numbers the commits under one lease: 1, 2, 3, …

    ``seen`` is the inbox length the turn has seen; ``closes`` are waits that are open no longer
    without an entry of their own (a cancelled branch's).
    """

    id: str
    nonce: str
    count: int
    lease_ms: int
    seen: int
    entries: tuple[Entry, ...] = ()
    opens: tuple[Open, ...] = ()
    closes: tuple[str, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()
    children: tuple[tuple[str, str], ...] = ()  # started by this commit: id, and "cancel" or "abandon" at our end
    attributes: tuple[tuple[str, str], ...] = ()  # to be set; others stay
    outstanding: int = 0  # compensations registered and not run, as of this commit
    audit: tuple[AuditEntry, ...] = ()
    end: End | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The store's answer to a commit that it accepted.

    ``released``: the turn has ended and the lease is given back; ``status`` is then the new one.
    Not released although an end was asked: a suspension that was refused, because ``news`` came or
    a deadline passed; the entries and waits are stored, the lease goes on. ``wake`` is set when the next run is
    ready. ``parcels``: what this commit put into the outbox; empty in the answer to a repeat (the scheduler has them).
    """

    now: int
    released: bool
    status: Status
    deadlines: dict[str, int | None] = field(default_factory=dict)  # of the waits in ``opens``
    news: tuple[InboxItem, ...] = ()  # all that lies behind ``seen``
    wake: Wake | None = None
    parcels: tuple[Parcel, ...] = ()
    rows: tuple[AuditEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """Append to an execution's inbox. ``request`` makes a repeat recognisable.

    ``run``: only for this run (0: for any). ``tombstone``: a cancel of an execution that is not there yet is
    remembered, and ends it when it is started.
    """

    id: str
    request: str
    kind: str  # signal | cancel | ended | reopened
    name: str
    payload: bytes
    run: int = 0
    tombstone: bool = False


class Reception(StrEnum):
    """What became of a delivery to an inbox."""

    DELIVERED = "delivered"  # also the answer to a repeat of the same request
    TERMINAL = "terminal"  # finished: no effect
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """``wake`` is set when the delivery made the execution ready: publish its hint."""

    reception: Reception
    wake: Wake | None = None
    parcels: tuple[Parcel, ...] = ()
    rows: tuple[AuditEntry, ...] = ()


class Action(StrEnum):
    """What an operator does to an execution."""

    RETRY = "retry"  # reopen a failed one, without the entries ``drop``
    ROLLBACK = "rollback"  # reopen one to run its outstanding compensations, without the entries ``drop``
    RECORD = "record"  # put ``entry`` into the journal, in the place of one of the same id
    HURRY = "hurry"  # end the pauses before retries: the execution's own, and those of the steps ``hurry``
    FORCE_FAIL = "force_fail"  # end it as failed, with ``error``
    FORK = "fork"  # its trail says into what it was forked; nothing else is touched


@dataclass(frozen=True, slots=True, kw_only=True)
class Operate:
    """What an operator asks. ``entries`` is how many journal entries the decision was based on (None: any number).

    ``audit`` is its row in the trail, where there is more to say than the store knows: it takes the place of the store's own.
    """

    id: str
    request: str
    action: Action
    actor: str
    entries: int | None = None
    entry: Entry | None = None
    drop: tuple[str, ...] = ()
    hurry: tuple[str, ...] = ()
    error: bytes = b""
    mark: Entry | None = None  # a line to be put behind the last of the journal
    audit: AuditEntry | None = None


class Verdict(StrEnum):
    """What became of an operator's action."""

    DONE = "done"  # also the answer to a repeat of the same request
    UNKNOWN = "unknown"
    REFUSED = "refused"  # the execution's status does not allow it
    CHANGED = "changed"  # the journal is not as it was: look again


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    verdict: Verdict
    status: Status | None = None
    wake: Wake | None = None
    parcels: tuple[Parcel, ...] = ()
    rows: tuple[AuditEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    id: str
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """``held`` is False when the lease is somebody else's by now; ``inbox`` is the inbox length."""

    id: str
    held: bool
    inbox: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """Executions made ready by time, and when the same look would next find something (None: nothing is waiting)."""

    wakes: tuple[Wake, ...]
    next_at: int | None
    now: int
    parcels: tuple[Parcel, ...] = ()
    rows: tuple[AuditEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Ready executions that nobody claimed in time.

    ``ready`` counts all ready entries per queue in this partition, overdue or not. ``passed``
    wakes were refused by a worker that cannot run them: republish them whatever the queue holds.
    """

    lost: tuple[Wake, ...]
    passed: tuple[Wake, ...]
    ready: dict[str, int]
    next_at: int | None
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSchedules:
    schedules: tuple[Schedule, ...]
    next_at: int | None
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """An outbox entry with its partition and place, so that it can be removed when it has been applied."""

    place: str
    outgoing: Outgoing
    partition: int = 0
