"""Where an execution stands in its queue, and who leads: read, never written."""

from __future__ import annotations

from dataclasses import asdict

from runner.store import GRACE_MS, PASS_FIRST_MS, Store
from runner.store.standing import Standing
from runner.transactions import Complete, Suspend
from tests.contract.kit import (
    SHORT,
    Elapse,
    a_parcel,
    a_sleep,
    a_start,
    begin,
    cancel,
    claim,
    nonce,
    part,
    signal,
    start,
)

NOWHERE = Standing(since=None, ahead=0, waiting=0, oldest=None, ready=0)


async def place(store: Store, id: str = "e-1", queue: str = "default") -> Standing:
    return await store.standing(id, queue)


async def test_what_is_not_there_stands_nowhere(store: Store) -> None:
    assert await place(store) == NOWHERE
    await start(store, a_start("other", queue="q"))
    assert await place(store) == NOWHERE, "another queue"


async def test_a_line_is_in_the_order_in_which_executions_became_ready(store: Store, elapse: Elapse) -> None:
    for number in range(4):
        await start(store, a_start(f"e-{number}"))
        await elapse(2)
    await start(store, a_start("else", queue="q"))
    lines = [await place(store, f"e-{number}") for number in range(4)]
    assert [(one.ahead, one.waiting, one.ready) for one in lines] == [(number, 4, 4) for number in range(4)]
    assert {one.oldest for one in lines} == {lines[0].since}
    assert [one.since for one in lines] == sorted(one.since or 0 for one in lines)
    assert all(one.offered_at == (one.since or 0) + GRACE_MS for one in lines)
    await claim(store, "e-0")
    ahead = await place(store, "e-2")
    assert (ahead.ahead, ahead.waiting, ahead.ready, ahead.oldest) == (1, 3, 3, lines[1].since)
    claimed = await place(store, "e-0")
    assert (claimed.since, claimed.offered_at, claimed.ahead) == (None, None, 3)


async def test_being_looked_at_costs_nobody_his_place(store: Store, elapse: Elapse) -> None:
    await start(store, a_start("e-1"))
    before = await place(store)
    await elapse(GRACE_MS + 1)
    await start(store, a_start("e-2"))
    assert (await store.overdue(part(store), 10, 60_000)).lost
    after = await place(store)
    assert (after.since, after.ahead) == (before.since, 0)
    assert (after.offered_at or 0) > (before.offered_at or 0)
    assert (await place(store, "e-2")).ahead == 1


async def test_what_was_passed_over_is_ready_and_out_of_the_line(store: Store) -> None:
    await start(store, a_start("e-1"))
    await start(store, a_start("e-2"))
    await store.pass_over("e-1", "unknown")
    passed = await place(store)
    assert (passed.since, passed.waiting, passed.ready) == (None, 1, 2)
    assert passed.offered_at is not None
    assert passed.offered_at <= await store.now() + PASS_FIRST_MS
    assert (await place(store, "e-2")).ahead == 0
    await store.rush([("order", 1)], 10)
    assert (await place(store)).since is None
    turn = await claim(store)
    await store.release("e-1", turn.nonce)
    assert (await place(store)).since is not None


async def test_whatever_makes_it_ready_puts_it_in_the_line_and_every_end_takes_it_out(
    store: Store, elapse: Elapse
) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_sleep(after_ms=SHORT)], end=Suspend())
    asleep = await place(store)
    assert (asleep.since, asleep.timer_at) == (None, turn_at(await store.read("e-1")))
    await elapse(SHORT)
    await store.due(part(store), 10)
    woken = await place(store)
    assert (woken.since is not None, woken.timer_at) == (True, None)
    turn = await claim(store)
    await turn.commit(end=Suspend(), closes=["nap"])
    await signal(store)
    assert (await place(store)).waiting == 1
    turn = await claim(store)
    await turn.commit(end=Complete(result=b""), seen=1)
    assert (await place(store)).waiting == 0
    await start(store, a_start("e-2"))
    await cancel(store, "e-2")
    assert await place(store) == NOWHERE


def turn_at(history: object) -> int:
    (wait,) = history.waits  # type: ignore[attr-defined]
    deadline: int = wait.deadline
    return deadline


async def test_a_timer_and_the_outbox_of_its_own_partition(store: Store) -> None:
    await start(store, a_start(delay_ms=60_000))
    now = await store.now()
    standing = await place(store)
    assert standing.timer_at is not None
    assert now < standing.timer_at <= now + 60_000
    assert standing.outbox_at is None
    turn = await begin(store, a_start("e-1b"))
    await turn.commit(outgoing=[a_parcel("r")])
    there = await place(store, "e-1b")
    assert there.outbox_at is not None
    assert now <= there.outbox_at <= await store.now()


async def test_the_leader_is_seen_without_taking_the_seat(store: Store, elapse: Elapse) -> None:
    assert await store.leader() is None
    mine = nonce()
    await store.lead(mine, "one", 60_000)
    seen = await store.leader()
    assert seen is not None
    assert (seen.leading, seen.leader) == (False, "one")
    assert 0 < seen.expires_in_ms <= 60_000
    assert (await store.lead(mine, "one", SHORT)).leading
    await elapse(SHORT + 100)
    assert await store.leader() is None
    assert (await store.lead(nonce(), "two", 1_000)).leading


async def test_nothing_is_written(store: Store) -> None:
    await start(store, a_start())
    seen = await store.standing("e-1", "default"), await store.read("e-1")
    again = await store.standing("e-1", "default"), await store.read("e-1")
    assert asdict(seen[0]) == asdict(again[0])
    assert seen[1] is not None
    assert again[1] is not None
    assert seen[1].execution == again[1].execution
