"""What the facts of the fleet mean: who leads, who works, and what nobody works on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from runner.checks import Check, fail, ok, warn
from runner.doctor.facts import BrokerFacts, StoreFacts
from runner.records import WorkerInfo

_START_WORKERS = "start `runner worker --queues …` for them"


def check_fleet(store: StoreFacts, broker: BrokerFacts | None, queues: Sequence[str]) -> Iterator[Check]:
    yield _leader(store)
    yield _workers(store.workers, store.vitals.now)
    yield from _builds(store.workers)
    yield _queues(store, broker, queues)


def _leader(store: StoreFacts) -> Check:
    if store.leader:
        return ok("fleet.leader", f"{store.leader} leads")
    text, cure = "no scheduler leads: timers, schedules and recovery wait", "start `runner scheduler`"
    at_work = bool(store.workers or store.backlog)
    return fail("fleet.leader", text, cure) if at_work else warn("fleet.leader", text, cure)


def _workers(workers: Sequence[WorkerInfo], now: int) -> Check:
    if not workers:
        return warn("fleet.workers", "no worker was heard of within the last minute", "start `runner worker`")
    late = [one for one in workers if now - one.seen_at > one.lease_ms]
    text = f"{len(workers)} workers with {sum(one.slots for one in workers)} slots"
    if late:
        names = ", ".join(f"{one.id} ({(now - one.seen_at) / 1000:.0f} s)" for one in late)
        return warn("fleet.workers", f"{text}; not heard of for longer than their lease: {names}", "look at their logs")
    oldest = max(now - one.seen_at for one in workers)
    return ok("fleet.workers", f"{text}, each heard of within {max(oldest, 0) / 1000:.1f} s")


def _builds(workers: Sequence[WorkerInfo]) -> Iterator[Check]:
    builds = Counter(one.build for one in workers)
    told = ", ".join(f"{build or '(unnamed)'}: {count}" for build, count in sorted(builds.items()))
    if len(builds) > 1:
        cure = "let the roll-out end, or replace those that are old"
        yield warn("fleet.builds", f"workers of different builds: {told}", cure)
    elif builds:
        yield ok("fleet.builds", f"one build: {told}")


def _queues(store: StoreFacts, broker: BrokerFacts | None, queues: Sequence[str]) -> Check:
    served = {queue for worker in store.workers for queue in worker.queues}
    waiting = _waiting(store.backlog, broker)
    stranded = sorted(queue for queue in waiting if queue not in served)
    if stranded:
        told = ", ".join(f"{queue} ({waiting[queue]:,} waiting)" for queue in stranded)
        return fail("fleet.queues", f"queues without a worker: {told}", _START_WORKERS)
    idle = sorted(set(queues) - served)
    if idle:
        return warn("fleet.queues", f"queues of the app without a worker: {', '.join(idle)}", _START_WORKERS)
    ready = sum(store.backlog.values())
    return ok(
        "fleet.queues", f"{ready:,} executions are ready, in queues that workers serve" if ready else "nothing waits"
    )


def _waiting(backlog: Mapping[str, int], broker: BrokerFacts | None) -> Counter[str]:
    """The larger of what the store has ready and what the broker has waiting: both tell of the same executions."""
    waiting = Counter({queue: count for queue, count in backlog.items() if count})
    for one in broker.vitals.queues if broker else ():
        if one.waiting:
            waiting[one.queue] = max(waiting[one.queue], one.waiting)
    return waiting
