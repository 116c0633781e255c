"""How a turn ends: a pure choice from the workflow's outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.codec import roundtrip
from runner.core.replay import Outcome, Raised, Returned
from runner.errors import DeterminismError, HistoryMismatch, UsageError
from runner.failures import Failure
from runner.records import Execution
from runner.transactions import (
    Complete,
    End,
    EndCancelled,
    Fail,
    RetryAttempt,
)
from runner.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Park:
    """This code cannot replay the history: leave it, unchanged, for a worker that can."""

    reason: str


def ending_of(
    outcome: Outcome,
    *,
    workflow: Workflow[Any, Any],
    execution: Execution,
    cancelled: bool,
    errors: Mapping[str, type[BaseException]],
    chance: float,
) -> End | Park:
    """What to commit for an outcome. ``chance`` in [0, 1) spreads the pause before another attempt."""
    match outcome:
        case Raised(HistoryMismatch() as error):
            return Park(str(error))
        case _ if cancelled:
            return EndCancelled()
        case Returned(value):
            return _completed(value, workflow, errors)
        case Raised(error, entry):
            failure = Failure.of(error, known=errors, attempts=execution.attempt).pack()
            if _final(error) or not _again(workflow, execution, error):
                return Fail(error=failure)
            after_ms = workflow.retry.delay_ms(execution.attempt, chance)
            return RetryAttempt(after_ms=after_ms, error=failure, drop=() if entry is None else (entry,))


def _completed(value: Any, workflow: Workflow[Any, Any], errors: Mapping[str, type[BaseException]]) -> End:
    try:
        payload, _ = roundtrip(value, workflow.output_type, what=f"result of workflow {workflow.name!r}")
    except Exception as error:  # noqa: BLE001 - a validator or a comparison of the user's may raise anything
        return Fail(error=Failure.of(error, known=errors, attempts=1).pack())
    return Complete(result=payload)


def _final(error: BaseException) -> bool:
    """Errors that another replay of the same code would only repeat."""
    return isinstance(error, DeterminismError | UsageError)


def _again(workflow: Workflow[Any, Any], execution: Execution, error: BaseException) -> bool:
    return execution.attempt < workflow.max_attempts and not isinstance(error, workflow.retry.non_retryable)
