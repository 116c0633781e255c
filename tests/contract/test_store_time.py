"""What time does to executions, one partition at a time, and who leads."""

from __future__ import annotations

from runner.failures import Failure
from runner.records import Cause, Status
from runner.store import GRACE_MS, PASS_FIRST_MS, Store, partition_of
from runner.store.crashes import MAX_CRASHES
from runner.transactions import Complete, Refusal, Suspend
from tests.contract.kit import (
    LEASE,
    SHORT,
    Elapse,
    a_parcel,
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
    nonce,
    part,
    record,
    signal,
    start,
)


def neighbours(store: Store, count: int) -> list[str]:
    """Ids that live in one partition."""
    first = partition_of("n-0", store.partitions)
    ids = (f"n-{i}" for i in range(10_000))
    return [id for id in ids if partition_of(id, store.partitions) == first][:count]


# -- due ------------------------------------------------------------------------------------------


async def test_a_timer_wakes_not_before_its_time(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(queue="q", version=4))
    committed = await turn.commit(opens=[a_sleep(after_ms=SHORT), a_wait()], end=Suspend())
    early = await store.due(part(store), 10)
    assert (early.wakes, early.next_at) == ((), committed.deadlines["nap"])
    assert await store.claim("e-1", nonce(), "w", LEASE) is Refusal.IDLE
    seq = (await record(store)).seq
    await elapse(SHORT)
    woken = await store.due(part(store), 10)
    (wake,) = woken.wakes
    assert (wake.id, wake.queue, wake.workflow, wake.version) == ("e-1", "q", "order", 4)
    assert wake.seq > seq
    deadline = committed.deadlines["nap"]
    assert deadline is not None
    assert woken.now >= deadline
    assert woken.next_at is None
    assert (await store.due(part(store), 10)).wakes == (), "once"
    assert await index(store, "ready") is not None
    turn = await claim(store)
    assert {w.id for w in turn.history.waits} == {"nap", "approval"}
    assert turn.history.now >= deadline


async def test_due_takes_what_is_due_in_its_partition_up_to_the_limit(store: Store, elapse: Elapse) -> None:
    ids = neighbours(store, 5)
    await store.start([a_start(id, delay_ms=10 + i) for i, id in enumerate(ids)])
    await store.start([a_start("late-" + ids[0], delay_ms=90_000)])
    await elapse(40)
    here = partition_of(ids[0], store.partitions)
    other = await store.due((here + 1) % store.partitions, 10)
    assert other.wakes == ()
    first = await store.due(here, 3)
    assert [w.id for w in first.wakes] == ids[:3], "the earliest first"
    assert first.next_at is not None
    assert first.next_at <= first.now
    second = await store.due(here, 3)
    assert [w.id for w in second.wakes] == ids[3:]


async def test_due_ends_a_sleeper_whose_own_deadline_passed(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=SHORT))
    await turn.commit(opens=[a_wait(), a_sleep(after_ms=SHORT)], end=Suspend())
    ended = await store.subscribe("ended/e-1")
    await elapse(SHORT)
    assert (await store.due(part(store), 10)).wakes == ()
    found = await record(store)
    assert (found.status, found.cause) == (Status.FAILED, Cause.TIMED_OUT)
    assert found.ended_at is not None
    assert found.deadline is not None
    assert found.ended_at >= found.deadline
    assert await ended.next(5) == "failed"
    await ended.close()
    times = await store.next_due(part(store))
    assert (times["ready"], times["timers"], times["expiry"] is not None) == (None, None, True)


async def test_due_ends_one_that_nobody_ever_claimed(store: Store, elapse: Elapse) -> None:
    await start(store, a_start(timeout_ms=40))
    await elapse(50)
    assert (await store.due(part(store), 10)).wakes == ()
    found = await record(store)
    assert (found.status, found.cause, found.started_at) == (Status.FAILED, Cause.TIMED_OUT, None)
    assert await index(store, "ready") is None


