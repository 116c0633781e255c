"""The check of a store: whatever is damaged by hand is found, set right, and found no more; and it goes on from there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from runner.broker.memory import MemoryBroker
from runner.core.facts import Look
from runner.courier import Courier
from runner.fsck import LEAST_LEASE_MS, follow_again
from runner.records import History, Notice
from runner.store import Store
from runner.store.inspection import Repair
from runner.transactions import Complete, Fail, FailCompensation, Follow, Open, Outgoing, RetryAttempt, Suspend
from tests.contract.fsck_kit import Check, mended
from tests.contract.hands import Hand
from tests.contract.kit import (
    a_schedule,
    a_sleep,
    a_start,
    a_wait,
    begin,
    cancel,
    claim,
    history,
    nonce,
    part,
    signal,
    start,
)

HOUR = 3_600_000
DAY = 24 * HOUR

pytestmark = pytest.mark.parametrize("backend", ["sqlite-file", "redis"], indirect=True)


async def goes_on(store: Store, id: str = "e-1") -> None:
    """It is claimed, and comes to its end."""
    turn = await claim(store, id)
    await turn.commit(end=Complete(result=b"r"))


async def repaired(store: Store, id: str = "e-1") -> list[object]:
    return [row.fields["done"] for row in await store.audit(id) if row.kind == "repaired"]


# -- what is well ---------------------------------------------------------------------------------


async def test_a_store_in_order_is_found_in_order(store: Store, check: Check) -> None:
    await start(store, a_start("ready", attributes=(("k", '"v"'), ("n:m", "1"))))
    await start(store, a_start("passed"))
    await store.pass_over("passed", "no such workflow")
    await start(store, a_start("delayed", delay_ms=HOUR, timeout_ms=HOUR))
    await begin(store, a_start("owned", timeout_ms=HOUR))
    for id, waits in (("signal", [a_wait()]), ("asleep", [a_sleep(after_ms=HOUR), a_wait(after_ms=2 * HOUR)])):
        turn = await begin(store, a_start(id, timeout_ms=DAY))
        await turn.commit(opens=waits, end=Suspend(), attributes=[("k", "1")])
    turn = await begin(store, a_start("retrying"))
    await turn.commit(end=RetryAttempt(after_ms=HOUR, error=b"e"))
    turn = await begin(store, a_start("follows"))
    await turn.commit(opens=[Open(id="w", kind="ended", name="owned")], end=Suspend())
    await store.follow(Follow(target="owned", waiter="follows", run=1, workflow="order"))
    for id, end in (
        ("completed", Complete(result=b"r")),
        ("failed", Fail(error=b"e")),
        ("not-undone", FailCompensation(error=b"e")),
    ):
        turn = await begin(store, a_start(id))
        await turn.commit(end=end, outstanding=1)
    await start(store, a_start("cancelled"))
    await cancel(store, "cancelled")
    await store.put_schedules([a_schedule("s-1", due_at=await store.now() + HOUR), a_schedule("s-2")])
    await store.stir_schedule("s-1")
    report = await check(repair=True)
    assert report.clean, report.findings
    assert (report.executions, report.repaired) == (12, 0)


# -- nothing would wake it ------------------------------------------------------------------------


async def test_a_ready_entry_that_is_gone(store: Store, hand: Hand, check: Check) -> None:
    await start(store, a_start(timeout_ms=HOUR))
    hand.ready("e-1", None)
    await mended(check, "unwakeable")
    assert await repaired(store) == ["ready"]
    await goes_on(store)


async def test_news_that_woke_nobody(
    store: Store, hand: Hand, check: Check, elapse: Callable[[int], Awaitable[None]]
) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    await elapse(2)
    await signal(store)
    hand.ready("e-1", None)
    await mended(check, "unwakeable")
    await goes_on(store)


async def test_a_delayed_start_without_its_timer(store: Store, hand: Hand, check: Check) -> None:
    await start(store, a_start(delay_ms=HOUR))
    hand.timer("e-1", None)
    await mended(check, "unwakeable")
    await goes_on(store)


async def test_a_delayed_start_with_a_timer_at_its_deadline_only(store: Store, hand: Hand, check: Check) -> None:
    await start(store, a_start(delay_ms=HOUR, timeout_ms=HOUR))
    hand.timer("e-1", await store.now() + 2 * HOUR - 60_000)
    await mended(check, "unwakeable")
    await goes_on(store)


async def test_a_pause_before_a_retry_without_its_timer(store: Store, hand: Hand, check: Check) -> None:
    turn = await begin(store)
    await turn.commit(end=RetryAttempt(after_ms=HOUR, error=b"e"))
    hand.timer("e-1", None)
    await mended(check, "unwakeable")
    await goes_on(store)


async def test_a_sleeper_that_waits_for_nothing(store: Store, check: Check) -> None:
    turn = await begin(store)
    await turn.commit(end=Suspend())
    await mended(check, "unwakeable")
    await goes_on(store)


@pytest.mark.parametrize("after_ms", [None, 2 * HOUR])
async def test_a_timer_that_is_gone_or_late(store: Store, hand: Hand, check: Check, after_ms: int | None) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_sleep(after_ms=HOUR), a_wait(after_ms=2 * HOUR)], end=Suspend())
    now = await store.now()
    hand.timer("e-1", None if after_ms is None else now + after_ms)
    await mended(check, "timer_late")
    next_at = (await store.next_due(part(store)))["timers"]
    assert next_at is not None
    assert next_at <= now + HOUR


async def test_a_deadline_that_nobody_watches(store: Store, hand: Hand, check: Check) -> None:
    await start(store, a_start(timeout_ms=HOUR))
    hand.timer("e-1", None)
    await mended(check, "timer_late")


async def test_a_ready_entry_that_nobody_will_look_at_for_long(store: Store, hand: Hand, check: Check) -> None:
    await start(store, a_start())
    hand.ready("e-1", await store.now() + DAY)
    await mended(check, "ready_far_away")
    await goes_on(store)


# -- owners -----------------------------------------------------------------------------------------


async def test_an_owner_without_a_lease(store: Store, hand: Hand, check: Check) -> None:
    turn = await begin(store)
    hand.lease("e-1", None)
    await mended(check, "owner_without_lease")
    assert await turn.ask() is None, "whoever it was owns it no more"
    await goes_on(store)


async def test_a_lease_that_ends_after_the_clock_went_back(store: Store, hand: Hand, check: Check) -> None:
    await begin(store)
    hand.lease("e-1", await store.now() + DAY)
    await mended(check, "lease_far_away")
    next_at, now = (await store.next_due(part(store)))["leases"], await store.now()
    assert next_at is not None
    assert next_at <= now + 2 * LEAST_LEASE_MS


async def test_a_lease_without_an_owner(store: Store, hand: Hand, check: Check) -> None:
    await start(store, a_start())
    hand.lease("e-1", await store.now() + 1_000)
    await mended(check, "lease_without_owner")
    await goes_on(store)


async def test_an_owner_beside_a_ready_entry(store: Store, hand: Hand, check: Check) -> None:
    turn = await begin(store)
    hand.ready("e-1", 1)
    hand.timer("e-1", 1)
    await mended(check, "owned_ready")
    assert (await turn.commit(end=Complete(result=b"r"))).released


# -- ends -------------------------------------------------------------------------------------------


async def test_what_has_ended_and_would_stay_for_ever(store: Store, hand: Hand, check: Check) -> None:
    turn = await begin(store, a_start(retention_ms=0))
    await turn.commit(end=Complete(result=b"r"))
    hand.expiry("e-1", None)
    await mended(check, "never_purged")
    assert (await store.purge(part(store), 10))[0] == 1


async def test_what_has_ended_and_is_ready_owned_and_on_a_timer(store: Store, hand: Hand, check: Check) -> None:
    turn = await begin(store)
    await turn.commit(end=Complete(result=b"r"))
    hand.ready("e-1", 1)
    hand.timer("e-1", 1)
    hand.lease("e-1", 1)
    await mended(check, "ended_ready", "ended_owned")
    assert {name: at for name, at in (await store.next_due(part(store))).items() if at and name != "now"}.keys() == {
        "expiry"
    }


async def test_what_lives_and_would_be_purged(store: Store, hand: Hand, check: Check) -> None:
    await start(store, a_start())
    hand.expiry("e-1", 1)
    await mended(check, "expires_alive")
    assert (await store.purge(part(store), 10))[0] == 0
    await goes_on(store)


@pytest.mark.parametrize("needed", [True, False])
async def test_what_needs_an_operator(store: Store, hand: Hand, check: Check, needed: bool) -> None:
    turn = await begin(store)
    await turn.commit(end=FailCompensation(error=b"e") if needed else Complete(result=b"r"))
    hand.stuck("e-1", needed=not needed)
    await mended(check, "index_missing" if needed else "index_surplus")


# -- others -----------------------------------------------------------------------------------------


async def waiting_for(store: Store, target: str, *, follow: bool) -> None:
    turn = await begin(store)
    await turn.commit(opens=[Open(id="w", kind="ended", name=target)], end=Suspend())
    if follow:
        await store.follow(Follow(target=target, waiter="e-1", run=1, workflow="order"))


async def test_a_wait_for_an_end_that_nobody_will_tell(store: Store, hand: Hand, check: Check) -> None:
    other = await begin(store, a_start("other"))
    await waiting_for(store, "other", follow=True)
    assert (await check()).clean
    hand.followers_gone("other")
    await mended(check, "unheard")
    assert await repaired(store) == ["follows other again"]
    (notice,) = (await other.commit(end=Complete(result=b"r"))).parcels
    assert notice.outgoing.target == "e-1"


@pytest.mark.parametrize("ended", [True, False])
async def test_a_wait_for_what_has_ended_or_is_not_there(store: Store, check: Check, ended: bool) -> None:
    if ended:
        other = await begin(store, a_start("other"))
        await other.commit(end=Complete(result=b"r"))
    await waiting_for(store, "other", follow=False)
    await mended(check, "unheard")
    assert [item.name for item in (await history(store)).inbox] == ["other"]
    await goes_on(store)


async def test_an_answer_that_is_on_its_way_is_none_that_is_missing(store: Store, check: Check) -> None:
    other = await begin(store, a_start("other"))
    await waiting_for(store, "other", follow=True)
    await other.commit(end=Complete(result=b"r"))
    assert (await check()).clean


async def waiting_for_its_child(store: Store, *kinds: str) -> None:
    """With parcels of these kinds on their way."""
    turn = await begin(store)
    started = a_start("c-1", parent="e-1", parent_run=1)
    asked = Follow(target="c-1", waiter="e-1", run=1, workflow="order", request="r")
    await turn.commit(
        children=[("c-1", "cancel")],
        opens=[Open(id="w", kind="ended", name="c-1")],
        outgoing=[
            Outgoing(target="c-1", request=kind, kind=kind, payload=going.pack())
            for kind, going in (("start", started), ("follow", asked))
            if kind in kinds
        ],
        end=Suspend(),
    )


async def told(store: Store) -> list[str]:
    return [Notice.unpack(item.payload).status for item in (await history(store)).inbox]


async def test_a_child_whose_start_is_on_its_way_is_none_that_is_missing(store: Store, check: Check) -> None:
    await waiting_for_its_child(store, "start", "follow")
    assert (await check()).clean


async def test_a_child_that_is_lost_while_its_parent_asks_for_its_end(
    store: Store, check: Check, broker: MemoryBroker
) -> None:
    """The question waits for the child to come, as long as its parent takes it for alive."""
    await waiting_for_its_child(store, "follow")
    courier = Courier(store, broker)
    assert await courier.send(await store.outbox(part(store), "", 10)) == 1
    await mended(check, "child_lost", "unheard")
    assert await told(store) == ["unknown"]
    assert await courier.send(await store.outbox(part(store), "", 10)) == 0
    await goes_on(store)


async def test_a_repaired_link_is_all_that_the_question_waits_for(store: Store, broker: MemoryBroker) -> None:
    await waiting_for_its_child(store, "follow")
    await store.mend("e-1", Repair(lease_ms=LEAST_LEASE_MS, lost=("c-1",)))
    assert await Courier(store, broker).send(await store.outbox(part(store), "", 10)) == 0
    assert await told(store) == ["unknown"]


async def test_what_comes_to_life_while_it_is_asked_about_is_followed(store: Store) -> None:
    """It is not known what it is taken for: the answer that it is of another workflow would be taken for another wait's."""
    await waiting_for(store, "late", follow=False)
    (facts,) = (await store.facts(["e-1"])).facts
    await start(store, a_start("late"))
    assert await follow_again(store, facts, ["late"]) == []
    followed = await store.followed("late", "e-1", 1)
    assert followed is not None
    assert followed.followed


