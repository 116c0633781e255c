"""What nobody can make out, or bring back: it is told of, and everything else is looked at and goes on all the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from runner.app import App
from runner.core.wakefulness import Finding
from runner.errors import PayloadError
from runner.records import Filter, Status
from runner.store import Store, partition_of
from runner.store.inspection import Repair
from runner.transactions import Action, Complete, ContinueAsNew, RetryAttempt, Suspend
from runner.why import ReasonCode
from runner.why.gather import Asking
from tests.contract.fsck_kit import Check
from tests.contract.hands import Hand
from tests.contract.kit import (
    a_signal,
    a_sleep,
    a_start,
    a_wait,
    an_entry,
    begin,
    cancel,
    claim,
    operate,
    part,
    signal,
    start,
)

HOUR = 3_600_000

pytestmark = pytest.mark.parametrize("backend", ["sqlite-file", "redis"], indirect=True)


def beside(store: Store, id: str = "e-1") -> str:
    """Another id of the same partition."""
    home = partition_of(id, store.partitions)
    return next(one for one in (f"b-{n}" for n in range(10_000)) if partition_of(one, store.partitions) == home)


async def only(check: Check, code: str, *, repair: bool = False) -> Finding:
    report = await check(repair=repair)
    assert (report.counts, report.left) == ({code: 1}, 1), report.findings
    (found,) = report.findings
    assert (found.repairable, found.repaired, found.cure != "") == (False, False, True)
    return found


# -- records ----------------------------------------------------------------------------------------


async def test_a_record_that_nobody_can_read_is_told_of_and_harms_no_other(
    store: Store, hand: Hand, check: Check
) -> None:
    for id in ("e-1", "well", "lost"):
        await start(store, a_start(id))
    hand.garbled("e-1")
    found = await only(check, "record_unreadable")
    assert (found.subject, "telepathic" in found.text) == ("e-1", True)
    hand.ready("lost", None)
    report = await check(repair=True)
    assert (report.executions, report.counts) == (3, {"record_unreadable": 1, "unwakeable": 1})
    assert {one.code: one.repaired for one in report.findings} == {"record_unreadable": False, "unwakeable": True}
    await only(check, "record_unreadable", repair=True)

    page = await store.executions(Filter())
    assert {one.id for one in page.executions} == {"well", "lost"}
    assert list(page.unreadable) == ["e-1"]
    look, _ = await store.living(part(store), "", 100)
    assert [one.id for one in look.unreadable] == ["e-1"]


async def test_whoever_asks_for_it_by_name_is_told_what_is_wrong(store: Store, hand: Hand) -> None:
    await start(store, a_start())
    hand.garbled("e-1")
    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: store.record("e-1"),
        lambda: store.read("e-1"),
        lambda: store.claim("e-1", "n", "w-1", 1_000),
        lambda: cancel(store),
        lambda: signal(store),
        lambda: operate(store, Action.FORCE_FAIL),
        lambda: store.mend("e-1", Repair(lease_ms=1)),
        lambda: store.start([a_start()]),
    ]
    for ask in asked:
        with pytest.raises(PayloadError, match=r"the record of execution 'e-1' cannot be read .*telepathic"):
            await ask()
    why = await Asking(App("shop"), store, None).why("e-1")
    assert why is not None
    assert (why.codes, why.status) == ((ReasonCode.RECORD_UNREADABLE,), None)


async def test_what_time_does_to_others_is_not_held_up_by_it(
    store: Store, hand: Hand, elapse: Callable[[int], Awaitable[None]]
) -> None:
    """It comes again later: whoever wrote it may know how to go on."""
    other = beside(store)
    for id in ("e-1", other):
        turn = await begin(store, a_start(id), lease_ms=5)
        await turn.commit(opens=[a_sleep(after_ms=1)], end=Suspend()) if id == other else None
    hand.timer("e-1", 1)
    hand.expiry("e-1", 1)
    hand.ready("e-1", 1)
    hand.garbled("e-1")
    await elapse(10)
    home = part(store)
    assert [wake.id for wake in (await store.due(home, 10)).wakes] == [other]
    assert (await store.reap(home, 10, ())).wakes == ()
    assert (await store.purge(home, 10))[0] == 0
    assert (await store.overdue(home, 10, 1_000)).lost == ()
    now = await store.now()
    left = await store.next_due(home)
    assert all((left[index] or 0) > now for index in ("leases", "expiry"))


async def test_a_timer_that_is_gone_is_why_it_does_not_go_on(store: Store, hand: Hand) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_sleep(after_ms=HOUR)], end=Suspend())
    asking = Asking(App("shop"), store, None)
    before = await asking.why("e-1")
    hand.timer("e-1", None)
    after = await asking.why("e-1")
    assert before is not None
    assert after is not None
    assert (before.codes[0], after.codes[0]) == (ReasonCode.SLEEPING, ReasonCode.TIMER_MISSING)


# -- what belongs to a record -------------------------------------------------------------------------


async def test_a_journal_that_was_cut_is_told_of_and_not_forgotten(store: Store, hand: Hand, check: Check) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1, "a"), an_entry(2, "b")], opens=[a_wait()], end=Suspend())
    assert (await check()).clean
    hand.journal_cut("e-1", "b")
    found = await only(check, "journal_incomplete", repair=True)
    assert "1 of the 2 entries" in found.text
    assert "runner executions force-fail e-1" in found.cure
    await signal(store)
    turn = await claim(store)
    await turn.commit(entries=[an_entry(2, "c")], opens=[a_wait("w-2")], end=Suspend())
    assert "1 of the 3 entries" in (await only(check, "journal_incomplete")).text


async def test_a_journal_that_the_store_itself_made_shorter_is_whole(store: Store, check: Check) -> None:
    turn = await begin(store, a_start(entries=(an_entry(1, "a"),)))
    await turn.commit(entries=[an_entry(2, "b"), an_entry(3, "c")])
    await turn.commit(end=RetryAttempt(after_ms=0, error=b"e", drop=("c", "nobody")))
    await operate(store, Action.RECORD, entry=an_entry(9, "d"))
    assert (await check()).clean
    (facts,) = (await store.facts(["e-1"])).facts
    assert (facts.entries, facts.recorded) == (3, 3)
    turn = await claim(store)
    await turn.commit(end=ContinueAsNew(input=b"i"))
    turn = await claim(store)
    await turn.commit(entries=[an_entry(1, "a")], end=Complete(result=b"r"))
    (facts,) = (await store.facts(["e-1"])).facts
    assert (facts.entries, facts.recorded, facts.status) == (1, 1, Status.COMPLETED)


async def test_an_inbox_that_has_lost_its_cancel_is_told_of(store: Store, hand: Hand, check: Check) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    await store.deliver(a_signal())
    await cancel(store)
    assert (await check()).clean
    hand.inbox_gone("e-1")
    assert "2 of the 2 items" in (await only(check, "inbox_incomplete", repair=True)).text