async def test_due_ends_one_that_was_woken_and_never_claimed(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=2 * SHORT))
    await turn.commit(opens=[a_wait(), a_sleep(after_ms=20)], end=Suspend())
    await signal(store)
    await elapse(25)
    assert (await store.due(part(store), 10)).wakes == (), "it is ready already"
    await elapse(2 * SHORT)
    await store.due(part(store), 10)
    assert (await record(store)).cause is Cause.TIMED_OUT


async def test_due_wakes_before_the_deadline_and_ends_after(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=2 * SHORT))
    await turn.commit(opens=[a_sleep(after_ms=30)], end=Suspend())
    await elapse(35)
    woken = await store.due(part(store), 10)
    assert len(woken.wakes) == 1
    deadline = (await record(store)).deadline
    assert woken.next_at == deadline
    await elapse(2 * SHORT)
    await store.due(part(store), 10)
    assert (await record(store)).status is Status.FAILED


async def test_due_ends_a_cancelling_one_as_cancelled(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=SHORT))
    await cancel(store)
    await turn.commit(opens=[a_wait()], end=Suspend(), seen=1)
    await elapse(SHORT)
    await store.due(part(store), 10)
    found = await record(store)
    assert (found.status, found.cause) == (Status.CANCELLED, Cause.NONE)


# -- reap -----------------------------------------------------------------------------------------


async def test_a_lease_that_ran_out_is_reaped_and_the_crash_counted(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, worker="w-1", lease_ms=SHORT)
    await turn.commit(entries=[an_entry()], opens=[a_wait()], lease_ms=SHORT)
    early = await store.reap(part(store), 10, [])
    assert (early.wakes, early.next_at) == ((), (await record(store)).lease_until)
    seq = (await record(store)).seq
    await elapse(SHORT)
    reaped = await store.reap(part(store), 10, ["w-2"])
    (wake,) = reaped.wakes
    assert wake.seq > seq
    assert reaped.next_at is None
    found = await history(store)
    assert (found.execution.status, found.execution.crashes) == (Status.PENDING, 1)
    assert (found.execution.lease_until, len(found.entries), len(found.waits)) == (None, 1, 1)
    assert await index(store, "ready") is not None
    assert (await store.reap(part(store), 10, [])).wakes == ()
    assert (await claim(store)).history.execution.crashes == 1


async def test_a_living_owner_is_no_crash(store: Store, elapse: Elapse) -> None:
    await begin(store, worker="w-1", lease_ms=30)
    await elapse(40)
    assert len((await store.reap(part(store), 10, ["w-0", "w-1"])).wakes) == 1
    found = await record(store)
    assert (found.status, found.crashes) == (Status.PENDING, 0)


async def test_reaping_keeps_to_partition_and_limit(store: Store, elapse: Elapse) -> None:
    ids = neighbours(store, 3)
    for id in ids:
        await begin(store, a_start(id), lease_ms=30)
    await elapse(40)
    here = partition_of(ids[0], store.partitions)
    assert (await store.reap((here + 1) % store.partitions, 10, [])).wakes == ()
    assert len((await store.reap(here, 2, [])).wakes) == 2
    assert len((await store.reap(here, 2, [])).wakes) == 1


async def test_reaping_while_cancelling_stays_cancelling(store: Store, elapse: Elapse) -> None:
    await begin(store, lease_ms=30)
    await cancel(store)
    await elapse(40)
    assert len((await store.reap(part(store), 10, [])).wakes) == 1
    assert (await record(store)).status is Status.CANCELLING


async def test_crashes_are_counted_anew_with_every_recorded_result(store: Store, elapse: Elapse) -> None:
    await begin(store, lease_ms=30)
    await elapse(40)
    await store.reap(part(store), 10, [])
    assert (await record(store)).crashes == 1
    turn = await claim(store)
    await turn.commit(entries=[an_entry()])
    assert (await record(store)).crashes == 0


