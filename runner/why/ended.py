"""It has ended: how, who ended it, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator

from runner.detail import reached
from runner.plain import failure_of, plain
from runner.records import Cause, Status
from runner.why.codes import ReasonCode
from runner.why.facts import Facts
from runner.why.reason import Reason, command


def ended(facts: Facts) -> Iterator[Reason]:
    execution = facts.execution
    failure = failure_of(execution.error)
    yield Reason(
        code=ReasonCode.ENDED,
        text=_how(facts),
        since=execution.ended_at,
        cure=_cure(facts),
        data={
            "status": execution.status.value,
            "cause": execution.cause.value,
            "reason": execution.reason,
            "by": _actor(facts),
            "result": plain(execution.result),
            "error": None if failure is None else {"type": failure.type, "message": failure.message},
            "step": None if failure is None else failure.step,
        },
    )
    if _needs_operator(facts):
        yield Reason(
            code=ReasonCode.NOT_UNDONE,
            text=f"{execution.outstanding or 'some'} compensation(s) have not run: what it did is not all undone",
            since=execution.ended_at,
            cure=command("executions", "retry-rollback", facts.id),
            data={"outstanding": execution.outstanding},
        )


def _how(facts: Facts) -> str:
    execution = facts.execution
    failure = failure_of(execution.error)
    said = "" if failure is None else f": {failure.type}: {failure.message}" if failure.type else f": {failure.message}"
    where = "" if failure is None or not failure.step else f" in step {failure.step!r}"
    match execution.status, execution.cause:
        case Status.COMPLETED, _:
            return "it has completed"
        case Status.CANCELLED, _:
            return "it was cancelled" + (f": {execution.reason}" if execution.reason else "")
        case Status.COMPENSATION_FAILED, _:
            return f"a compensation failed for good{where}{said}"
        case _, Cause.TIMED_OUT:
            return f"its own deadline passed{said}"
        case _, Cause.POISONED:
            where = reached(facts.history.entries)
            return f"it was ended after {execution.crashes} workers in a row were lost with it, {where}{said}"
        case _, Cause.FORCED:
            return f"{_actor(facts) or 'an operator'} ended it by force{said}"
        case _:
            return f"it failed{where}{said}"


def _actor(facts: Facts) -> str | None:
    if facts.execution.cause is not Cause.FORCED:
        return None
    row = facts.last("operator", action="force_fail")
    return None if row is None else str(row.fields.get("actor") or "") or None


def _cure(facts: Facts) -> str:
    if any(entry.kind == "compensation" for entry in facts.history.entries):
        return ""  # what was undone is not tried again: a retry would be refused
    if facts.execution.status is Status.FAILED and facts.execution.cause is not Cause.FORCED:
        return command("executions", "retry", facts.id)
    return ""


def _needs_operator(facts: Facts) -> bool:
    """As the store's listing of what is stuck has it."""
    status, cause = facts.execution.status, facts.execution.cause
    if status is Status.COMPENSATION_FAILED:
        return True
    return facts.execution.outstanding > 0 and (
        status is Status.FAILED or (status is Status.CANCELLED and cause is not Cause.NONE)
    )
