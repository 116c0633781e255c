"""Random calls in random order: every answer of a store is the answer of the model.

What the contract tests say one by one, this says of all orders: repeats, zombies, races of cancel,
end and deadline. Moments either have passed when they are made, or lie an hour ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from runner.errors import StoreConflict
from runner.records import History
from runner.store import Store
from runner.transactions import (
    Commit,
    Committed,
    Complete,
    Deliver,
    Delivered,
    EndCancelled,
    Fail,
    Lease,
    Open,
    RetryAttempt,
    Started,
    Suspend,
    Wake,
    Woken,
)
from tests.contract.conftest import Backend
from tests.contract.kit import a_parcel, a_start, an_entry, nonce
from tests.contract.model import AHEAD, DELAYS, PAST, Model, Moment, moment

T = TypeVar("T")

HOUR = 3_600_000
IDS = st.sampled_from(["a", "b"])
LATER = st.sampled_from([0, HOUR])
LEASES = st.sampled_from([HOUR, HOUR, HOUR, 0])
ENTRIES = st.lists(
    st.builds(
        lambda number, payload: an_entry(number, payload=payload),
        st.integers(1, 4),
        st.sampled_from([b"1", b"1", b"1", b"2"]),
    ),
    max_size=2,
)
OPENS = st.lists(
    st.builds(
        Open,
        id=st.sampled_from(["step-1", "w-1", "w-2"]),
        kind=st.sampled_from(["sleep", "signal", "retry"]),
        name=st.sampled_from(["", "x"]),
        after_ms=st.sampled_from([None, None, HOUR, HOUR, 0]),
        attempts=st.integers(0, 2),
        replace=st.booleans(),
    ),
    max_size=2,
    unique_by=lambda one: one.id,
)
CLOSES = st.lists(st.sampled_from(["w-1", "w-2", "step-1"]), max_size=2)
RETRIES = st.builds(
    RetryAttempt, after_ms=LATER, error=st.just(b"again"), drop=st.sampled_from([(), ("step-1",), ("step-2", "w-1")])
)
ENDS = st.one_of(
    st.none(),
    st.just(Suspend()),
    st.just(Suspend()),
    st.just(Complete(result=b"done")),
    st.just(Fail(error=b"wrong")),
    st.just(EndCancelled()),
    RETRIES,
)


class Comparison(RuleBasedStateMachine):
    """Every rule asks both, and compares."""

    def __init__(self, make: Callable[[], Store]) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = make()
        self.wait(self.store.open())
        self.model = Model()
        self.turns: list[Lease] = []
        self.counts: dict[str, int] = {}
        self.again: Callable[[], None] | None = None

    def teardown(self) -> None:
        self.wait(self.store.close())
        self.loop.close()

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def compare(self, ask: Callable[[], Any], expected: Callable[[], Any], *, repeatable: bool = True) -> Any:
        """Ask both; what is safe to repeat can be asked again by the next rule."""

        def once() -> Any:
            answer, wanted = ask(), expected()
            assert answer == wanted
            return answer

        self.again = once if repeatable else None
        return once()

    # -- arrivals ---------------------------------------------------------------------------------

    @rule(
        id=IDS,
        delay_ms=st.sampled_from([0, 0, 0, HOUR]),
        timeout_ms=st.sampled_from([None, None, None, HOUR, 0]),
        retention_ms=LATER,
    )
    def start(self, id: str, delay_ms: int, timeout_ms: int | None, retention_ms: int) -> None:
        asked = a_start(id, delay_ms=delay_ms, timeout_ms=timeout_ms, retention_ms=retention_ms, digest=nonce())
        self.compare(lambda: started(self.wait(self.store.start([asked]))), lambda: self.model.start(asked))

    @rule(id=IDS, kind=st.sampled_from(["signal", "signal", "cancel"]), request=st.integers(0, 6))
    def deliver(self, id: str, kind: str, request: int) -> None:
        asked = Deliver(id=id, request=f"{kind}-{request}", kind=kind, name=f"n-{request}", payload=b"%d" % request)
        self.compare(lambda: delivered(self.wait(self.store.deliver(asked))), lambda: self.model.deliver(asked))

    # -- turns ------------------------------------------------------------------------------------

    @rule(id=IDS, lease_ms=LEASES, worker=st.sampled_from(["w-1", "w-2"]))
    def claim(self, id: str, lease_ms: int, worker: str) -> None:
        mine = nonce()
        answer = self.compare(
            lambda: claimed(self.wait(self.store.claim(id, mine, worker, lease_ms))),
            lambda: self.model.claim(id, mine, worker, moment(lease_ms)),
        )
        if isinstance(answer, dict):
            self.turns.append(Lease(id=id, nonce=mine))
            self.counts[mine] = 0

    @precondition(lambda self: self.turns)
    @rule(
        back=st.sampled_from([1, 1, 1, 2]),
        lease_ms=LEASES,
        entries=ENTRIES,
        opens=OPENS,
        closes=CLOSES,
        send=st.booleans(),
        end=ENDS,
        blind=st.booleans(),
    )
    def commit(self, back: int, lease_ms: int, blind: bool, send: bool, **parts: Any) -> None:
        lease = self.turns[-min(back, len(self.turns))]
        self.counts[lease.nonce] += 1
        kept = self.model.executions.get(lease.id)
        asked = Commit(
            id=lease.id,
            nonce=lease.nonce,
            count=self.counts[lease.nonce],
            lease_ms=lease_ms,
            seen=0 if blind or kept is None else len(kept.inbox),
            entries=tuple(parts["entries"]),
            opens=tuple(parts["opens"]),
            closes=tuple(parts["closes"]),
            outgoing=(a_parcel(nonce()),) if send else (),
            end=parts["end"],
        )
        answer = self.compare(lambda: self.committed(asked), lambda: conflicts(lambda: self.model.commit(asked)))
        if answer == "conflict":
            self.counts[lease.nonce] -= 1

    def committed(self, asked: Commit) -> Any:
        def ask() -> Any:
            answer = self.wait(self.store.commit(asked))
            return None if answer is None else committed(answer)

        return conflicts(ask)

    @precondition(lambda self: self.turns)
    @rule(back=st.integers(1, 2), lease_ms=LEASES)
    def renew(self, back: int, lease_ms: int) -> None:
        lease = self.turns[-min(back, len(self.turns))]

        def ask() -> Any:
            renewer = self.store.renewer()
            (answer,) = renewer.renew([lease], lease_ms)
            renewer.close()
            return answer.held, answer.inbox

        self.compare(ask, lambda: self.model.renew(lease.id, lease.nonce, moment(lease_ms)))

    @precondition(lambda self: self.turns)
    @rule(back=st.integers(1, 2))
    def release(self, back: int) -> None:
        lease = self.turns[-min(back, len(self.turns))]
        self.compare(
            lambda: wake(self.wait(self.store.release(lease.id, lease.nonce))),
            lambda: self.model.release(lease.id, lease.nonce),
        )

    @rule(id=IDS, reason=st.sampled_from(["unknown", "history"]))
    def pass_over(self, id: str, reason: str) -> None:
        def ask() -> int | None:
            self.wait(self.store.pass_over(id, reason))
            return self.offered_in() if self.model.only_ready(id) else None

        self.compare(ask, lambda: self.model.pass_over(id, reason))

    def offered_in(self) -> int:
        """The delay that the ready execution has got, a moment after it got it."""
        times = self.wait(self.store.next_due(0))
        at, now = times["ready"], times["now"]
        assert at is not None
        assert now is not None
        return next(delay for delay in DELAYS if at - now <= delay)

    @rule()
    def rush(self) -> None:
        def ask() -> Any:
            return sorted(wake(one) for one in self.wait(self.store.rush([("order", 1)], 100)))

        self.compare(ask, self.model.rush)

    # -- time -------------------------------------------------------------------------------------

    @rule()
    def due(self) -> None:
        self.compare(lambda: woken(self.wait(self.store.due(0, 100))), self.model.due)

    @rule(alive=st.sampled_from([[], ["w-1"], ["w-1", "w-2"]]))
    def reap(self, alive: list[str]) -> None:
        self.compare(lambda: woken(self.wait(self.store.reap(0, 100, alive))), lambda: self.model.reap(alive))

    @rule()
    def purge(self) -> None:
        self.compare(lambda: self.wait(self.store.purge(0, 100))[0], self.model.purge)

    @precondition(lambda self: self.model.outbox)
    @rule()
    def relay(self) -> None:
        parcels = self.wait(self.store.relay(0, 1_000))
        assert [parcel.outgoing.request for parcel in parcels] == self.model.outbox
        self.wait(self.store.relayed(0, [parcels[0].place]))
        del self.model.outbox[0]

    # -- repeats, and what must hold always -------------------------------------------------------

    @precondition(lambda self: self.again is not None)
    @rule()
    def ask_again(self) -> None:
        assert self.again is not None
        self.again()

    @invariant()
    def reads_as_the_model(self) -> None:
        for id in ("a", "b"):
            found = self.wait(self.store.read(id))
            assert (None if found is None else seen(found)) == self.model.read(id)

    @invariant()
    def indexes_as_the_model(self) -> None:
        times = self.wait(self.store.next_due(0))
        now = times["now"]
        assert now is not None
        found = {name: None if at is None else PAST if at <= now else AHEAD for name, at in times.items()}
        del found["now"]
        assert found == self.model.indexes()

    @invariant()
    def nothing_is_stuck(self) -> None:
        """Whatever is not over is ready, owned, on a timer, or waits for the outside."""
        for kept in self.model.executions.values():
            asleep = kept.status in ("sleeping", "cancelling")
            assert kept.expiry or kept.ready or kept.nonce or kept.timer or asleep


# -- answers as the model gives them --------------------------------------------------------------


def wake(wake: Wake | None) -> Any:
    return wake and (wake.id, wake.queue, wake.workflow, wake.version, wake.seq)


def started(answers: list[Started]) -> Any:
    (one,) = answers
    return one.new, one.digest, wake(one.wake)


def delivered(answer: Delivered) -> Any:
    return answer.reception.value, wake(answer.wake)


def claimed(answer: Any) -> Any:
    return seen(answer) if isinstance(answer, History) else answer.value


def woken(answer: Woken) -> Any:
    return sorted(wake(one) for one in answer.wakes)


def conflicts(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except StoreConflict:
        return "conflict"


def committed(answer: Committed) -> Any:
    deadlines = {id: passed(at, answer.now) for id, at in answer.deadlines.items()}
    news = [(item.kind, item.name, item.payload) for item in answer.news]
    return answer.released, answer.status.value, deadlines, news


def passed(at: int | None, now: int) -> Moment:
    return None if at is None else PAST if at <= now else AHEAD


def seen(history: History) -> dict[str, Any]:
    execution, now = history.execution, history.now
    assert [item.index for item in history.inbox] == list(range(len(history.inbox)))
    return {
        "status": execution.status.value,
        "attempt": execution.attempt,
        "crashes": execution.crashes,
        "seq": execution.seq,
        "worker": execution.worker,
        "input": execution.input,
        "result": execution.result,
        "error": execution.error,
        "cause": execution.cause.value,
        "reason": execution.reason,
        "passed": execution.passed,
        "started": execution.started_at is not None,
        "ended": execution.ended_at is not None,
        "lease": passed(execution.lease_until, now),
        "deadline": passed(execution.deadline, now),
        "entries": list(history.entries),
        "waits": {w.id: (w.kind, w.name, passed(w.deadline, now), w.attempts) for w in history.waits},
        "inbox": [(item.kind, item.name, item.payload) for item in history.inbox],
    }


EXAMPLES = {"sqlite-file": 10, "sqlite-memory": 100, "redis": 40}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", EXAMPLES, indirect=True)
def test_any_order_of_calls_answers_as_the_model(backend: Backend) -> None:
    count = iter(range(10_000))

    class Here(Comparison):
        def __init__(self) -> None:
            super().__init__(lambda: backend.store(f"{backend.namespace}-{next(count)}", partitions=1))

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES[backend.kind],
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
