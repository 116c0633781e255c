"""Turns that broke: counted like crashes, and the one too many ends the execution with what was wrong."""

from __future__ import annotations

from runner.records import Cause, Status
from runner.store import Store
from runner.store.crashes import CrashLimit
from tests.contract.kit import Elapse, a_start, an_entry, claim, part, record, start

TWO = CrashLimit(crashes=2, error=b"what was wrong")


async def test_a_broken_turn_is_handed_back_at_once_and_counted(store: Store) -> None:
    await start(store, a_start())
    turn = await claim(store)
    broken = await store.break_off("e-1", turn.nonce, TWO)
    assert [wake.id for wake in broken.wakes] == ["e-1"]
    assert broken.parcels == ()
    found = await record(store)
    assert (found.status, found.crashes, found.error) == (Status.PENDING, 1, None)
    assert (await claim(store)).history.execution.crashes == 1


async def test_one_broken_turn_too_many_ends_it_with_the_error_and_tells_who_follows(store: Store) -> None:
    await start(store, a_start(parent="p-1", parent_run=1))
    await store.break_off("e-1", (await claim(store)).nonce, TWO)
    ended = await store.subscribe("ended/e-1")
    last = await claim(store)
    broken = await store.break_off("e-1", last.nonce, TWO)
    assert broken.wakes == ()
    assert [(one.outgoing.kind, one.outgoing.target) for one in broken.parcels] == [("ended", "p-1")]
    assert [row.fields["to"] for row in broken.rows if row.kind == "status"] == ["failed"]
    found = await record(store)
    assert (found.status, found.cause, found.crashes, found.error) == (
        Status.FAILED,
        Cause.POISONED,
        2,
        b"what was wrong",
    )
    assert await ended.next(5) == "failed"
    await ended.close()


async def test_a_repeat_counts_nothing_and_is_told_the_same(store: Store) -> None:
    """Whoever lost the first answer must pass it over, or say that it is poisoned, all the same."""
    await start(store, a_start())
    turn = await claim(store)
    first = await store.break_off("e-1", turn.nonce, TWO)
    again = await store.break_off("e-1", turn.nonce, TWO)
    assert again.wakes == first.wakes != ()
    assert (again.parcels, again.rows, again.poisoned) == ((), (), False)
    assert (await record(store)).crashes == 1
    last = await claim(store)
    assert (await store.break_off("e-1", turn.nonce, TWO)).wakes == (), "it is somebody else's"
    ended = [await store.break_off("e-1", last.nonce, TWO) for _ in range(2)]
    assert [(one.wakes, one.poisoned) for one in ended] == [((), True), ((), True)]
    assert ended[1].rows == ()
    assert (await record(store)).crashes == 2


async def test_a_lost_lease_counts_nothing(store: Store) -> None:
    await start(store, a_start())
    turn = await claim(store)
    await store.release("e-1", turn.nonce)
    for id, nonce in (("e-1", turn.nonce), ("e-1", "another"), ("e-1", ""), ("nobody", "x")):
        answer = await store.break_off(id, nonce, TWO)
        assert (answer.wakes, answer.parcels, answer.rows, answer.poisoned) == ((), (), (), False)
    assert (await record(store)).crashes == 0


async def test_an_entry_between_two_broken_turns_is_progress(store: Store) -> None:
    await start(store, a_start())
    await store.break_off("e-1", (await claim(store)).nonce, TWO)
    turn = await claim(store)
    await turn.commit(entries=[an_entry()])
    await store.break_off("e-1", turn.nonce, TWO)
    found = await record(store)
    assert (found.status, found.crashes) == (Status.PENDING, 1)


async def test_lost_workers_and_broken_turns_are_counted_together_under_the_limit_that_is_given(
    store: Store, elapse: Elapse
) -> None:
    await start(store, a_start())
    await store.break_off("e-1", (await claim(store)).nonce, TWO)
    await claim(store, lease_ms=1)
    await elapse(2)
    assert (await store.reap(part(store), 10, [], TWO)).wakes == ()
    found = await record(store)
    assert (found.cause, found.crashes, found.error) == (Cause.POISONED, 2, b"what was wrong")
