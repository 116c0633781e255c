"""The end of an execution as its parent is told it, and as a client reads it: one and the same error."""

from __future__ import annotations

import pytest

from runner.codec import encode
from runner.endings import error_of_notice, result_of_notice
from runner.errors import (
    CompensationFailed,
    ConflictingStart,
    ExecutionCancelled,
    ExecutionEnded,
    ExecutionFailed,
    ExecutionTimedOut,
    OperatorFailed,
    UnknownExecution,
)
from runner.failures import Failure
from runner.records import Cause, Notice, Status


class Declined(Exception):
    pass


KNOWN = {f"{Declined.__module__}.Declined": Declined}


def notice(status: str, *, cause: Cause = Cause.NONE, error: BaseException | None = None, **more) -> Notice:
    packed = None if error is None else Failure.of(error, known=KNOWN, step="refund", attempts=2).pack()
    return Notice(
        execution_id="c1", status=status, workflow="pay", attempt=3, key="k", cause=cause, error=packed, **more
    )


def test_a_result_is_read_as_the_type_that_is_asked_for():
    assert result_of_notice(notice(Status.COMPLETED, result=encode([1, 2])), tuple[int, int], {}) == (1, 2)


@pytest.mark.parametrize(
    ("end", "kind", "said"),
    [
        (notice(Status.FAILED, error=Declined("no funds")), ExecutionFailed, "failed after 3 attempt"),
        (notice(Status.FAILED), ExecutionFailed, "no error was recorded"),
        (notice(Status.FAILED, cause=Cause.TIMED_OUT), ExecutionTimedOut, "over its timeout"),
        (notice(Status.FAILED, cause=Cause.POISONED), ExecutionFailed, "too many workers"),
        (notice(Status.CANCELLED, reason="too late"), ExecutionCancelled, "too late"),
        (notice(Status.COMPENSATION_FAILED, error=Declined("gone")), CompensationFailed, "step 'refund'"),
    ],
)
def test_an_end_without_result_says_what_it_was(end, kind, said):
    with pytest.raises(ExecutionEnded, match=said) as caught:
        result_of_notice(end, int, KNOWN)
    error = caught.value
    assert type(error) is kind
    assert (error.execution_id, error.workflow, error.attempt, error.key) == ("c1", "pay", 3, "k")


def test_the_error_that_ended_it_is_the_cause_where_its_class_is_known():
    error = error_of_notice(notice(Status.FAILED, error=Declined("no funds")), KNOWN)
    assert isinstance(error, ExecutionFailed)
    assert isinstance(error.__cause__, Declined) and error.type.endswith("Declined") and error.step == "refund"
    assert error_of_notice(notice(Status.FAILED, error=Declined("no funds")), {}).__cause__ is None


def test_an_operators_end_is_told_as_one():
    error = error_of_notice(notice(Status.FAILED, cause=Cause.FORCED, error=OperatorFailed("hopeless")), {})
    assert isinstance(error, ExecutionFailed) and isinstance(error.__cause__, OperatorFailed)
    assert "by an operator: hopeless" in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        ("unknown", UnknownExecution, "no execution 'c1' of workflow 'ship'"),
        ("mismatch", UnknownExecution, "one of workflow 'pay', not of workflow 'ship'"),
        ("conflict", ConflictingStart, "another input"),
    ],
)
def test_what_never_was_the_execution_waited_for_is_named(status, kind, said):
    error = error_of_notice(notice(status), {}, workflow="ship")
    assert type(error) is kind and said in str(error)
