"""Random calls in random order: every answer of a store is the answer of the model.

What the contract tests say one by one, this says of all orders: repeats, zombies, races of cancel,
end and deadline. Moments either have passed when they are made, or lie an hour ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from runner.core.wakefulness import check
from runner.records import AuditEntry, ChildLink, Filter, History, Status
from runner.store import Store
from runner.store.crashes import CrashLimit
from runner.store.standing import Standing
from runner.transactions import (
    Action,
    Commit,
    Complete,
    ContinueAsNew,
    Deliver,
    EndCancelled,
    Fail,
    FailCompensation,
    Follow,
    Lease,
    Open,
    Operate,
    Outgoing,
    RetryAttempt,
    Suspend,
)
from runner.why import ReasonCode
from runner.why.explain import explained
from runner.why.facts import Facts, Fleet
from tests.contract.answers import (
    broken_off,
    claimed,
    committed,
    conflicts,
    delivered,
    line,
    operated,
    seen,
    started,
    timeless,
    told,
    wake,
    woken,
)
from tests.contract.conftest import Backend
from tests.contract.kept import AHEAD, PAST, Kept, moment
from tests.contract.kit import a_parcel, a_row, a_start, an_entry, delivery, nonce
from tests.contract.model import DELAYS, Model

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
        kind=st.sampled_from(["sleep", "signal", "step"]),
        name=st.sampled_from(["", "x"]),
        after_ms=st.sampled_from([None, None, HOUR, HOUR, 0]),
        attempts=st.integers(0, 2),
        replace=st.booleans(),
        details=st.sampled_from([b"", b"d"]),
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
    st.just(Fail(error=b"wrong", escaped=("step-1", "w-1"))),
    st.just(FailCompensation(error=b"worse")),
    st.just(EndCancelled()),
    st.builds(ContinueAsNew, input=st.just(b"next"), keep=st.sampled_from([(), (0,), (1, 2)])),
    RETRIES,
)
CHILDREN = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["cancel", "cancel", "abandon"])),
    max_size=2,
    unique_by=lambda child: child[0],
)
ATTRIBUTES = st.sampled_from([(), (), (("k", "1"),), (("k", "2"), ("l", '"x"'))])
COMMITS = st.builds(
    Commit,
    id=st.just(""),
    nonce=st.just(""),
    count=st.just(0),
    seen=st.just(0),
    lease_ms=LEASES,
    entries=ENTRIES.map(tuple),
    opens=OPENS.map(tuple),
    closes=CLOSES.map(tuple),
    children=CHILDREN.map(tuple),
    attributes=ATTRIBUTES,
    outstanding=st.sampled_from([0, 0, 1]),
    end=ENDS,
)
RUNS = st.sampled_from([0, 1, 1, 2])


NOBODY = Fleet(away=dict.fromkeys(("workers", "leader"), "not asked"))
WAITING = {
    ReasonCode.DELAYED,
    ReasonCode.SLEEPING,
    ReasonCode.WAITING_SIGNAL,
    ReasonCode.STEP_RETRY,
    ReasonCode.RETRYING,
    ReasonCode.TIMER_OVERDUE,
    ReasonCode.DEADLINE,
}


def expected_first(kept: Kept, history: History) -> set[ReasonCode]:
    """What the first reason may be, from what the model knows."""
    if kept.over:
        return {ReasonCode.ENDED}
    if kept.nonce:
        return {ReasonCode.RUNNING, ReasonCode.LEASE_OVERDUE}
    if kept.ready:
        return {ReasonCode.PASSED_OVER} if kept.passed else {ReasonCode.READY, ReasonCode.BACKLOG}
    if kept.timer is None and all(wait.kind == "step" for wait in history.waits):
        return {ReasonCode.NO_WAKE_SOURCE}  # the machine suspends what waits for nothing
    return WAITING


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
        parent=st.sampled_from(["", "a", "b"]),
        parent_run=st.integers(1, 2),
        parent_close=st.sampled_from(["", "cancel", "abandon"]),
        attributes=ATTRIBUTES,
        entries=st.sampled_from([(), (), (an_entry(1, payload=b"1"),)]),
    )
    def start(self, id: str, **parts: Any) -> None:
        asked = a_start(id, digest=nonce(), **parts)
        self.compare(lambda: started(self.wait(self.store.start([asked]))), lambda: self.model.start(asked))

    @rule(
        id=IDS,
        kind=st.sampled_from(["signal", "signal", "cancel"]),
        request=st.integers(0, 6),
        run=RUNS,
        tombstone=st.booleans(),
    )
    def deliver(self, id: str, kind: str, request: int, run: int, tombstone: bool) -> None:
        asked = Deliver(
            id=id,
            request=f"{kind}-{request}",
            kind=kind,
            name=f"n-{request}",
            payload=b"" if kind == "cancel" else b"%d" % request,
            run=0 if kind == "cancel" else run,
            tombstone=tombstone and kind == "cancel",
        )
        self.delivers(asked)

    def delivers(self, asked: Deliver) -> None:
        self.compare(lambda: delivered(self.wait(self.store.deliver(asked))), lambda: self.model.deliver(asked))

    @rule(
        of=st.sampled_from(["a", "b", "nobody"]),
        waiter=IDS,
        run=st.integers(1, 2),
        workflow=st.sampled_from(["order", "order", "order", "refund"]),
    )
    def follow(self, of: str, waiter: str, run: int, workflow: str) -> None:
        asked = Follow(target=of, waiter=waiter, run=run, workflow=workflow)
        self.compare(lambda: told(self.wait(self.store.follow(asked)) or (), ()), lambda: self.model.follow(asked))

    @precondition(lambda self: self.model.outbox)
    @rule(at=st.integers(0, 5))
    def carry(self, at: int) -> None:
        """One parcel reaches its inbox, in any order."""
        parcels = self.wait(self.store.relay(0, 1_000))
        found = [timeless(one.outgoing) for one in parcels]
        assert sorted(map(repr, found)) == sorted(map(repr, self.model.outbox))
        parcel = parcels[at % len(parcels)]
        self.wait(self.store.relayed(0, [parcel.place]))
        self.model.outbox.remove(timeless(parcel.outgoing))
        if parcel.outgoing.kind == "reopened":
            self.tells(parcel.outgoing)
        else:
            self.delivers(delivery(parcel.outgoing))

    def tells(self, going: Outgoing) -> None:
        """A parent hears that its child goes on. Whether it had ended before is the store's to say."""
        answer = self.wait(self.store.deliver(delivery(going)))
        asked = replace(delivery(timeless(going)), tombstone=bool(answer.parcels))
        self.again = None
        assert delivered(answer) == self.model.deliver(asked)

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
        parts=COMMITS,
        send=st.sampled_from([None, None, "a", "other"]),
        blind=st.booleans(),
    )
    def commit(self, back: int, parts: Commit, send: str | None, blind: bool) -> None:
        lease = self.turns[-min(back, len(self.turns))]
        self.counts[lease.nonce] += 1
        kept = self.model.executions.get(lease.id)
        asked = replace(
            parts,
            id=lease.id,
            nonce=lease.nonce,
            count=self.counts[lease.nonce],
            seen=0 if blind or kept is None else len(kept.inbox),
            outgoing=(a_parcel(nonce(), send),) if send else (),
            audit=(a_row(id=lease.id, n=1),) if send else (),
        )
        answer = self.compare(lambda: self.committed(asked), lambda: conflicts(lambda: self.model.commit(asked)))
        if answer == "conflict":
            self.counts[lease.nonce] -= 1

    def committed(self, asked: Commit) -> Any:
        return conflicts(lambda: committed(self.wait(self.store.commit(asked))))

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

    @precondition(lambda self: self.turns)
    @rule(back=st.integers(1, 2), most=st.sampled_from([1, 2, 20]))
    def break_off(self, back: int, most: int) -> None:
        lease, limit = self.turns[-min(back, len(self.turns))], CrashLimit(crashes=most, error=b"broken")
        self.compare(
            lambda: broken_off(self.wait(self.store.break_off(lease.id, lease.nonce, limit))),
            lambda: self.model.break_off(lease.id, lease.nonce, most, b"broken"),
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

    @rule(
        id=IDS,
        action=st.sampled_from(Action),
        request=st.integers(0, 20),
        entries=st.sampled_from([None, None, None, 1]),
        entry=st.sampled_from([an_entry(77, "step-1", payload=b"by hand"), an_entry(0, "w-1")]),
        drop=st.sampled_from([(), ("step-1",), ("step-2", "none")]),
        hurry=st.sampled_from([(), ("w-1", "none"), ("step-1",)]),
    )
    def operate(self, request: int, **parts: Any) -> None:
        asked = Operate(request=f"operate-{request}", actor="ann", error=b"forced", **parts)
        self.compare(lambda: operated(self.wait(self.store.operate(asked))), lambda: self.model.operate(asked))

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

    @rule()
    def listings(self) -> None:
        assert self.listed(Filter(stuck=True)) == self.model.stuck()
        for wanted in ((("k", "1"),), (("k", "2"), ("l", '"x"'))):
            assert self.listed(Filter(attributes=wanted)) == self.model.with_attributes(wanted)

    def listed(self, filter: Filter) -> set[str]:
        return {one.id for one in self.wait(self.store.executions(filter)).executions}

    # -- repeats, and what must hold always -------------------------------------------------------

    @precondition(lambda self: self.again is not None)
    @rule()
    def ask_again(self) -> None:
        assert self.again is not None
        self.again()

    @invariant()
    def reads_as_the_model(self) -> None:
        for id in ("a", "b"):
            found, links, rows = self.wait(self.all_of(id))
            assert (None if found is None else seen(found)) == self.model.read(id)
            assert [(one.execution_id, one.policy, one.ended) for one in links] == self.model.children(id)
            assert [line(row) for row in rows] == self.model.audit(id)

    async def all_of(self, id: str) -> tuple[History | None, tuple[ChildLink, ...], tuple[AuditEntry, ...]]:
        return await asyncio.gather(self.store.read(id), self.store.children(id), self.store.audit(id))

    @invariant()
    def indexes_as_the_model(self) -> None:
        times = self.wait(self.store.next_due(0))
        now = times["now"]
        assert now is not None
        found = {name: None if at is None else PAST if at <= now else AHEAD for name, at in times.items()}
        found["ready"] = None if times["ready"] is None else AHEAD  # its grace may pass on a busy machine
        del found["now"]
        assert found == self.model.indexes()

    @rule()
    def lines_as_the_model(self) -> None:
        standings = self.wait(self.all_standings())
        kept = self.model.executions
        line = [id for id, one in kept.items() if one.ready and not one.passed]
        for id, standing in standings.items():
            one = kept.get(id)
            assert (standing.since is not None) == (id in line)
            assert (standing.offered_at is not None) == (one is not None and one.ready)
            assert (standing.timer_at is not None) == (one is not None and one.timer is not None)
            assert (standing.waiting, standing.ready) == (len(line), sum(one.ready for one in kept.values()))
            assert standing.ahead <= len(line)

    @rule()
    def whatever_is_not_over_is_explained(self) -> None:
        """All that an answer to "why?" can be without a fleet: something first that is no surprise."""
        standings = self.wait(self.all_standings())
        for id, kept in self.model.executions.items():
            history = self.wait(self.store.read(id))
            assert history is not None
            why = explained(Facts(history=history, standing=standings[id], fleet=NOBODY))
            code = why.reasons[0].code
            assert code in expected_first(kept, history), why

    async def all_standings(self) -> dict[str, Standing]:
        return {id: await self.store.standing(id, "default") for id in ("a", "b")}

    @rule()
    def a_check_finds_nothing(self) -> None:
        """But what ended its turn without anything to wait for, which these rules do and no workflow can."""
        for facts in self.wait(self.store.facts(["a", "b"])).facts:
            found = {one.code for one in check(facts, HOUR)}
            idle = not facts.news and not any(wait.kind == "signal" for wait in facts.waits)
            asleep = facts.status in (Status.SLEEPING, Status.CANCELLING)
            assert not found or (found == {"unwakeable"} and asleep and idle), (found, facts)

    @invariant()
    def nothing_is_stuck(self) -> None:
        """Whatever is not over is ready, owned, on a timer, or waits for the outside."""
        for kept in self.model.executions.values():
            asleep = kept.status in ("sleeping", "cancelling")
            assert kept.expiry or kept.ready or kept.nonce or kept.timer or asleep


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
