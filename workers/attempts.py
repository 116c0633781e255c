"""What becomes of a step's attempt that failed: a pure choice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from runner.core.commands import Step
from runner.durations import to_ms
from runner.errors import RetryLater, UsageError
from runner.workers.steps import AttemptTimedOut, ResultRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Try it again after this long."""

    after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """Record it under this outcome."""

    outcome: str


def after_failure(
    error: BaseException, command: Step, *, attempt: int, elapsed_ms: int, chance: float
) -> Again | Final:
    """``elapsed_ms``: since the first attempt began; ``chance`` in [0, 1) picks the place within the jitter."""
    outcome = outcome_of(error)
    if outcome == "refused" or not command.retry.retries(error, attempt):
        return Final(outcome=outcome)
    asked_ms = asked_delay_ms(error)
    after_ms = command.retry.delay_ms(attempt, chance) if asked_ms is None else asked_ms
    return Final(outcome=outcome) if command.retry.gives_up(elapsed_ms + after_ms) else Again(after_ms=after_ms)


def outcome_of(error: BaseException) -> str:
    """What the journal calls this failure: ``failed``, ``timed_out``, or ``refused`` (no attempt can mend it)."""
    match error:
        case ResultRefused():
            return "refused"
        case AttemptTimedOut():
            return "timed_out"
        case _:
            return "failed"


def asked_delay_ms(error: BaseException) -> int | None:
    """The delay that the step itself asked for (one that has passed is none); None when it did not, or not sensibly."""
    if not isinstance(error, RetryLater):
        return None
    try:
        seconds = error.delay.total_seconds() if isinstance(error.delay, timedelta) else float(error.delay)  # type: ignore[arg-type]
        return to_ms(max(seconds, 0.0))
    except (TypeError, ValueError, UsageError):
        return None
