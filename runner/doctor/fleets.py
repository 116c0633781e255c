"""What the facts of the fleet mean: who leads, who works, and what nobody works on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from runner.checks import Check, fail, ok, warn
from runner.doctor.facts import StoreFacts
from runner.fleet import lives
from runner.records import WorkerInfo

_START_WORKERS = "start `runner worker --queues …` for them"


def check_fleet(store: StoreFacts, queues: Sequence[str]) -> Iterator[Check]:
    live = [one for one in store.workers if lives(one, store.vitals.now)]
    yield _leader(store, live)
    yield _workers(live, store.vitals.now)
    yield from _gone([one for one in store.workers if one not in live], store.vitals.now)
    yield from _builds(live)
    yield _queues(store, live, queues)


def _leader(store: StoreFacts, live: Sequence[WorkerInfo]) -> Check:
    if store.leader:
        return ok("fleet.leader", f"{store.leader} leads")
    text, cure = "no scheduler leads: timers, schedules and recovery wait", "start `runner scheduler`"
    at_work = bool(live or store.backlog)
    return fail("fleet.leader", text, cure) if at_work else warn("fleet.leader", text, cure)


def _workers(live: Sequence[WorkerInfo], now: int) -> Check:
    if not live:
        return warn("fleet.workers", "no worker is alive", "start `runner worker`")
    oldest = max(now - one.seen_at for one in live)
    slots = sum(one.slots for one in live)
    text = f"{len(live)} workers with {slots} slots, each heard of within {max(oldest, 0) / 1000:.1f} s"
    return ok("fleet.workers", text)


def _gone(gone: Sequence[WorkerInfo], now: int) -> Iterator[Check]:
    """One that leaves in good order says so, and is forgotten."""
    if gone:
        names = ", ".join(f"{one.id} ({(now - one.seen_at) / 1000:.0f} s ago)" for one in gone)
        yield warn("fleet.gone", f"workers that died, or are cut off from the store: {names}", "look at their logs")


def _builds(live: Sequence[WorkerInfo]) -> Iterator[Check]:
    builds = Counter(one.build for one in live)
    told = ", ".join(f"{build or '(unnamed)'}: {count}" for build, count in sorted(builds.items()))
    if len(builds) > 1:
        cure = "let the roll-out end, or replace those that are old"
        yield warn("fleet.builds", f"workers of different builds: {told}", cure)
    elif builds:
        yield ok("fleet.builds", f"one build: {told}")


def _queues(store: StoreFacts, live: Sequence[WorkerInfo], queues: Sequence[str]) -> Check:
    """What waits is known to the store. Hints at the broker are not counted: of one execution there may be several, or none."""
    served = {queue for worker in live for queue in worker.queues}
    stranded = sorted(queue for queue, ready in store.backlog.items() if ready and queue not in served)
    if stranded:
        told = ", ".join(f"{queue} ({store.backlog[queue]:,} executions are ready)" for queue in stranded)
        return fail("fleet.queues", f"queues without a worker: {told}", _START_WORKERS)
    idle = sorted(set(queues) - served)
    if idle:
        return warn("fleet.queues", f"queues of the app without a worker: {', '.join(idle)}", _START_WORKERS)
    ready = sum(store.backlog.values())
    return ok(
        "fleet.queues", f"{ready:,} executions are ready, in queues that workers serve" if ready else "nothing waits"
    )
