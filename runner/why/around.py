"""What is around the execution: scheduler, outbox, broker, store."""

from __future__ import annotations

from collections.abc import Iterator

from runner.why.codes import ReasonCode
from runner.why.facts import Facts
from runner.why.reason import Reason, command

#: A store that takes longer is slow, in ms.
SLOW_MS = 1_000


def around(facts: Facts) -> Iterator[Reason]:
    yield from _leader(facts)
    yield from _outbox(facts)
    if not facts.ready or facts.owned:  # of what is ready it was told already
        yield from broker(facts)
    if facts.latency_ms > SLOW_MS:
        text = f"the store took {facts.latency_ms / 1000:.1f} s to answer"
        yield Reason(code=ReasonCode.STORE_SLOW, text=text, data={"latency_ms": facts.latency_ms})
    for source, why in facts.fleet.away.items():
        if source != "broker":
            text = f"the {source} could not be asked, so that reasons may be missing: {why}"
            yield Reason(code=ReasonCode.NOT_ASKED, text=text, data={"source": source})


def broker(facts: Facts) -> Iterator[Reason]:
    if not facts.knows("broker"):
        yield Reason(
            code=ReasonCode.BROKER_UNREACHABLE,
            text=f"the broker does not answer, so that no hint reaches a worker: {facts.fleet.away['broker']}",
            cure="start the broker; nothing is lost meanwhile",
        )


def _leader(facts: Facts) -> Iterator[Reason]:
    if facts.leaderless:
        timed = "" if facts.standing.timer_at is None else ", this one's among them"
        yield Reason(
            code=ReasonCode.NO_SCHEDULER,
            text=f"no scheduler leads: timers{timed}, lost hints and leases that run out wait for one",
            cure=command("scheduler"),
        )


def _outbox(facts: Facts) -> Iterator[Reason]:
    if facts.overdue(facts.standing.outbox_at):
        yield Reason(
            code=ReasonCode.OUTBOX_OVERDUE,
            text="its part of the outbox is not carried: starts of children, events and news of ends may be among it",
            since=facts.standing.outbox_at,
            cure=command("scheduler") if facts.leaderless else "",
        )
