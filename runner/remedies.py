"""What an operator may do to an execution as it stands, or why not: pure, the store's ``operate`` acts upon it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypedDict

from runner.attributes import attribute_texts
from runner.codec import decode
from runner.core.anew import mark, tried_anew
from runner.detail import STEP_KINDS, open_steps
from runner.errors import AlreadyEnded, NotRetryable, OperatorFailed, UnknownStep, UsageError
from runner.failures import Failure
from runner.records import AuditEntry, Entry, Execution, History, Plain, Status
from runner.transactions import Action, Operate, Start

#: Of a cancel a fork knows nothing: it happened to its origin.
_NOT_FORKED = ("cancel",)
_ON_JOURNAL = (Action.RETRY, Action.ROLLBACK, Action.RECORD)
_NOT_EDITABLE = (Status.COMPLETED, Status.CANCELLED, Status.COMPENSATION_FAILED)


class _Anew(TypedDict):
    drop: tuple[str, ...]
    mark: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What the store is to do. ``said``: what its audit row tells beside action and actor."""

    action: Action
    entry: Entry | None = None
    drop: tuple[str, ...] = ()
    hurry: tuple[str, ...] = ()
    error: bytes = b""
    mark: Entry | None = None
    said: Mapping[str, Plain] = field(default_factory=lambda: MappingProxyType({}))


def request_of(remedy: Remedy, history: History, *, actor: str, request: str) -> Operate:
    """What the store is asked: what rests on the journal is done only while the journal is as it was."""
    execution_id = history.execution.id
    fields: dict[str, Plain] = {"action": remedy.action.value, **remedy.said, "actor": actor}
    row = AuditEntry(execution_id=execution_id, at=history.now, kind="operator", fields=fields)
    return Operate(
        id=execution_id,
        request=request,
        action=remedy.action,
        actor=actor,
        entries=len(history.entries) if remedy.action in _ON_JOURNAL else None,
        entry=remedy.entry,
        drop=remedy.drop,
        hurry=remedy.hurry,
        error=remedy.error,
        mark=remedy.mark,
        audit=row if remedy.said else None,
    )


# -- trying again ---------------------------------------------------------------------------------------


def retry_of(history: History) -> Remedy:
    """Reopen a failed execution, or end the pauses of a live one. Raises NotRetryable for all others."""
    execution = history.execution
    if execution.status is Status.FAILED:
        return _reopened(history)
    if execution.status.terminal:
        raise NotRetryable(f"{_what(execution)}: {_ENDED_CURES[execution.status]}")
    paused = tuple(wait.id for wait in open_steps(history) if wait.deadline is not None)
    if not paused and execution.status is not Status.RETRYING:
        raise NotRetryable(f"{_what(execution)}, and pauses before no retry: there is nothing to try again")
    return Remedy(action=Action.HURRY, hurry=paused)


_ENDED_CURES: Mapping[Status, str] = MappingProxyType(
    {
        Status.COMPLETED: "there is nothing to try again",
        Status.CANCELLED: "start it again, or fork it from one of its steps",
        Status.COMPENSATION_FAILED: "what is left is to undo: use retry_rollback",
    }
)


def _reopened(history: History) -> Remedy:
    if any(entry.kind == "compensation" for entry in history.entries):
        raise NotRetryable(
            f"{_what(history.execution)}, and has undone steps: fork it from a step before that, or start it again"
        )
    if any(item.kind == "cancel" for item in history.inbox):
        raise NotRetryable(f"{_what(history.execution)}, while it was being cancelled: fork it, or start it again")
    return Remedy(action=Action.RETRY, **_anew(history, history.execution.escaped))


def _anew(history: History, drop: tuple[str, ...], *, keep: str = "") -> _Anew:
    """From here on the code may go another way than it went: what it did so far it need not ask for again.

    ``keep``: the entry that is written anew, and so is not forgotten.
    """
    entries, execution = history.entries, history.execution
    made = mark(entries, error=execution.error or b"", attempt=execution.attempt, at=history.now, outcome="reopened")
    return {"drop": tuple(id for id in tried_anew(drop, entries) if id != keep), "mark": made}


def rollback_of(history: History) -> Remedy:
    """Reopen an ended execution for its outstanding compensations alone. Raises NotRetryable where there is none."""
    execution = history.execution
    if not execution.status.terminal:
        raise NotRetryable(f"{_what(execution)}: it undoes by itself what it is to undo; cancel it to have that begin")
    if execution.status is Status.COMPLETED or not execution.outstanding:
        raise NotRetryable(f"{_what(execution)}, and has no compensation outstanding: there is nothing to undo")
    failed = tuple(entry.id for entry in history.entries if entry.kind == "compensation" and entry.outcome != "ok")
    return Remedy(action=Action.ROLLBACK, drop=failed)


# -- another result for a step ----------------------------------------------------------------------------


def skip_of(history: History, step: str, value: bytes) -> Remedy:
    """Record ``value`` for a step that failed or is under way. Raises UnknownStep, AlreadyEnded."""
    _check_editable(history.execution)
    entry = _recorded(history, step)
    if entry is not None and entry.outcome == "ok":
        raise UnknownStep(f"step {step!r} of {_named(history.execution)} has a result already: edit_step changes it")
    if entry is None and step not in [wait.id for wait in open_steps(history)]:
        raise _unknown_step(history, step)
    return _record("skip_step", history, step, value)


