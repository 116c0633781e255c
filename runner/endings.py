"""Reading the end of an execution: its result, or the error that says why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.codec import decode
from runner.errors import CompensationFailed, ExecutionCancelled, ExecutionEnded, ExecutionFailed, ExecutionTimedOut
from runner.failures import Failure, rebuild
from runner.records import Cause, Execution, Status


def result_of(execution: Execution, output_type: Any, errors: Mapping[str, type[BaseException]]) -> Any:
    """The result of a terminal execution. Raises the ExecutionEnded that fits otherwise."""
    if execution.status is Status.COMPLETED:
        return decode(execution.result or b"", output_type, what=f"result of execution {execution.id!r}")
    failure = Failure.unpack(execution.error) if execution.error else None
    ended = _error(execution, failure)
    raise ended from (rebuild(failure, errors) if failure is not None else None)


def _error(execution: Execution, failure: Failure | None) -> ExecutionEnded:
    what = f"execution {execution.id!r} of {execution.workflow!r}"
    kind, text = _kind(execution, failure)
    return kind(
        f"{what} {text}",
        execution_id=execution.id,
        workflow=execution.workflow,
        attempt=execution.attempt,
        key=execution.key,
        type=failure.type if failure is not None else "",
    )


def _kind(execution: Execution, failure: Failure | None) -> tuple[type[ExecutionEnded], str]:
    said = f"{failure.type}: {failure.message}" if failure is not None else "no error was recorded"
    match execution.status, execution.cause:
        case Status.CANCELLED, _:
            return ExecutionCancelled, f"was cancelled: {execution.reason or 'no reason given'}"
        case Status.COMPENSATION_FAILED, _:
            return CompensationFailed, f"failed to compensate: {said}"
        case _, Cause.TIMED_OUT:
            return ExecutionTimedOut, "ran over its timeout"
        case _, Cause.POISONED:
            return ExecutionFailed, f"took {execution.crashes} workers with it and was given up"
        case _:
            return ExecutionFailed, f"failed after {execution.attempt} attempt(s): {said}"
