"""It waits: for what, since when, until when, and what ends that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from runner.plain import failure_of
from runner.records import Execution, Status, Wait
from runner.why.codes import ReasonCode
from runner.why.facts import Facts
from runner.why.reason import Reason, command

#: So many waits are told of one by one.
MAX_WAITS = 10


def waiting(facts: Facts) -> Iterator[Reason]:
    """Nobody has it, and it is not ready."""
    reasons = [*timer_missing(facts), *_overdue(facts), *_pause(facts), *waits(facts)]
    if not reasons and facts.execution.deadline is not None:
        reasons.append(_deadline_alone(facts))
    yield from reasons or (_nothing(facts),)


def timer_missing(facts: Facts) -> Iterator[Reason]:
    """Its record says when something must happen to it, and the index of timers knows nothing of it, or a later time."""
    execution, at = facts.execution, facts.standing.timer_at
    ends = [] if facts.ready else [wait.deadline for wait in facts.waits]
    due = min((moment for moment in (*ends, execution.deadline) if moment is not None), default=None)
    pauses = not facts.ready and execution.status is Status.RETRYING
    if (at is None and pauses) or (due is not None and (at is None or at > due)):
        yield Reason(
            code=ReasonCode.TIMER_MISSING,
            text="its timer is gone: nobody wakes it at its time" if at is None else "its timer comes after its time",
            until=at,
            cure=command("fsck", "--repair"),
            data={"due": due, "timer": at},
        )


def _overdue(facts: Facts) -> Iterator[Reason]:
    at = facts.standing.timer_at
    if facts.overdue(at):
        yield Reason(
            code=ReasonCode.TIMER_OVERDUE,
            text="its time has come, and no scheduler has woken it",
            since=at,
            cure=command("scheduler"),
        )


def _pause(facts: Facts) -> Iterator[Reason]:
    """Before its beginning, or before its next attempt."""
    execution, until = facts.execution, facts.standing.timer_at
    if execution.status is Status.PENDING and _begins(execution, until):
        yield Reason(
            code=ReasonCode.DELAYED, text="it begins at its time, not before", since=execution.created_at, until=until
        )
    elif execution.status is Status.PENDING:
        yield _nothing(facts)
    if execution.status is Status.RETRYING:
        most = None if facts.declared is None else facts.declared.max_attempts
        failure = failure_of(execution.error)
        said = "" if failure is None else f" after {failure.type}: {failure.message}"
        of = "" if most is None else f" of {most}"
        yield Reason(
            code=ReasonCode.RETRYING,
            text=f"it pauses before its attempt {execution.attempt}{of}{said}",
            since=facts.since("status", to="retrying"),
            until=until,
            cure=command("executions", "retry", facts.id),
            data={"attempt": execution.attempt, "max_attempts": most},
        )


def _begins(execution: Execution, timer_at: int | None) -> bool:
    """A timer of its own begins it, before anybody had it; the one at its deadline only ends it."""
    if timer_at is None or execution.started_at is not None:
        return False
    return execution.deadline is None or timer_at <= execution.deadline - (execution.timeout_ms or 0)


def _deadline_alone(facts: Facts) -> Reason:
    return Reason(
        code=ReasonCode.DEADLINE,
        text="it waits for nothing but its own deadline, which ends it",
        since=facts.since("status"),
        until=facts.execution.deadline,
        cure=command("executions", "cancel", facts.id),
    )


def _nothing(facts: Facts) -> Reason:
    return Reason(
        code=ReasonCode.NO_WAKE_SOURCE,
        text="it is neither ready nor owned, and waits for nothing: nothing will wake it",
        since=facts.since("status"),
        cure=command("fsck", "--repair"),
    )


# -- the waits ------------------------------------------------------------------------------------------


def waits(facts: Facts) -> Iterator[Reason]:
    """The open ones, the nearest first."""
    told = [wait for wait in facts.waits if wait.kind in _OF_KIND and (wait.kind != "step" or wait.deadline)]
    for wait in told[:MAX_WAITS]:
        yield _OF_KIND[wait.kind](facts, wait)
    if len(told) > MAX_WAITS:
        more = len(told) - MAX_WAITS
        yield Reason(code=ReasonCode.MORE_WAITS, text=f"{more} more waits are open", data={"waits": more})


def _sleep(_: Facts, wait: Wait) -> Reason:
    return Reason(
        code=ReasonCode.SLEEPING,
        text=f"it sleeps ({wait.id!r})",
        since=wait.opened_at,
        until=wait.deadline,
        data={"wait": wait.id},
    )


def _signal(facts: Facts, wait: Wait) -> Reason:
    return Reason(
        code=ReasonCode.WAITING_SIGNAL,
        text=f"it waits for signal {wait.name!r}" + ("" if wait.deadline is not None else ", without a deadline"),
        since=wait.opened_at,
        until=wait.deadline,
        cure=command("executions", "signal", facts.id, wait.name, "PAYLOAD"),
        data={"wait": wait.id, "signal": wait.name},
    )


def _step(facts: Facts, wait: Wait) -> Reason:
    return Reason(
        code=ReasonCode.STEP_RETRY,
        text=f"step {wait.id!r} pauses after {wait.attempts} failed attempt(s): {wait.name}",
        since=wait.opened_at,
        until=wait.deadline,
        cure=command("executions", "retry", facts.id),
        data={"step": wait.id, "attempts": wait.attempts, "error": wait.name},
    )


def _end(facts: Facts, wait: Wait) -> Reason:
    """Of a child, or of another execution."""
    target, child = wait.name, wait.name in facts.children
    data: dict[str, object] = {"wait": wait.id, "execution_id": target}
    other = facts.others.get(target)
    who = f"its child {target!r}" if child else f"execution {target!r}"
    code = ReasonCode.WAITING_CHILD if child else ReasonCode.WAITING_EXECUTION
    text, cure, since = f"it waits for the end of {who}", command("why", target), wait.opened_at
    if other is not None and other.execution is None:
        code, text, cure = _absent(who, child=child)
    elif other is not None and other.execution is not None:
        there = other.execution
        data["status"] = there.status.value
        if there.status.terminal:
            code, since = ReasonCode.END_ON_ITS_WAY, there.ended_at or since
            text, cure = f"{who} has ended ({there.status}); that is on its way to it", ""
        else:
            text = f"it waits for the end of {who}, which is {there.status}"
    if other is not None and other.why is not None:
        first = other.why.reasons[0]
        text, cure = f"{text}: {first.text}", first.cure or cure
        data["why"] = [{"code": one.code.value, "text": one.text, "cure": one.cure} for one in other.why.reasons]
    return Reason(code=code, text=text, since=since, until=wait.deadline, cure=cure, data=data)


def _absent(who: str, *, child: bool) -> tuple[ReasonCode, str, str]:
    if child:
        text = f"it waits for {who}, which is not there yet: its start is on its way, or was lost"
        return ReasonCode.EXECUTION_UNKNOWN, text, command("fsck", "--repair")
    text = f"it waits for {who}, which is not there (it may be past its retention): that answer is on its way to it"
    return ReasonCode.EXECUTION_UNKNOWN, text, ""


_OF_KIND: Mapping[str, Callable[[Facts, Wait], Reason]] = {
    "sleep": _sleep,
    "signal": _signal,
    "step": _step,
    "ended": _end,
}