async def test_too_many_crashes_poison(store: Store, elapse: Elapse) -> None:
    await start(store, a_start())
    ended = await store.subscribe("ended/e-1")
    for crash in range(1, MAX_CRASHES + 1):
        assert (await record(store)).status is Status.PENDING, crash
        await claim(store, lease_ms=1)
        await elapse(2)
        reaped = await store.reap(part(store), 10, [])
        assert len(reaped.wakes) == (0 if crash == MAX_CRASHES else 1)
    found = await record(store)
    assert (found.status, found.cause, found.crashes) == (Status.FAILED, Cause.POISONED, MAX_CRASHES)
    assert (found.lease_until, found.ended_at is None) == (None, False)
    assert await ended.next(5) == "failed"
    await ended.close()
    assert "lost its worker 20 times" in Failure.unpack(found.error or b"").message
    times = await store.next_due(part(store))
    assert (times["ready"], times["leases"], times["expiry"] is not None) == (None, None, True)


# -- overdue --------------------------------------------------------------------------------------


async def test_overdue_finds_what_nobody_claimed_and_pushes_it_away(store: Store, elapse: Elapse) -> None:
    ids = neighbours(store, 6)
    here = partition_of(ids[0], store.partitions)
    await store.start([a_start(id, queue="a" if i < 4 else "b", version=2) for i, id in enumerate(ids)])
    fresh = await store.overdue(here, 10, 15_000)
    assert (fresh.lost, fresh.passed, fresh.ready) == ((), (), {"a": 4, "b": 2})
    assert fresh.next_at is not None
    assert fresh.now < fresh.next_at <= fresh.now + GRACE_MS
    await claim(store, ids[1])
    await store.pass_over(ids[2], "unknown")
    await elapse(GRACE_MS + 10)
    some = await store.overdue(here, 2, 15_000)
    assert len(some.lost) + len(some.passed) == 2
    assert some.ready == {"a": 3, "b": 2}
    rest = await store.overdue(here, 10, 15_000)
    assert {w.id for w in (*some.lost, *rest.lost)} == {ids[0], ids[3], ids[4], ids[5]}
    assert [w.id for w in (*some.passed, *rest.passed)] == [ids[2]]
    wake = next(w for w in (*some.lost, *rest.lost) if w.id == ids[5])
    assert (wake.queue, wake.workflow, wake.version, wake.seq) == ("b", "order", 2, 1)
    assert rest.next_at is not None
    assert rest.now + 14_000 < rest.next_at <= rest.now + 15_000
    again = await store.overdue(here, 10, 15_000)
    assert (again.lost, again.passed, again.ready) == ((), (), {"a": 3, "b": 2})
    await claim(store, ids[0])
    assert (await store.overdue((here + 1) % store.partitions, 10, 15_000)).ready == {}


async def test_what_was_passed_over_is_offered_again_after_its_backoff(store: Store, elapse: Elapse) -> None:
    await start(store, a_start())
    await store.pass_over("e-1", "unknown workflow")
    assert (await store.overdue(part(store), 10, 5_000)).passed == ()
    await elapse(PASS_FIRST_MS + 10)
    found = await store.overdue(part(store), 10, 5_000)
    assert ([w.id for w in found.passed], found.lost) == (["e-1"], ())
    assert (await record(store)).passed == "unknown workflow"
    assert (await claim(store)).history.execution.passed == ""


# -- the clocks of the indexes --------------------------------------------------------------------


