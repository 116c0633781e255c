"""The wake-up, lease and commit protocol as it is built, for one execution: who acts, and what can go wrong in between.

The store's changes are in ``record``, a turn's decisions in ``turn``, its requests and calls in ``workers``, what must
hold in ``promises``. Every request to the store is one atomic move, and so is every publish. Time is not measured: a
moment passes at any point, and a lease runs out at any point at which its owner is dead or knows it may have.

Left out: passing over, poisoning, concurrent branches, other executions (a backlog in the queue hides a lost hint from
the scheduler for as long as it lasts), a store that goes back in time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.model import record as store
from tests.model.explore import Report, explore
from tests.model.promises import ended, wrong
from tests.model.record import DEADLINE, DELAY, SLEEP, WAIT
from tests.model.rules import Faults, Off, Rules, Variant
from tests.model.state import Moves, State, answers, disowned, first, in_order, one_more, published, spent
from tests.model.turn import Worker
from tests.model.workers import workers

WORKERS = 2
MOMENTS = {
    SLEEP: "the sleep is over",
    WAIT: "the wait times out",
    DEADLINE: "the execution's deadline passes",
    DELAY: "the delay before the next attempt is over",
}


def check(variant: Variant, faults: Faults, off: Off = Off.NOTHING) -> Report[State]:
    """Look at everything that can become of an execution."""
    rules = Rules(variant, off)
    return explore(first(rules, faults), partial(moves, rules=rules), partial(wrong, rules=rules), ended)


def moves(state: State, rules: Rules) -> Moves:
    if state.record.terminal:
        # Hints and requests find nothing to do any more; only who still has a turn in its hands can do harm.
        yield from workers(state, rules)
        return
    for actor in ACTORS:
        yield from actor(state, rules)
    if state.faults.kill:
        yield from kills(spent(state, "kill"), rules)


# -- faults ---------------------------------------------------------------------------------------------


def kills(dead: State, rules: Rules) -> Moves:
    """kill -9 of anybody; whoever has not yet asked the store for anything has promised nothing, and need not die."""
    for index, worker in enumerate(dead.workers):
        left = dead._replace(workers=dead.workers[:index] + dead.workers[index + 1 :])
        again = left._replace(queue=one_more(dead.queue))
        yield f"kill -9 of a worker at {worker.at}", True, left if rules.off is Off.ACK_AFTER_TURN else again
        if worker.at == "body":
            yield "kill -9 of a worker in a step so long that its hint is acknowledged", True, left
        if worker.at == "claim" and not worker.holds:
            yield "kill -9 of a worker whose claim is on its way", True, again._replace(late_claim=True)
    if dead.producer == "publish":
        yield "kill -9 of the producer before its publish", True, dead._replace(producer="done")
    if dead.signaller == "publish":
        yield "kill -9 of the signaller before its publish", True, dead._replace(signaller="done")
    if dead.canceller == "publish":
        yield "kill -9 of the canceller before its publish", True, dead._replace(canceller="done")
    if dead.scheduler == "publish":
        yield "kill -9 of the scheduler before its publish", True, dead._replace(scheduler="idle")


# -- actors ---------------------------------------------------------------------------------------------


def producer(state: State, rules: Rules) -> Moves:
    if state.producer == "publish":
        then = "ask" if rules.off is Off.READY_WITH_START and not state.record.status else "done"
        yield "producer: publish", False, published(state, rules)._replace(producer=then)
    elif state.producer == "ask":
        if rules.off is Off.READY_WITH_START and not state.queue and not state.workers:
            yield "producer: before the start", False, state._replace(producer="publish")
        record = store.start(state.record, rules)
        unanswered = state._replace(record=record)
        yield from answers("producer: start", unanswered._replace(producer="publish"), unanswered)


def signaller(state: State, rules: Rules) -> Moves:
    if state.signaller == "publish":
        yield "signaller: publish", False, published(state, rules)._replace(signaller="done")
    elif state.signaller == "ask" and state.record.status and not state.record.terminal:
        record, wake = store.signal(state.record, rules)
        unanswered = state._replace(record=record)
        answered = unanswered._replace(signaller="publish" if wake else "done")
        yield from answers("signaller: signal", answered, unanswered)


def canceller(state: State, rules: Rules) -> Moves:
    if state.canceller == "publish":
        yield "canceller: publish", False, published(state, rules)._replace(canceller="done")
    elif state.canceller == "ask" and state.record.status and not state.record.terminal:
        record, wake = store.cancel(state.record, rules)
        unanswered = state._replace(record=record)
        answered = unanswered._replace(canceller="publish" if wake else "done")
        yield from answers("canceller: cancel", answered, unanswered)


def clock(state: State, rules: Rules) -> Moves:
    """Time passes: one moment after another."""
    record = state.record
    if record.terminal or not record.status:
        return
    ahead = store.due_waits(record, rules) | store.own_deadline(rules)
    if record.status == "retrying":
        ahead |= DELAY
    for moment, name in MOMENTS.items():
        if ahead & moment & ~record.passed:
            yield f"clock: {name}", False, state._replace(record=record._replace(passed=record.passed | moment))


def broker(state: State, rules: Rules) -> Moves:
    if state.queue and len(state.workers) < WORKERS:
        taken = in_order((*state.workers, Worker()))
        yield "broker: delivers a hint", False, state._replace(queue=state.queue - 1, workers=taken)
    if state.queue and state.faults.loss:
        yield "broker: loses a hint", True, spent(state._replace(queue=state.queue - 1), "loss")
    if state.faults.copy and (state.queue or state.workers):
        yield "broker: will deliver a hint once more", True, spent(state._replace(queue=one_more(state.queue)), "copy")


def scheduler(state: State, rules: Rules) -> Moves:
    record = state.record
    if state.scheduler == "publish":
        yield "scheduler: publish", False, published(state, rules)._replace(scheduler="idle")
        return
    if record.timer & record.passed:
        after, wake = store.due(record, rules)
        unanswered = state._replace(record=after)
        answered = unanswered._replace(scheduler="publish" if wake else "idle")
        yield from answers("scheduler: due", answered, unanswered)
    if record.owned and rules.off is not Off.REAP and not any(one.holds and one.trusted for one in state.workers):
        unanswered = disowned(state._replace(record=store.reap(record, rules)))
        yield from answers("scheduler: reap", unanswered._replace(scheduler="publish"), unanswered)
    # Whatever comes between the look at the record and that at the queue makes at most one hint too many.
    if record.ready and not state.queue and rules.off is not Off.OVERDUE:
        yield "scheduler: overdue, and the queue is empty", False, state._replace(scheduler="publish")


def network(state: State, rules: Rules) -> Moves:
    """The claim of a worker that is dead by now arrives."""
    if state.late_claim:
        record, _ = store.claim(state.record, rules, holds=False, held_last=False)
        yield "network: the late claim of a dead worker", False, state._replace(record=record, late_claim=False)


ACTORS: tuple[Callable[[State, Rules], Moves], ...] = (
    producer,
    signaller,
    canceller,
    clock,
    broker,
    scheduler,
    network,
    workers,
)
