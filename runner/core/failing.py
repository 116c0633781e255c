"""From a recorded failure back to the error that the workflow sees: the same live and replayed."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import StepFailed, StepResultError, StepTimedOut
from runner.failures import Failure, rebuild

_KINDS: Mapping[str, type[StepFailed]] = {"timed_out": StepTimedOut, "refused": StepResultError}


def step_error(outcome: str, failure: Failure, errors: Mapping[str, type[BaseException]]) -> BaseException:
    """The ``@app.error`` class itself when it is registered, else the StepFailed that fits."""
    known = rebuild(failure, errors) if outcome == "failed" else None
    if known is not None:
        return known
    return _KINDS.get(outcome, StepFailed)(
        step=failure.step or "",
        type=failure.type,
        message=failure.message,
        attempts=failure.attempts,
        bases=failure.bases,
    )