async def test_next_due_shows_each_index_and_changes_nothing(store: Store) -> None:
    empty = await store.next_due(0)
    assert {k: empty[k] for k in ("timers", "leases", "ready", "expiry", "outbox")} == dict.fromkeys(
        ("timers", "leases", "ready", "expiry", "outbox")
    )
    assert empty["now"] is not None
    ids = neighbours(store, 4)
    here = partition_of(ids[0], store.partitions)
    turn = await begin(store, a_start(ids[0]))
    slept = await turn.commit(opens=[a_sleep(after_ms=7_000)], end=Suspend())
    turn = await begin(store, a_start(ids[1], retention_ms=8_000))
    over = await turn.commit(outgoing=[a_parcel("r")], end=Complete(result=b""))
    turn = await begin(store, a_start(ids[2]), lease_ms=9_000)
    await start(store, a_start(ids[3]))
    times = await store.next_due(here)
    now = times["now"]
    ready, outbox = times["ready"], times["outbox"]
    assert now is not None
    assert (times["timers"], times["expiry"]) == (slept.now + 7_000, over.now + 8_000)
    assert times["leases"] == turn.history.now + 9_000
    assert ready is not None
    assert now < ready <= now + GRACE_MS
    assert outbox is not None
    assert outbox <= now
    assert {k: v for k, v in (await store.next_due(here)).items() if k != "now"} == {
        k: v for k, v in times.items() if k != "now"
    }


# -- purge ----------------------------------------------------------------------------------------


async def test_what_is_past_its_retention_goes_with_everything(store: Store, elapse: Elapse) -> None:
    ids = neighbours(store, 4)
    here = partition_of(ids[0], store.partitions)
    for id in ids[:3]:
        await store.start([a_start(id, retention_ms=2 * SHORT, workflow="short")])
        await store.deliver(a_signal(id, request="r-1"))
        turn = await claim(store, id)
        await turn.commit(entries=[an_entry()], opens=[a_wait()], end=Complete(result=b""))
    kept = await begin(store, a_start(ids[3], retention_ms=90_000))
    over = await kept.commit(end=Complete(result=b"kept"))
    early, next_at = await store.purge(here, 10)
    assert early == 0
    assert next_at is not None
    await elapse(2 * SHORT)
    assert (await store.purge((here + 1) % store.partitions, 10))[0] == 0
    count, next_at = await store.purge(here, 2)
    assert count == 2
    assert next_at is not None
    assert next_at <= await store.now()
    assert await store.purge(here, 10) == (1, over.now + 90_000)
    for id in ids[:3]:
        assert await store.read(id) is None
        assert await store.claim(id, nonce(), "w", LEASE) is Refusal.UNKNOWN
    assert (await record(store, ids[3])).result == b"kept"
    again = await start(store, a_start(ids[0]))
    assert again.new
    assert (await store.deliver(a_signal(ids[0], request="r-1"))).reception == "delivered"
    found = await history(store, ids[0])
    assert (len(found.inbox), found.entries, found.waits) == (1, (), ())


async def test_what_lives_is_never_purged(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(retention_ms=1))
    await turn.commit(opens=[a_wait()], end=Suspend())
    await elapse(20)
    assert await store.purge(part(store), 10) == (0, None)
    assert (await record(store)).status is Status.SLEEPING


# -- leading --------------------------------------------------------------------------------------


async def test_one_leads(store: Store, elapse: Elapse) -> None:
    first = await store.lead("n-1", "one", 60_000)
    assert (first.leading, first.leader) == (True, "one")
    assert 0 < first.expires_in_ms <= 60_000
    second = await store.lead("n-2", "two", 60_000)
    assert (second.leading, second.leader) == (False, "one")
    assert 0 < second.expires_in_ms <= 60_000
    assert (await store.lead("n-1", "one", 80)).leading
    assert (await store.lead("n-1", "one", 80)).expires_in_ms <= 80, "the last word sets the time"
    await elapse(100)
    third = await store.lead("n-2", "two", 60_000)
    assert (third.leading, third.leader) == (True, "two")
    assert not (await store.lead("n-1", "one", 60_000)).leading


async def test_the_seat_is_given_back_only_by_who_holds_it(store: Store) -> None:
    await store.lead("n-1", "one", 60_000)
    free = await store.subscribe("leader")
    await store.abdicate("n-2")
    assert (await store.lead("n-1", "one", 60_000)).leading
    assert await free.next(0.05) is None
    await store.abdicate("n-1")
    assert await free.next(5) is not None
    await free.close()
    await store.abdicate("n-1")
    assert (await store.lead("n-2", "two", 60_000)).leading
