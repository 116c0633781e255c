"""An execution as an operator looks at it: everything the store holds of it, read and put together.

Moments are milliseconds of the store's clock, as in the records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.failures import Failure
from runner.plain import (
    failure_of,
    failure_of_entry,
    fields_of_row,
    plain,
    readable,
    value_of_entry,
    value_of_item,
)
from runner.records import (
    AuditEntry,
    Cause,
    ChildLink,
    Entry,
    Execution,
    History,
    InboxItem,
    Status,
    Try,
    Wait,
    unpack_tries,
)
from runner.step import StepState

#: The kinds of entries that are calls of a step's function.
STEP_KINDS = ("step", "compensation")


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """A journal entry, and what its payload holds: a value, or the failure that was recorded instead."""

    entry: Entry
    value: Any
    error: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxLine:
    """Something that arrived, and what its payload holds."""

    item: InboxItem
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """A row of the audit trail with its fields as plain values. The kinds are listed in ``runner.audit``."""

    execution_id: str
    at: int
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """What became of a step so far.

    ``state``: ``completed``, ``failed`` (for good), ``retrying`` (next at ``retry_at``) or ``open`` (being performed).
    ``last_error``: of a retrying one; ``tries``: the attempts that failed so far; ``heartbeat`` and ``progress`` (done,
    of a total if it is known): the last that an open one said.
    """

    id: str
    kind: str  # step | compensation
    state: str
    attempts: int
    started_at: int | None
    ended_at: int | None
    retry_at: int | None = None
    value: Any = None
    error: Failure | None = None
    last_error: str = ""
    tries: tuple[Try, ...] = ()
    heartbeat: Any = None
    progress: tuple[float, float | None] | None = None

    @property
    def duration_ms(self) -> int | None:
        """From the beginning of the last attempt to the record of its outcome; None while it is open."""
        return None if self.started_at is None or self.ended_at is None else self.ended_at - self.started_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where an execution stands. ``waits``: what it waits for; empty once it has ended.

    ``next_at``: the earliest moment at which time alone moves it on; None when only the outside can.
    """

    doing: str
    waits: tuple[Wait, ...]
    next_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """All there is to know. ``now`` is the store's time of the look; ``audit`` is the end of the trail."""

    execution: Execution
    position: Position
    input: Any
    result: Any
    error: Failure | None
    journal: tuple[JournalLine, ...]
    steps: tuple[StepLine, ...]
    unread: tuple[InboxLine, ...]
    children: tuple[ChildLink, ...]
    audit: tuple[AuditLine, ...]
    now: int


def detail_of(history: History, children: Sequence[ChildLink], trail: Sequence[AuditEntry]) -> Detail:
    """Everything put together; pure, and never failing on what it is shown."""
    execution = history.execution
    return Detail(
        execution=execution,
        position=position_of(history),
        input=plain(execution.input),
        result=plain(execution.result),
        error=failure_of(execution.error),
        journal=tuple(
            JournalLine(entry=entry, value=value_of_entry(entry), error=failure_of_entry(entry))
            for entry in history.entries
        ),
        steps=steps_of(history),
        unread=tuple(InboxLine(item=item, value=value_of_item(item)) for item in unread(history)),
        children=tuple(children),
        audit=audit_lines(trail),
        now=history.now,
    )


def audit_lines(trail: Sequence[AuditEntry]) -> tuple[AuditLine, ...]:
    return tuple(
        AuditLine(execution_id=row.execution_id, at=row.at, kind=row.kind, fields=fields_of_row(row)) for row in trail
    )


def unread(history: History) -> tuple[InboxItem, ...]:
    """What has arrived and was not consumed."""
    consumed = {entry.consumes for entry in history.entries}
    return tuple(item for item in history.inbox if item.index not in consumed)


# -- steps ----------------------------------------------------------------------------------------------


def steps_of(history: History) -> tuple[StepLine, ...]:
    """The recorded ones in their order, then those that are open."""
    recorded = [_recorded(entry) for entry in history.entries if entry.kind in STEP_KINDS]
    return (*recorded, *(_open(wait) for wait in open_steps(history)))


def open_steps(history: History) -> tuple[Wait, ...]:
    """The steps under way that the store knows of: between two attempts, or with a heartbeat."""
    return tuple(wait for wait in history.waits if wait.kind == "step")


def _recorded(entry: Entry) -> StepLine:
    return StepLine(
        id=entry.id,
        kind=entry.kind,
        state="completed" if entry.outcome == "ok" else "failed",
        attempts=entry.attempts,
        started_at=entry.started_at or None,
        ended_at=entry.at,
        value=value_of_entry(entry),
        error=failure_of_entry(entry),
        tries=unpack_tries(entry.tries),
    )


def _open(wait: Wait) -> StepLine:
    state = readable(wait.details, StepState.unpack)
    known = state if isinstance(state, StepState) else StepState()
    return StepLine(
        id=wait.id,
        kind="step",
        state="open" if wait.deadline is None else "retrying",
        attempts=wait.attempts,
        started_at=known.first_at or wait.opened_at,
        ended_at=None,
        retry_at=wait.deadline,
        last_error=wait.name,
        tries=known.tries,
        heartbeat=plain(known.beat),
        progress=None if known.done is None else (known.done, known.total),
    )


# -- where it stands ------------------------------------------------------------------------------------


def position_of(history: History) -> Position:
    """What the execution does or waits for at the moment of the look."""
    execution = history.execution
    if execution.status.terminal:
        after = f", {reached(history.entries)}" if execution.cause is Cause.POISONED else ""
        return Position(doing=f"ended: {execution.status}{after}", waits=(), next_at=None)
    moments = (execution.deadline, *(wait.deadline for wait in history.waits))
    return Position(
        doing=_doing(history),
        waits=history.waits,
        next_at=min((moment for moment in moments if moment is not None), default=None),
    )


def reached(entries: Sequence[Entry]) -> str:
    """How far it had come: what it was at when its worker was lost came behind that, and is recorded nowhere."""
    last = max(entries, key=lambda entry: entry.number, default=None)
    return "before it recorded anything" if last is None else f"after {last.kind} {last.id!r} (#{last.number})"


def _doing(history: History) -> str:
    execution = history.execution
    if execution.lease_until is not None and execution.lease_until > history.now:
        return f"a worker has it: {execution.worker}"
    if execution.passed:
        return f"ready, but workers pass it over: {execution.passed}"
    if execution.status is Status.RETRYING:
        return "pauses before its next attempt"
    if execution.status is Status.SLEEPING or history.waits:
        return "waits for " + (", ".join(map(_awaited, history.waits)) or "news")
    return "ready for a worker"


def _awaited(wait: Wait) -> str:
    match wait.kind:
        case "signal":
            return f"signal {wait.name!r}"
        case "ended":
            return f"the end of {wait.name!r}"
        case "step":
            return f"step {wait.id!r} after {wait.attempts} attempt(s)"
        case _:
            return f"{wait.kind} {wait.id!r}"
