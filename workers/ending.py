"""How a turn ends: a pure choice from the workflow's outcome."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner.codec import roundtrip
from runner.core.branches import Raised, Returned
from runner.core.names import RESERVED
from runner.core.places import innermost, raising, show
from runner.core.replay import Continued, Outcome, RollbackFailed
from runner.errors import DeterminismError, ExecutionEnded, HistoryMismatch, RolledBack, StepFailed, UsageError
from runner.failures import Failure
from runner.records import Execution
from runner.transactions import (
    Complete,
    ContinueAsNew,
    End,
    EndCancelled,
    Fail,
    FailCompensation,
    RetryAttempt,
)
from runner.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Park:
    """This code cannot replay the history: leave it, unchanged, for a worker that can."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What decides, beside the outcome. ``chance`` in [0, 1) spreads the pause before another attempt."""

    workflow: Workflow[Any, Any]
    execution: Execution
    errors: Mapping[str, type[BaseException]]
    cancelled: bool
    rolled_back: bool  # a rollback is recorded: the failure that led to it is final
    began: int | None  # when an operator had it tried again, if that was
    unread: tuple[int, ...]  # signals that no wait has consumed, and a cancel that the code has not heard of
    now: int
    chance: float


def ending_of(outcome: Outcome, at: Situation) -> End | Park:
    """What to commit for an outcome."""
    match outcome:
        case Raised(HistoryMismatch() as error):
            return Park(str(error))
        case RollbackFailed(error, step):
            return FailCompensation(error=_packed(error, at, step))
        case _ if at.cancelled:
            return EndCancelled()
        case _ if at.execution.rollback:
            return Fail(error=_packed(RolledBack("an operator had its compensations run: all of them are done"), at))
        case Continued(input):
            return ContinueAsNew(input=input, keep=at.unread)
        case Returned(value):
            return _completed(value, at.workflow, at.errors)
        case Raised(error, entries):
            return _failed(error, entries, at)


def _failed(error: BaseException, entries: tuple[str, ...], at: Situation) -> End:
    failure = _packed(error, at, _step_of(error, entries))
    after_ms = at.workflow.retry.delay_ms(at.execution.attempt, at.chance)
    if _final(error) or at.rolled_back or not _again(at, error, after_ms):
        return Fail(error=failure, escaped=entries)
    return RetryAttempt(after_ms=after_ms, error=failure, drop=entries)


def _packed(error: BaseException, at: Situation, step: str | None = None) -> bytes:
    failure = Failure.of(error, known=at.errors, step=step, attempts=at.execution.attempt)
    if isinstance(error, RecursionError):
        # Its own message says nothing, and its traceback has only the end of a thousand lines.
        failure = replace(failure, message=f"{failure.message}, in workflow code at {_entered(error, at.workflow)}")
    return failure.pack()


def _entered(error: BaseException, workflow: Workflow[Any, Any]) -> str:
    """The line of the workflow's own function that led there; without one, the innermost line of the user's code."""
    places, code = tuple(raising(error.__traceback__)), getattr(inspect.unwrap(workflow.fn), "__code__", None)
    place = next((one for one in places if code and one[0] == code.co_filename), innermost(places))
    return show(place) if place else "an unknown line"


def _step_of(error: BaseException, entries: tuple[str, ...]) -> str | None:
    """The step whose failure it was: a registered error does not say so itself."""
    if isinstance(error, StepFailed):
        return error.step
    if isinstance(error, ExecutionEnded):
        return None
    return next((id for id in entries[:1] if not id.startswith(RESERVED)), None)


def _completed(value: Any, workflow: Workflow[Any, Any], errors: Mapping[str, type[BaseException]]) -> End:
    try:
        payload, _ = roundtrip(value, workflow.output_type, what=f"result of workflow {workflow.name!r}")
    except Exception as error:  # noqa: BLE001 - a validator or a comparison of the user's may raise anything
        return Fail(error=Failure.of(error, known=errors, attempts=1).pack())
    return Complete(result=payload)


def _final(error: BaseException) -> bool:
    """Errors that another replay of the same code would only repeat."""
    return isinstance(error, DeterminismError | UsageError)


def _is_one(error: BaseException, classes: tuple[type[BaseException], ...]) -> bool:
    """True for an error of these classes, also where a step's own error is only told of."""
    return isinstance(error, classes) or (isinstance(error, StepFailed) and any(map(error.matches, classes)))


def _again(at: Situation, error: BaseException, after_ms: int) -> bool:
    retry, execution = at.workflow.retry, at.execution
    elapsed_ms = (
        at.now - at.began
        if at.began is not None
        else at.now - (execution.run_at or execution.started_at or execution.created_at)
    )
    return (
        execution.attempt < at.workflow.max_attempts
        and not _is_one(error, retry.non_retryable)
        and not retry.gives_up(elapsed_ms + after_ms)
    )