async def test_a_child_that_is_not_there(store: Store, check: Check) -> None:
    turn = await begin(store)
    await turn.commit(children=[("c-1", "cancel")], opens=[a_wait()], end=Suspend())
    await mended(check, "child_lost")
    assert (await store.children("e-1"))[0].ended


# -- what belongs to nothing ------------------------------------------------------------------------


async def test_data_of_an_execution_that_is_not_there(store: Store, hand: Hand, check: Check) -> None:
    turn = await begin(store, a_start(attributes=(("k", "1"),), parent="p"))
    await turn.commit(opens=[a_wait()], children=[("e-1", "cancel")])
    await signal(store)
    hand.record_gone("e-1")
    report = await check()
    assert set(report.counts) <= {"stray_data", "stray_entry"}
    assert report.counts["stray_data"] >= 6
    await mended(check, *report.counts)
    await start(store, a_start())
    assert isinstance(await store.claim("e-1", nonce(), "w-1", 1_000), History)
    assert len((await history(store)).inbox) == 0


async def test_a_schedule_that_nobody_will_look_at(store: Store, hand: Hand, check: Check) -> None:
    now = await store.now()
    await store.put_schedules([a_schedule(f"s-{number}", due_at=now) for number in range(3)])
    hand.schedule_due("s-0", None)
    hand.schedule_due("s-1", now + HOUR)
    await mended(check, "schedule_not_due")
    assert {one.id for one in (await store.due_schedules(10)).schedules} == {"s-0", "s-1", "s-2"}


async def test_a_parcel_that_nobody_can_read_is_found_and_left(store: Store, hand: Hand, check: Check) -> None:
    hand.parcel(3, "start", "e-1")
    hand.parcel(4, "telepathy", "e-1")
    assert (await check(repair=True)).counts == {"parcel_unreadable": 2}
    report = await check(repair=True)
    assert (report.counts, report.left) == ({"parcel_unreadable": 2}, 2)
    assert not any(one.repairable or one.repaired for one in report.findings)
    assert all(one.cure for one in report.findings)


async def test_a_repair_that_finds_nobody_does_nothing(store: Store) -> None:
    assert (await store.mend("nobody", Repair(lease_ms=1, wake=True))).done == ()
    assert await store.facts(["nobody"]) == Look()
    assert await store.followed("nobody", "e-1", 1) is None
