"""What happens to executions and workers, for observers: ``@app.on(events.StepCompleted)``.

Told in the process that made the change, after the store has it, best effort: when that process dies, nobody is told
again. (What must not be missed is emitted by the workflow itself: ``runner.Event``.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from runner.codec import decode
from runner.errors import PayloadError
from runner.records import AuditEntry, Plain

# -- executions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAppended:
    """One line of an audit trail, of any kind: the kinds and their fields are listed in ``runner.audit``.

    Also told of executions that keep no trail.
    """

    execution_id: str
    at: int
    kind: str
    fields: Mapping[str, Plain]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionEvent:
    """What all events of executions have; who observes it is told all of them.

    ``at``: ms of the store's clock. ``id``: of the journal's entry or of the wait.
    """

    execution_id: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionCreated(ExecutionEvent):
    """``parent``: the execution that started it, or empty."""

    workflow: str = ""
    version: int = 0
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStatusChanged(ExecutionEvent):
    """``worker`` is told at a claim, ``cause`` at an end: timed_out, poisoned, forced, or empty."""

    before: str = ""
    after: str = ""
    worker: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalDelivered(ExecutionEvent):
    """A signal is in the inbox."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeDelivered(ExecutionEvent):
    """The end of the execution ``name`` is in the inbox."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested(ExecutionEvent):
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorActed(ExecutionEvent):
    """``verb``: what was done where the action is one of several (skip_step, edit_step, force_fail or fork), with the ``step``,
    the ``reason``, or the id of the ``fork``.
    """

    action: str = ""
    actor: str = ""
    verb: str = ""
    step: str = ""
    reason: str = ""
    fork: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound(ExecutionEvent):
    """Its record stood at wake-up ``seq``, a hint knew of ``hint``: the store went back in time, or the hint was forged."""

    seq: int = 0
    hint: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired(ExecutionEvent):
    """A check of the store has set something right, in words."""

    done: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCompleted(ExecutionEvent):
    """``attempts`` includes the one that succeeded; ``duration_ms`` is its own."""

    id: str = ""
    attempts: int = 1
    duration_ms: int = 0
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(ExecutionEvent):
    """For good: ``outcome`` is failed, timed_out, or refused (its result cannot be stored)."""

    id: str = ""
    outcome: str = ""
    attempts: int = 1
    duration_ms: int = 0
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(ExecutionEvent):
    """One attempt of a step or a compensation; ``again``: it will be tried again."""

    id: str = ""
    attempt: int = 1
    error: str = ""
    again: bool = False
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCompensated(ExecutionEvent):
    """As StepCompleted; ``id`` is the compensation's."""

    id: str = ""
    attempts: int = 1
    duration_ms: int = 0
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCompensationFailed(ExecutionEvent):
    """As StepFailed; ``id`` is the compensation's."""

    id: str = ""
    outcome: str = ""
    attempts: int = 1
    duration_ms: int = 0
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOpened(ExecutionEvent):
    """``wait``: sleep, signal or ended; ``name``: the signal, or the execution waited for."""

    id: str = ""
    wait: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitTimedOut(ExecutionEvent):
    """``what``: signal or ended; ``name`` as in WaitOpened."""

    id: str = ""
    what: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slept(ExecutionEvent):
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalConsumed(ExecutionEvent):
    """A wait has got the signal."""

    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndHeard(ExecutionEvent):
    """A wait has heard of the end of ``other``, with its status."""

    id: str = ""
    other: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChosen(ExecutionEvent):
    id: str = ""
    case: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceWon(ExecutionEvent):
    id: str = ""
    winner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchTaken(ExecutionEvent):
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEmitted(ExecutionEvent):
    id: str = ""
    event: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteAdded(ExecutionEvent):
    id: str = ""
    message: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStarted(ExecutionEvent):
    id: str = ""
    child: str = ""
    workflow: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBegun(ExecutionEvent):
    """``ids``: the steps that are to be compensated."""

    id: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContinued(ExecutionEvent):
    """``run`` is the number of the next one."""

    run: int = 0


# -- workers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEvent:
    """What happens to a worker of this process, by its id; who observes it is told all of it."""

    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(WorkerEvent):
    """It takes work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining(WorkerEvent):
    """It takes no new work, and finishes what it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborting(WorkerEvent):
    """Its grace is over: what still runs is cut off and handed back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained(WorkerEvent):
    """It has nothing left."""


Observable = AuditAppended | ExecutionEvent | WorkerEvent
OBSERVABLE = (AuditAppended, ExecutionEvent, WorkerEvent)

# -- from a row to its event ----------------------------------------------------------------------------------

_TYPES: Mapping[str, type[ExecutionEvent]] = {
    "created": ExecutionCreated,
    "status": ExecutionStatusChanged,
    "cancel": CancelRequested,
    "operator": OperatorActed,
    "rewound": Rewound,
    "repaired": Repaired,
    "attempt_failed": AttemptFailed,
    "wait": WaitOpened,
    "timeout": WaitTimedOut,
    "sleep": Slept,
    "signal": SignalConsumed,
    "ended": EndHeard,
    "switch": CaseChosen,
    "race": RaceWon,
    "patch": PatchTaken,
    "emit": EventEmitted,
    "note": NoteAdded,
    "child": ChildStarted,
    "rollback": RollbackBegun,
    "continued": RunContinued,
}
#: Where a field is called otherwise than in the row.
_CALLED: Mapping[tuple[str, str], str] = {
    ("status", "from"): "before",
    ("status", "to"): "after",
    ("ended", "execution_id"): "other",
    ("child", "execution_id"): "child",
}


def umbrella(row: AuditEntry) -> AuditAppended:
    """The event that every row has."""
    return AuditAppended(execution_id=row.execution_id, at=row.at, kind=row.kind, fields=row.fields)


def typed(row: AuditEntry) -> ExecutionEvent | None:
    """The row's own event; None for a kind that this version does not know. Unknown fields are passed over."""
    cls = _type_of(row)
    if cls is None:
        return None
    told = {_CALLED.get((row.kind, name), name): _value(name, value) for name, value in row.fields.items()}
    known = {one.name for one in fields(cls)} - {"execution_id", "at"}
    return cls(execution_id=row.execution_id, at=row.at, **{name: told[name] for name in known & told.keys()})


def _type_of(row: AuditEntry) -> type[ExecutionEvent] | None:
    well = row.fields.get("outcome") == "ok"
    match row.kind:
        case "step":
            return StepCompleted if well else StepFailed
        case "compensation":
            return StepCompensated if well else StepCompensationFailed
        case "delivered":
            return SignalDelivered if row.fields.get("kind") == "signal" else NoticeDelivered
        case kind:
            return _TYPES.get(kind)


def _value(name: str, value: Plain) -> Any:
    """Lists and dicts are kept as the codec's bytes."""
    if not isinstance(value, bytes):
        return value
    try:
        decoded = decode(value)
    except PayloadError:
        return value
    return tuple(decoded) if name == "ids" else decoded
