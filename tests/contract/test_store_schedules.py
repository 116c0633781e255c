"""Schedules in a store: compared and set, found when they are due, and by id."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from runner.records import Overlap, Pending
from runner.store import Store
from tests.contract.conftest import Backend
from tests.contract.kit import SHORT, Elapse, a_schedule

WHOLE = replace(
    a_schedule(),
    cron="*/5 * * * *",
    timezone="Europe/Berlin",
    overlap=Overlap.CANCEL_OTHER,
    attributes=(("size", "1"),),
    paused=True,
    note="holidays",
    pending=Pending(tick=7, action="start", execution_id="s-1@7", cancels=("s-1@6",)),
    buffered=6,
    running=("s-1@5", "s-1@6"),
    last_tick=5,
    error="broken",
)


async def test_it_is_kept_as_it_was_put(store: Store) -> None:
    assert await store.schedule("s-1") is None
    assert await store.put_schedules([WHOLE]) == [True]
    assert await store.schedule("s-1") == WHOLE


async def test_the_next_revision_takes_the_place_of_the_last(store: Store) -> None:
    second = a_schedule(revision=2, note="second")
    assert await store.put_schedules([a_schedule()]) == [True]
    assert await store.put_schedules([second]) == [True]
    assert await store.schedule("s-1") == second


async def test_a_repeat_is_told_what_the_first_was(store: Store) -> None:
    for revision in (1, 2):
        asked = [a_schedule(revision=revision, due_at=revision)]
        assert await store.put_schedules(asked) == [True]
        assert await store.put_schedules(asked) == [True]


async def test_only_the_first_of_two_changes_of_one_revision_is_made(store: Store) -> None:
    await store.put_schedules([a_schedule()])
    asked = [store.put_schedules([a_schedule(revision=2, note=f"by {n}")]) for n in range(20)]
    answers = [answer for (answer,) in await asyncio.gather(*asked)]
    assert answers.count(True) == 1
    kept = await store.schedule("s-1")
    assert kept is not None
    assert kept.note == f"by {answers.index(True)}"


async def test_any_other_revision_is_refused(store: Store) -> None:
    assert await store.put_schedules([a_schedule(revision=2)]) == [False], "there is none"
    assert await store.schedule("s-1") is None
    await store.put_schedules([a_schedule()])
    for revision in (0, 1, 3, 12):
        assert await store.put_schedules([a_schedule(revision=revision, note="other")]) == [False]
    assert await store.schedule("s-1") == a_schedule()


async def test_each_is_judged_on_its_own(store: Store) -> None:
    await store.put_schedules([a_schedule("s-1"), a_schedule("s-2")])
    asked = [a_schedule("s-1", revision=3), a_schedule("s-2", revision=2), a_schedule("s-3")]
    assert await store.put_schedules(asked) == [False, True, True]
    assert await store.put_schedules([]) == []


async def test_a_late_change_does_not_reach_one_that_was_made_anew(store: Store) -> None:
    await store.put_schedules([a_schedule()])
    await store.drop_schedule("s-1", 1)
    await store.put_schedules([a_schedule(created_at=2)])
    assert await store.put_schedules([a_schedule(revision=2, note="late", due_at=1)]) == [False]
    assert await store.schedule("s-1") == a_schedule(created_at=2)
    assert (await store.due_schedules(10)).schedules == ()


async def test_it_is_dropped_in_the_revision_that_was_seen(store: Store) -> None:
    await store.put_schedules([a_schedule(due_at=1)])
    await store.put_schedules([a_schedule(revision=2, due_at=1)])
    assert not await store.drop_schedule("s-1", 1)
    assert await store.schedule("s-1") is not None
    assert await store.drop_schedule("s-1", 2)
    assert await store.drop_schedule("s-1", 2), "again"
    assert await store.schedule("s-1") is None
    assert (await store.due_schedules(10)).schedules == ()
    assert await store.schedules(10) == []


# -- due ------------------------------------------------------------------------------------------


async def test_none_is_due(store: Store) -> None:
    due = await store.due_schedules(10)
    assert (due.schedules, due.next_at) == ((), None)
    assert abs(due.now - await store.now()) < 1_000


async def test_what_is_due_is_found_the_longest_due_first(store: Store) -> None:
    now = await store.now()
    put = [a_schedule(f"s-{n}", due_at=now - 10 * n) for n in range(5)]
    later = [a_schedule("later", due_at=now + 60_000), a_schedule("latest", due_at=now + 90_000), a_schedule("never")]
    await store.put_schedules([*put, *later])
    due = await store.due_schedules(10)
    assert due.schedules == tuple(reversed(put))
    assert due.next_at == now + 60_000
    first = await store.due_schedules(2)
    assert first.schedules == (put[4], put[3])
    assert first.next_at == put[2].due_at, "there are more"


async def test_it_is_due_when_its_time_comes_and_not_before(store: Store, elapse: Elapse) -> None:
    due_at = await store.now() + SHORT
    await store.put_schedules([a_schedule(due_at=due_at)])
    early = await store.due_schedules(10)
    assert (early.schedules, early.next_at) == ((), due_at)
    await elapse(SHORT)
    due = await store.due_schedules(10)
    assert (due.schedules, due.next_at) == ((a_schedule(due_at=due_at),), None)
    assert (await store.due_schedules(10)).schedules == due.schedules, "looking changes nothing"


async def test_a_change_moves_its_time(store: Store) -> None:
    await store.put_schedules([a_schedule(due_at=1)])
    later = await store.now() + 60_000
    await store.put_schedules([a_schedule(revision=2, due_at=later)])
    assert (await store.due_schedules(10)).next_at == later
    await store.put_schedules([a_schedule(revision=3, due_at=None)])
    due = await store.due_schedules(10)
    assert (due.schedules, due.next_at) == ((), None)


async def test_one_that_is_stirred_is_due_and_otherwise_as_it_was(store: Store) -> None:
    later = await store.now() + 60_000
    put = [a_schedule("never"), a_schedule("later", due_at=later)]
    await store.put_schedules(put)
    for one in put:
        await store.stir_schedule(one.id)
    assert set((await store.due_schedules(10)).schedules) == set(put)
    assert await store.schedule("later") == put[1]
    await store.put_schedules([a_schedule("never", revision=2), a_schedule("later", revision=2, due_at=later)])
    due = await store.due_schedules(10)
    assert (due.schedules, due.next_at) == ((), later), "once"


async def test_stirring_makes_nothing_later_and_nothing_appear(store: Store) -> None:
    await store.put_schedules([a_schedule("first", due_at=1), a_schedule("second", due_at=2)])
    await store.stir_schedule("first")
    await store.stir_schedule("unknown")
    assert [one.id for one in (await store.due_schedules(10)).schedules] == ["first", "second"]


async def test_schedulers_are_told_of_what_is_due_earlier_than_all_others(store: Store) -> None:
    now = await store.now()
    heard = await store.subscribe("schedules")
    await store.put_schedules([a_schedule("never")])
    await store.put_schedules([a_schedule("first", due_at=now + 60_000)])
    await store.put_schedules([a_schedule("later", due_at=now + 90_000)])
    await store.put_schedules([a_schedule("first", revision=2, due_at=now + 60_000)])
    await store.put_schedules([a_schedule("earlier", due_at=now + 30_000)])
    await store.stir_schedule("later")
    words = [await heard.next(5) for _ in range(3)]
    assert words == ["first", "earlier", "later"]
    assert await heard.next(0.05) is None
    await heard.close()


# -- by id ----------------------------------------------------------------------------------------


async def test_all_are_listed_by_id_page_by_page(store: Store) -> None:
    put = [a_schedule(f"s-{n:02}") for n in range(25)]
    await store.put_schedules([put[n] for n in (7, 3, *range(8, 25), *range(3), *range(4, 7))])
    assert await store.schedules(100) == put
    assert await store.schedules(10) == put[:10]
    assert await store.schedules(10, "s-09") == put[10:20]
    assert await store.schedules(10, "s-19") == put[20:]
    assert await store.schedules(10, "s-24") == []


async def test_another_namespace_has_others(backend: Backend, store: Store) -> None:
    await store.put_schedules([a_schedule(due_at=1)])
    if backend.kind == "redis":
        other = backend.store("other")
        await other.open()
        assert await other.schedule("s-1") is None
        assert (await other.due_schedules(10)).schedules == ()
        assert await other.schedules(10) == []
        await other.close()


async def test_they_outlive_the_process(backend: Backend, store: Store) -> None:
    if backend.kind == "sqlite-memory":
        return
    await store.put_schedules([WHOLE])
    await store.close()
    again = backend.store()
    await again.open()
    assert await again.schedule("s-1") == WHOLE
    await again.close()
