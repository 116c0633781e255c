"""Reading the end of an execution: its result, or the error that says why there is none.

The same for whoever asks the store (``result_of``) and for a workflow that was told by a notice (``result_of_notice``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.codec import decode
from runner.errors import (
    CompensationFailed,
    ConflictingStart,
    ExecutionCancelled,
    ExecutionEnded,
    ExecutionFailed,
    ExecutionTimedOut,
    OperatorFailed,
    RunnerError,
    UnknownExecution,
)
from runner.failures import Failure, rebuild
from runner.records import Cause, Execution, Notice, Status

_Known = Mapping[str, type[BaseException]]


def result_of(execution: Execution, output_type: Any, errors: _Known) -> Any:
    """The result of a terminal execution. Raises the ExecutionEnded that fits otherwise."""
    return result_of_notice(notice_of(execution), output_type, errors)


def result_of_notice(notice: Notice, output_type: Any, errors: _Known, *, workflow: str = "") -> Any:
    """The result that a notice brings. Raises what ``error_of_notice`` makes of any other end."""
    if notice.status == Status.COMPLETED:
        return decode(notice.result or b"", output_type, what=f"result of execution {notice.execution_id!r}")
    raise error_of_notice(notice, errors, workflow=workflow)


def error_of_notice(notice: Notice, errors: _Known, *, workflow: str = "") -> RunnerError:
    """Why there is no result: an ExecutionEnded with the error that ended it as its ``__cause__``, if one is known here.

    UnknownExecution where there is no such execution, or none of ``workflow`` (what the waiter took it for);
    ConflictingStart where the id belongs to a start with another input.
    """
    match notice.status:
        case "unknown":
            return UnknownExecution(
                f"there is no execution {notice.execution_id!r}{_of(workflow)}: it was never started, or is past its retention"
            )
        case "mismatch":
            return UnknownExecution(
                f"execution {notice.execution_id!r} is one of workflow {notice.workflow!r}, not{_of(workflow) or ' of the one asked for'}"
            )
        case "conflict":
            return ConflictingStart(
                f"id {notice.execution_id!r} belongs to an execution of another workflow, or with another input",
                execution_id=notice.execution_id,
            )
        case _:
            return _ended(notice, errors)


def notice_of(execution: Execution) -> Notice:
    """How a terminal execution ended, as its followers are told."""
    return Notice(
        execution_id=execution.id,
        status=execution.status,
        workflow=execution.workflow,
        attempt=execution.attempt,
        key=execution.key,
        cause=execution.cause,
        reason=execution.reason,
        result=execution.result,
        error=execution.error,
    )


def _of(workflow: str) -> str:
    return f" of workflow {workflow!r}" if workflow else ""


def _ended(notice: Notice, errors: _Known) -> ExecutionEnded:
    failure = Failure.unpack(notice.error) if notice.error else None
    kind, text = _kind(notice, failure)
    ended = kind(
        f"execution {notice.execution_id!r} of {notice.workflow!r} {text}",
        execution_id=notice.execution_id,
        workflow=notice.workflow,
        attempt=notice.attempt,
        key=notice.key,
        type=failure.type if failure is not None else "",
        step=(failure.step or "") if failure is not None else "",
    )
    ended.__cause__ = _cause(notice, failure, errors)
    return ended


def _cause(notice: Notice, failure: Failure | None, errors: _Known) -> BaseException | None:
    if failure is None:
        return None
    return OperatorFailed(failure.message) if notice.cause == Cause.FORCED else rebuild(failure, errors)


def _kind(notice: Notice, failure: Failure | None) -> tuple[type[ExecutionEnded], str]:
    said = f"{failure.type}: {failure.message}" if failure is not None else "no error was recorded"
    match notice.status, notice.cause:
        case Status.CANCELLED, _:
            return ExecutionCancelled, f"was cancelled: {notice.reason or 'no reason given'}"
        case Status.COMPENSATION_FAILED, _:
            step = f" step {failure.step!r}" if failure is not None and failure.step else ""
            return CompensationFailed, f"failed to compensate{step}: {said}"
        case _, Cause.TIMED_OUT:
            return ExecutionTimedOut, "ran over its timeout"
        case _, Cause.POISONED:
            return ExecutionFailed, f"took too many workers with it and was given up: {said}"
        case _, Cause.FORCED:
            return ExecutionFailed, f"was ended by an operator: {failure.message if failure is not None else said}"
        case _:
            return ExecutionFailed, f"failed after {notice.attempt} attempt(s): {said}"
