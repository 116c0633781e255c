"""Facts in, reasons out: the first is what it waits for, or what is wrong; then what is worth knowing. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runner.why.about import about
from runner.why.around import around
from runner.why.codes import ReasonCode
from runner.why.ended import ended
from runner.why.facts import Facts
from runner.why.owned import owned
from runner.why.ready import ready
from runner.why.reason import Reason, Why, command
from runner.why.signals import signals
from runner.why.waiting import timer_missing, waiting


def explained(facts: Facts) -> Why:
    execution = facts.execution
    reasons = tuple(_at_home(reason, in_one=facts.in_one) for reason in _once(_reasons(facts)))
    return Why(
        execution_id=execution.id,
        status=execution.status,
        summary=f"{execution.workflow} v{execution.version} is {execution.status}: {reasons[0].text}",
        reasons=reasons,
        now=facts.now,
    )


def unreadable(execution_id: str, why: str, now: int) -> Why:
    """Of one whose record nobody can make out."""
    reason = Reason(code=ReasonCode.RECORD_UNREADABLE, text=why, cure=command("fsck"))
    return Why(execution_id=execution_id, status=None, summary=f"it cannot be read: {why}", reasons=(reason,), now=now)


def _reasons(facts: Facts) -> Iterator[Reason]:
    if facts.execution.status.terminal:
        yield from ended(facts)
        return
    if facts.owned:
        yield from owned(facts)
    elif facts.ready:
        yield from ready(facts)
    else:
        yield from waiting(facts)
    if facts.ready and not facts.owned:
        yield from timer_missing(facts)
    yield from signals(facts)
    yield from around(facts)
    yield from about(facts)


def _at_home(reason: Reason, *, in_one: bool) -> Reason:
    """On a file, worker and scheduler are one process: there is nothing else to start."""
    if in_one and reason.cure.startswith((command("worker"), command("scheduler"))):
        return replace(reason, cure=command("dev"))
    return reason


def _once(reasons: Iterator[Reason]) -> Iterator[Reason]:
    """Its own deadline may be all that it waits for: then that is told first, and not again."""
    known: set[tuple[ReasonCode, int | None]] = set()
    for reason in reasons:
        if reason.code is not ReasonCode.DEADLINE or (reason.code, reason.until) not in known:
            yield reason
        known.add((reason.code, reason.until))
