"""What reaches an execution from outside: signals, cancels, and who is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runner.load import Load, LongStep
from runner.records import Cause, Status, WorkerInfo
from runner.store import Store
from runner.transactions import (
    Complete,
    Lease,
    Open,
    Reception,
    RetryAttempt,
    Suspend,
)
from tests.contract.kit import (
    SHORT,
    Elapse,
    a_cancel,
    a_signal,
    a_sleep,
    a_start,
    a_wait,
    an_entry,
    begin,
    cancel,
    claim,
    history,
    index,
    part,
    record,
    signal,
    start,
)


def a_worker(id: str = "w-1") -> WorkerInfo:
    return WorkerInfo(
        id=id,
        build="b1",
        queues=("default", "urgent"),
        workflows=(("order", 1, "default"), ("order", 2, "urgent")),
        slots=8,
        lease_ms=7_000,
        host="here",
        pid=7,
        load=Load(
            busy=2,
            ended=(("default", 7),),
            over_ms=60_000,
            steps=(LongStep(execution_id="e-1", step="charge", attempt=2, for_ms=5_000, timeout_ms=None),),
        ),
    )


# -- signals --------------------------------------------------------------------------------------


async def test_signals_lie_in_the_inbox_in_order_with_the_stores_time(store: Store, elapse: Elapse) -> None:
    await start(store, a_start())
    before = await store.now()
    for payload in (b"", bytes(range(256)), b"3"):
        answer = await signal(store, name="ping", payload=payload)
        assert answer.reception is Reception.DELIVERED
        await elapse(3)
    inbox = (await history(store)).inbox
    assert [(i.index, i.kind, i.name, i.payload) for i in inbox] == [
        (0, "signal", "ping", b""),
        (1, "signal", "ping", bytes(range(256))),
        (2, "signal", "ping", b"3"),
    ]
    times = [i.at for i in inbox]
    assert before <= times[0] < times[1] < times[2] <= await store.now()


async def test_a_repeated_signal_is_one_signal(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    one = a_signal(payload=b"once")
    first = await store.deliver(one)
    seq = (await record(store)).seq
    again = await store.deliver(one)
    assert (first.reception, again.reception) == (Reception.DELIVERED, Reception.DELIVERED)
    assert len((await history(store)).inbox) == 1
    assert (await record(store)).seq == seq
    turn = await claim(store)
    await store.deliver(one)
    await turn.commit(end=Complete(result=b""), seen=1)
    assert (await store.deliver(one)).reception is Reception.DELIVERED
    assert len((await history(store)).inbox) == 1
    assert (await signal(store)).reception is Reception.TERMINAL


async def test_a_repeated_signal_gives_its_wake_again_until_a_claim(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    one = a_signal()
    first = await store.deliver(one)
    assert first.wake is not None
    assert await store.deliver(one) == replace(first, rows=())
    other = a_signal()
    assert (await store.deliver(other)).wake is None
    assert (await store.deliver(other)).wake is None
    await claim(store)
    assert (await store.deliver(one)).wake is None


async def test_the_same_request_to_another_execution_is_another_delivery(store: Store) -> None:
    await store.start([a_start("a"), a_start("b")])
    await store.deliver(a_signal("a", request="r"))
    await store.deliver(a_signal("b", request="r"))
    assert len((await history(store, "b")).inbox) == 1


async def test_a_signal_wakes_a_sleeper_once(store: Store) -> None:
    turn = await begin(store, a_start(queue="q", version=7))
    await turn.commit(opens=[a_wait(), a_sleep(after_ms=60_000)], end=Suspend())
    seq = (await record(store)).seq
    first = await signal(store)
    assert first.wake is not None
    wake = first.wake
    assert (wake.id, wake.queue, wake.workflow, wake.version) == ("e-1", "q", "order", 7)
    assert wake.seq > seq
    assert (await record(store)).seq == wake.seq
    grace = await index(store, "ready")
    assert grace is not None
    assert grace > 0
    assert (await signal(store)).wake is None, "it is ready already"
    turn = await claim(store)
    assert len(turn.history.inbox) == 2
    assert {w.id for w in turn.history.waits} == {"approval", "nap"}


async def test_a_signal_to_a_fresh_start_is_stored_without_a_second_hint(store: Store) -> None:
    await start(store, a_start())
    answer = await signal(store)
    assert (answer.reception, answer.wake) == (Reception.DELIVERED, None)
    assert len((await claim(store)).history.inbox) == 1


async def test_a_signal_does_not_shorten_a_delayed_start(store: Store, elapse: Elapse) -> None:
    await start(store, a_start(delay_ms=SHORT))
    assert (await signal(store)).wake is None
    assert await index(store, "ready") is None
    await elapse(SHORT)
    assert [w.id for w in (await store.due(part(store), 10)).wakes] == ["e-1"]
    assert len((await claim(store)).history.inbox) == 1


async def test_a_signal_does_not_shorten_the_delay_before_a_retry(store: Store, elapse: Elapse) -> None:
    turn = await begin(store)
    await turn.commit(end=RetryAttempt(after_ms=SHORT, error=b"e"))
    assert (await signal(store)).wake is None
    assert await index(store, "ready") is None
    assert (await record(store)).status is Status.RETRYING
    await elapse(SHORT)
    assert [w.id for w in (await store.due(part(store), 10)).wakes] == ["e-1"]


async def test_a_signal_to_an_owner_is_told_on_its_channel(store: Store) -> None:
    await begin(store, worker="w-7")
    told = await store.subscribe("worker/w-7")
    answer = await signal(store)
    assert (answer.reception, answer.wake) == (Reception.DELIVERED, None)
    assert await told.next(5) == "e-1"
    await told.close()
    assert await index(store, "ready") is None


async def test_nothing_reaches_what_is_unknown_or_over(store: Store) -> None:
    assert (await signal(store, "nobody")).reception is Reception.UNKNOWN
    assert (await cancel(store, "nobody")).reception is Reception.UNKNOWN
    turn = await begin(store)
    await turn.commit(end=Complete(result=b"r"))
    before = await history(store)
    for answer in (await signal(store), await cancel(store)):
        assert (answer.reception, answer.wake) == (Reception.TERMINAL, None)
    after = await history(store)
    assert (after.execution, after.inbox) == (before.execution, ())


async def test_signals_at_once_are_all_there(store: Store) -> None:
    await start(store, a_start())
    await asyncio.gather(*(signal(store, payload=b"%d" % i) for i in range(30)))
    inbox = (await history(store)).inbox
    assert [i.index for i in inbox] == list(range(30))
    assert {i.payload for i in inbox} == {b"%d" % i for i in range(30)}


async def test_a_signal_between_look_and_suspension_is_not_lost(store: Store) -> None:
    for attempt in range(10):
        id = f"race-{attempt}"
        turn = await begin(store, a_start(id))
        committed, delivered = await asyncio.gather(turn.commit(opens=[a_wait()], end=Suspend()), signal(store, id))
        if committed.released:
            assert delivered.wake is not None
        else:
            assert (delivered.wake, len(committed.news)) == (None, 1)


# -- cancel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_ms", [0, 60_000])
async def test_a_cancel_before_any_claim_ends_it_here_and_now(store: Store, delay_ms: int) -> None:
    await start(store, a_start(delay_ms=delay_ms))
    ended = await store.subscribe("ended/e-1")
    one = a_cancel(reason="not needed")
    answer = await store.deliver(one)
    assert (answer.reception, answer.wake) == (Reception.DELIVERED, None)
    found = await record(store)
    assert (found.status, found.reason, found.cause) == (Status.CANCELLED, "not needed", Cause.NONE)
    assert found.ended_at is not None
    assert await ended.next(5) == "cancelled"
    await ended.close()
    times = await store.next_due(part(store))
    assert (times["ready"], times["timers"]) == (None, None)
    assert times["expiry"] is not None
    assert (await store.deliver(one)).reception is Reception.DELIVERED
    assert (await cancel(store)).reception is Reception.TERMINAL


async def test_a_cancel_wakes_a_sleeper(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    answer = await cancel(store, reason="enough")
    assert answer.wake is not None
    found = await history(store)
    assert (found.execution.status, found.execution.reason) == (Status.CANCELLING, "enough")
    assert [(i.kind, i.name) for i in found.inbox] == [("cancel", "enough")]
    turn = await claim(store)
    assert turn.history.execution.status is Status.CANCELLING


async def test_a_cancel_ends_the_delay_before_a_retry(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(end=RetryAttempt(after_ms=60_000, error=b"e"))
    assert (await cancel(store)).wake is not None
    await claim(store)


async def test_a_cancel_of_a_released_one_lets_it_roll_back(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry()])
    await store.release("e-1", turn.nonce)
    answer = await cancel(store)
    assert (answer.reception, answer.wake) == (Reception.DELIVERED, None)
    assert (await record(store)).status is Status.CANCELLING
    assert len((await claim(store)).history.inbox) == 1


async def test_a_cancel_of_an_owned_one_is_told_to_the_owner(store: Store) -> None:
    turn = await begin(store, worker="w-7")
    told = await store.subscribe("worker/w-7")
    assert (await cancel(store)).wake is None
    assert await told.next(5) == "e-1"
    await told.close()
    assert (await record(store)).status is Status.CANCELLING
    answer = await turn.commit(entries=[an_entry()], seen=0)
    assert (answer.released, answer.status) == (False, Status.CANCELLING)
    assert [i.kind for i in answer.news] == ["cancel"]


async def test_a_second_cancel_has_no_effect(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    await cancel(store, reason="first")
    seq = (await record(store)).seq
    answer = await cancel(store, reason="second")
    assert (answer.reception, answer.wake) == (Reception.DELIVERED, None)
    found = await history(store)
    assert (found.execution.reason, len(found.inbox), found.execution.seq) == ("first", 1, seq)
    turn = await claim(store)
    await turn.commit(opens=[a_sleep(after_ms=60_000)], end=Suspend(), seen=1)
    assert (await cancel(store, reason="third")).wake is None
    assert await index(store, "ready") is None


async def test_a_repeated_cancel_is_one_cancel(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    one = a_cancel()
    await store.deliver(one)
    assert (await store.deliver(one)).reception is Reception.DELIVERED
    assert len((await history(store)).inbox) == 1


async def test_signals_still_arrive_while_cancelling(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    await cancel(store)
    turn = await claim(store)
    await turn.commit(opens=[a_wait("rollback-ok")], end=Suspend(), seen=1)
    assert (await signal(store)).wake is not None
    assert [i.kind for i in (await history(store)).inbox] == ["cancel", "signal"]


# -- topics ---------------------------------------------------------------------------------------


async def test_a_topic_is_heard_from_now_on_and_only_by_its_listeners(store: Store) -> None:
    first, second, other = [await store.subscribe(t) for t in ("worker/w-1", "worker/w-1", "worker/w-2")]
    await begin(store, worker="w-1")
    await signal(store)
    assert (await first.next(5), await second.next(5)) == ("e-1", "e-1")
    assert await other.next(0.05) is None
    late = await store.subscribe("worker/w-1")
    assert await late.next(0.05) is None
    await first.close()
    await signal(store)
    assert await second.next(5) == "e-1"
    for one in (first, second, other, late):
        await one.close()


async def test_a_listener_waits_for_the_next_word(store: Store) -> None:
    turn = await begin(store)
    ended = await store.subscribe("ended/e-1")
    waiting = asyncio.create_task(ended.next(30))
    await turn.commit(entries=[an_entry()])
    assert not waiting.done()
    await turn.commit(end=Complete(result=b"r"))
    assert await asyncio.wait_for(waiting, 5) == "completed"
    await ended.close()


async def test_a_nearer_timer_is_announced(store: Store) -> None:
    partition = part(store)
    turn = await begin(store)
    timers = await store.subscribe("timers")
    await turn.commit(opens=[a_sleep(after_ms=50_000)], end=Suspend())
    assert await timers.next(5) == str(partition)
    await signal(store)
    turn = await claim(store)
    await turn.commit(opens=[Open(id="sooner", kind="sleep", after_ms=9_000)], end=Suspend(), seen=1)
    assert await timers.next(5) == str(partition)
    delayed = a_start("delayed", delay_ms=5_000)
    await start(store, delayed)
    assert await timers.next(5) == str(part(store, "delayed"))
    await timers.close()


async def test_a_new_worker_is_announced_once(store: Store) -> None:
    registered = await store.subscribe("workers")
    renewer = store.renewer()
    try:
        await asyncio.to_thread(renewer.heartbeat, a_worker("w-1"))
        assert await registered.next(5) is not None
        await asyncio.to_thread(renewer.heartbeat, a_worker("w-1"))
        assert await registered.next(0.1) is None
        await asyncio.to_thread(renewer.heartbeat, a_worker("w-2"))
        assert await registered.next(5) is not None
        await store.farewell("w-1")
        await asyncio.to_thread(renewer.heartbeat, a_worker("w-1"))
        assert await registered.next(5) is not None
    finally:
        await asyncio.to_thread(renewer.close)
        await registered.close()


# -- renewing -------------------------------------------------------------------------------------


async def test_renewing_extends_and_tells(store: Store, elapse: Elapse) -> None:
    mine = await begin(store, a_start("mine"), lease_ms=5_000)
    await signal(store, "mine")
    lost = await begin(store, a_start("lost"))
    await store.release("lost", lost.nonce)
    stolen = await begin(store, a_start("stolen"))
    over = await begin(store, a_start("over"))
    await over.commit(end=Complete(result=b""))
    renewer = store.renewer()
    leases = [
        Lease(id="lost", nonce=lost.nonce),
        Lease(id="mine", nonce=mine.nonce),
        Lease(id="stolen", nonce="other"),
        Lease(id="over", nonce=over.nonce),
        Lease(id="nobody", nonce="n"),
    ]
    try:
        await elapse(10)
        before = await store.now()
        answers = await asyncio.to_thread(renewer.renew, leases, 7_000)
        after = await store.now()
        assert await asyncio.to_thread(renewer.renew, [], 7_000) == []
    finally:
        await asyncio.to_thread(renewer.close)
    assert [(a.id, a.held) for a in answers] == [
        ("lost", False),
        ("mine", True),
        ("stolen", False),
        ("over", False),
        ("nobody", False),
    ]
    assert answers[1].inbox == 1
    until = (await record(store, "mine")).lease_until
    assert until is not None
    assert before + 7_000 <= until <= after + 7_000
    left = await index(store, "leases", "mine")
    assert left is not None
    assert left > 6_000
    assert (await record(store, "stolen")).lease_until == stolen.history.now + 10_000
    assert (await record(store, "lost")).lease_until is None


async def test_a_renewed_lease_is_not_reaped(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, lease_ms=40)
    renewer = store.renewer()
    try:
        await asyncio.to_thread(renewer.renew, [Lease(id="e-1", nonce=turn.nonce)], 10_000)
    finally:
        await asyncio.to_thread(renewer.close)
    await elapse(60)
    assert (await store.reap(part(store), 10, [])).wakes == ()
    assert (await record(store)).status is Status.RUNNING


async def test_workers_are_known_by_their_heartbeats(store: Store, elapse: Elapse) -> None:
    assert await store.workers(60_000) == []
    renewer = store.renewer()
    try:
        before = await store.now()
        await asyncio.to_thread(renewer.heartbeat, a_worker("w-1"))
        after = await store.now()
        (found,) = await store.workers(60_000)
        assert replace(found, seen_at=0) == a_worker("w-1")
        assert before <= found.seen_at <= after
        await elapse(SHORT + 10)
        await asyncio.to_thread(renewer.heartbeat, a_worker("w-2"))
        assert [w.id for w in await store.workers(SHORT)] == ["w-2"]
        assert [w.id for w in await store.workers(60_000)] == ["w-1", "w-2"], "who asks writes nothing"
        for id in ("w-1", "w-2", "w-2"):
            await store.farewell(id)
        assert await store.workers(60_000) == []
    finally:
        await asyncio.to_thread(renewer.close)
