"""What a store is asked, and what it answers: one record for each side of every transaction.

Moments and durations are milliseconds, moments by the store's clock; payloads are opaque bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from runner.messages import Hint
from runner.records import Entry, InboxItem, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A wait to be opened by a commit. The store turns ``after_ms`` into a deadline, once.

    Exactly one of ``after_ms`` / ``until_ms`` may be given; neither: no deadline. A wait that is
    open already keeps its deadline, except with ``replace`` (the next retry of a step).
    """

    id: str
    kind: str  # sleep | signal | retry
    name: str = ""  # the signal's name, or the step's last error
    after_ms: int | None = None
    until_ms: int | None = None
    attempts: int = 0
    replace: bool = False


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


End = Suspend | Complete | Fail | EndCancelled | RetryAttempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Something on its way to another execution; applied idempotently under ``request``."""

    target: str
    request: str
    kind: str
    name: str
    payload: bytes


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
    end: End | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The store's answer to a commit that it accepted.

    ``released``: the turn has ended and the lease is given back; ``status`` is then the new one.
    Not released although an end was asked: a suspension that was refused, because ``news`` came or
    a deadline passed; the entries and waits are stored, the lease goes on.
    """

    now: int
    released: bool
    status: Status
    deadlines: dict[str, int | None] = field(default_factory=dict)  # of the waits in ``opens``
    news: tuple[InboxItem, ...] = ()  # all that lies behind ``seen``


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """Append to an execution's inbox. ``request`` makes a repeat recognisable."""

    id: str
    request: str
    kind: str  # signal | cancel
    name: str
    payload: bytes


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
class Parcel:
    """An outbox entry with its place, so that it can be removed when it has been applied."""

    place: str
    outgoing: Outgoing