def edit_of(history: History, step: str, value: bytes) -> Remedy:
    """Record ``value`` in the place of a step's recorded outcome. Raises UnknownStep, AlreadyEnded."""
    _check_editable(history.execution)
    if _recorded(history, step) is None:
        raise _unknown_step(history, step)
    return _record("edit_step", history, step, value)


def _record(verb: str, history: History, step: str, value: bytes) -> Remedy:
    before = _recorded(history, step)
    attempts = [wait.attempts for wait in open_steps(history) if wait.id == step]
    entry = Entry(
        number=before.number if before else len(history.entries) + 1,  # the store gives a new one its number
        id=step,
        kind="step",
        outcome="ok",
        payload=value,
        at=history.now,
        attempts=before.attempts if before else max(attempts, default=0),
        started_at=before.started_at if before else 0,
        tries=before.tries if before else b"",
    )
    anew = _anew(history, (step,) if before else (), keep=step)
    return Remedy(action=Action.RECORD, entry=entry, said={"verb": verb, "step": step}, **anew)


def _check_editable(execution: Execution) -> None:
    if execution.status in _NOT_EDITABLE:
        raise AlreadyEnded(f"{_what(execution)}: its journal is closed; fork it from a step to go on from there")


def _recorded(history: History, step: str) -> Entry | None:
    return next((entry for entry in history.entries if entry.id == step and entry.kind == "step"), None)


#: What runs right now is known to the worker that runs it.
_FIRST_ATTEMPT = (
    "; a step in its first attempt is on record once that has failed or sent a heartbeat: wait for that, or cancel"
)


def _unknown_step(history: History, step: str) -> UnknownStep:
    recorded = [f"{entry.id} ({entry.outcome})" for entry in history.entries if entry.kind in STEP_KINDS]
    known = ", ".join([*recorded, *(f"{wait.id} (open)" for wait in open_steps(history))])
    here = f"{_named(history.execution)} has no step {step!r} on record; there are: {known or 'none'}"
    return UnknownStep(f"{here}{'' if history.execution.status.terminal else _FIRST_ATTEMPT}")


# -- an end, and a second life -----------------------------------------------------------------------------


def force_fail_of(history: History, reason: str) -> Remedy:
    """End a live execution as failed. Raises AlreadyEnded, and UsageError without a reason."""
    if not reason:
        raise UsageError("force_fail: a reason is needed; waiters and the parent are told it")
    if history.execution.status.terminal:
        raise AlreadyEnded(f"{_what(history.execution)}: nothing is left to end")
    error = Failure.of(OperatorFailed(reason), known={}).pack()
    return Remedy(action=Action.FORCE_FAIL, error=error, said={"verb": "force_fail", "reason": reason})


def fork_of(history: History, step: str, *, new_id: str, request: str, retention_ms: int) -> Start:
    """A new execution that has all behind it that was recorded before ``step``. Raises UnknownStep."""
    execution = history.execution
    return Start(
        id=new_id,
        request=request,
        workflow=execution.workflow,
        version=execution.version,
        queue=execution.queue,
        input=execution.input,
        digest=execution.digest,
        timeout_ms=execution.timeout_ms,
        retention_ms=retention_ms,
        seed=execution.derived_from,
        run_at=execution.run_at or execution.started_at,
        attributes=attribute_texts(execution.attributes),
        entries=_before(history, step),
    )


def forked(step: str, fork: str) -> Remedy:
    """The origin's trail says who forked it, from where and into what."""
    return Remedy(action=Action.FORK, said={"verb": "fork", "step": step, "fork": fork})


def _before(history: History, step: str) -> tuple[Entry, ...]:
    entry = _recorded(history, step)
    if entry is None and step not in [wait.id for wait in open_steps(history)]:
        raise _unknown_step(history, step)
    copied = [
        one for one in history.entries if one.kind not in _NOT_FORKED and (entry is None or one.number < entry.number)
    ]
    pending = _unended(copied)
    # The new execution's inbox is its own: what its origin used up is in the entries.
    return tuple(replace(one, consumes=-1) for one in copied if not _of_child(one, pending))


def _unended(entries: Sequence[Entry]) -> frozenset[str]:
    """Children whose ends are not among the entries: the origin will hear of those, so a fork starts its own."""
    ended = [one.id for one in entries if one.kind == "ended" and one.outcome == "ok"]
    started = [_child(one) for one in entries if one.kind == "child"]
    return frozenset(child for child in started if not any(f"ended:{child}:" in id for id in ended))


def _of_child(entry: Entry, children: Collection[str]) -> bool:
    if entry.kind == "child":
        return _child(entry) in children
    return entry.kind == "ended" and any(f"ended:{child}:" in entry.id for child in children)


def _child(entry: Entry) -> str:
    execution_id, _workflow = decode(entry.payload)
    return str(execution_id)


def _named(execution: Execution) -> str:
    return f"execution {execution.id!r} of {execution.workflow!r}"


def _what(execution: Execution) -> str:
    return f"{_named(execution)} is {execution.status}"
