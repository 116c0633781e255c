"""Runs: what a new one begins with, what is left of the old; and compensations that failed."""

from __future__ import annotations

import pytest

from runner.records import Cause, Status
from runner.store import GRACE_MS, Store
from runner.transactions import (
    Complete,
    ContinueAsNew,
    Fail,
    FailCompensation,
    Reception,
    RetryAttempt,
    Suspend,
)
from tests.contract.kit import (
    SHORT,
    Elapse,
    a_notice,
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
    part,
    record,
    signal,
)

NEXT = ContinueAsNew(input=b"\x00next\xff")

# -- continue as new ------------------------------------------------------------------------------


async def test_the_next_run_begins_anew(store: Store) -> None:
    turn = await begin(store, a_start(digest="first"))
    await turn.commit(end=RetryAttempt(after_ms=0, error=b"e"))
    await store.due(part(store), 10)
    turn = await claim(store)
    before = await record(store)
    answer = await turn.commit(
        entries=[an_entry()], opens=[a_sleep(after_ms=9_000)], outgoing=[a_parcel("r")], outstanding=2, end=NEXT
    )
    assert (answer.released, answer.status) == (True, Status.PENDING)
    assert answer.wake is not None
    found = await history(store)
    execution = found.execution
    assert (execution.run, execution.attempt, execution.input, execution.digest) == (2, 1, NEXT.input, "first")
    assert (execution.run_at, execution.started_at, execution.created_at) == (
        answer.now,
        before.started_at,
        before.created_at,
    )
    assert (execution.status, execution.lease_until, execution.worker) == (Status.PENDING, None, "")
    assert (execution.outstanding, execution.ended_at, execution.seq) == (0, None, answer.wake.seq)
    assert (found.entries, found.waits, found.inbox) == ((), (), ())
    assert answer.wake.seq == before.seq + 1
    left = await index(store, "ready")
    assert left is not None
    assert 0 < left <= GRACE_MS
    times = await store.next_due(part(store))
    assert (times["timers"], times["leases"], times["expiry"]) == (None, None, None)
    assert [p.outgoing.request for p in answer.parcels] == ["r"]


async def test_the_next_run_is_claimed_and_ends(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1, "charge")], end=NEXT)
    turn = await claim(store)
    assert (turn.history.execution.run, turn.history.entries) == (2, ())
    await turn.commit(entries=[an_entry(1, "charge", payload=b"of run 2")], end=Complete(result=b"r"))
    found = await history(store)
    assert (found.execution.status, found.entries[0].payload) == (Status.COMPLETED, b"of run 2")


async def test_what_was_not_read_goes_on_into_the_next_run(store: Store) -> None:
    turn = await begin(store)
    for number in range(5):
        await signal(store, name=f"n-{number}", payload=b"%d" % number)
    before = (await history(store)).inbox
    answer = await turn.commit(end=ContinueAsNew(input=b"i", keep=(0, 2)), seen=3)
    assert answer.news == (), "none of it concerns the turn that is over"
    found = (await history(store)).inbox
    assert [(i.index, i.name, i.payload) for i in found] == [
        (0, "n-0", b"0"),
        (1, "n-2", b"2"),
        (2, "n-3", b"3"),
        (3, "n-4", b"4"),
    ]
    assert [i.at for i in found] == [before[place].at for place in (0, 2, 3, 4)]
    await signal(store, name="later")
    assert (await history(store)).inbox[-1].index == 4
    turn = await claim(store)
    assert not (await turn.commit(opens=[a_wait()], end=Suspend(), seen=4)).released
    assert (await turn.commit(end=Suspend(), seen=5)).released


async def test_requests_seen_before_stay_seen(store: Store) -> None:
    one = a_signal()
    turn = await begin(store)
    await store.deliver(one)
    await turn.commit(end=NEXT, seen=1)
    assert (await store.deliver(one)).reception is Reception.DELIVERED
    assert (await history(store)).inbox == ()


async def test_notices_belong_to_their_run(store: Store) -> None:
    turn = await begin(store)
    await store.deliver(a_notice("c-1"))
    await signal(store)
    await store.deliver(a_notice("c-2"))
    await turn.commit(end=ContinueAsNew(input=b"i", keep=(0,)), seen=1)
    assert [(i.index, i.kind) for i in (await history(store)).inbox] == [(0, "signal")]


async def test_the_next_run_can_hear_of_the_same_end_again(store: Store) -> None:
    """An end has one request, and the old run took its notice along: the next must not wait for it in vain."""
    turn = await begin(store)
    await store.deliver(a_notice("c-1", run=1))
    await turn.commit(end=NEXT, seen=1)
    assert (await store.deliver(a_notice("c-1", run=1))).reception is Reception.DELIVERED
    assert (await history(store)).inbox == ()
    for _ in range(2):
        assert (await store.deliver(a_notice("c-1", run=2))).reception is Reception.DELIVERED
    assert [item.name for item in (await history(store)).inbox] == ["c-1"]


async def test_a_cancel_that_was_not_seen_stays_the_cancel(store: Store) -> None:
    turn = await begin(store)
    await signal(store)
    await cancel(store, reason="first")
    answer = await turn.commit(end=ContinueAsNew(input=b"i"), seen=1)
    assert (answer.released, answer.status, answer.wake is not None) == (True, Status.CANCELLING, True)
    found = await history(store)
    assert [(i.index, i.kind) for i in found.inbox] == [(0, "cancel")]
    turn = await claim(store)
    assert turn.history.execution.status is Status.CANCELLING
    assert (await cancel(store, reason="second")).wake is None
    assert len((await history(store)).inbox) == 1
    refused = await turn.commit(end=RetryAttempt(after_ms=1, error=b"e"), seen=0)
    assert not refused.released, "it has not been seen yet"
    assert (await turn.commit(end=Fail(error=b"e"), seen=1)).status is Status.CANCELLED
    assert (await record(store)).reason == "first"


async def test_a_cancel_that_was_seen_is_still_one(store: Store) -> None:
    turn = await begin(store)
    await cancel(store, reason="first")
    assert (await turn.commit(end=NEXT, seen=1)).status is Status.CANCELLING
    assert (await history(store)).inbox == ()
    assert (await cancel(store, reason="second")).reception is Reception.DELIVERED
    assert (await history(store)).inbox == ()
    turn = await claim(store)
    assert (await turn.commit(end=Complete(result=b"r"))).status is Status.CANCELLED
    assert (await record(store)).reason == "first"


async def test_the_deadline_spans_the_runs(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=2 * SHORT))
    deadline = (await record(store)).deadline
    await turn.commit(end=NEXT)
    assert (await record(store)).deadline == deadline
    assert (await store.next_due(part(store)))["timers"] == deadline
    turn = await claim(store)
    await elapse(2 * SHORT)
    answer = await turn.commit(end=NEXT)
    assert (answer.released, answer.status, answer.wake) == (True, Status.FAILED, None)
    found = await record(store)
    assert (found.cause, found.run) == (Cause.TIMED_OUT, 2)


async def test_the_backoff_is_forgotten(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(end=NEXT)
    await store.pass_over("e-1", "unknown")
    turn = await claim(store)
    await turn.commit(end=NEXT)
    await store.pass_over("e-1", "unknown")
    left = await index(store, "ready")
    assert left is not None
    assert left <= 1_000


async def test_a_repeated_continuation_continues_once(store: Store) -> None:
    turn = await begin(store)
    await signal(store)
    first = await turn.commit(end=NEXT, seen=0, outgoing=[a_parcel("r")])
    again = await turn.again()
    assert again is not None
    assert (again.released, again.status, again.wake) == (True, Status.PENDING, first.wake)
    assert (again.parcels, again.rows) == ((), ())
    assert ((await record(store)).run, len((await history(store)).inbox)) == (2, 1)
    next_run = await claim(store)
    late = await turn.again()
    assert late is not None
    assert (late.released, late.wake) == (True, None), "it has been claimed"
    await store.release("e-1", next_run.nonce)
    late = await turn.again()
    assert late is not None
    assert (late.wake, late.news) == (None, ()), "what is ready now is another wake's"
    assert (await record(store)).run == 2


# -- compensation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_failed_compensation_is_an_end_of_its_own(store: Store, cancelled: bool) -> None:
    turn = await begin(store)
    if cancelled:
        await cancel(store)
    ended = await store.subscribe("ended/e-1")
    answer = await turn.commit(end=FailCompensation(error=b"\x00c\xff"), seen=int(cancelled), outstanding=2)
    assert (answer.released, answer.status) == (True, Status.COMPENSATION_FAILED)
    found = await record(store)
    assert (found.error, found.result, found.cause, found.outstanding) == (b"\x00c\xff", None, Cause.NONE, 2)
    assert found.ended_at == answer.now
    assert await ended.next(5) == "compensation_failed"
    await ended.close()
    assert (await cancel(store)).reception is Reception.TERMINAL
    assert await index(store, "expiry") is not None


async def test_a_failed_compensation_wins_over_the_deadline(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=SHORT))
    await elapse(SHORT)
    assert (await turn.commit(end=FailCompensation(error=b"e"))).status is Status.COMPENSATION_FAILED


async def test_every_commit_says_what_is_outstanding(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(outstanding=3)
    assert (await record(store)).outstanding == 3
    await turn.commit(outstanding=1)
    await turn.commit(outstanding=1, end=Fail(error=b"e", escaped=("charge", "ship")))
    found = await record(store)
    assert (found.outstanding, found.escaped) == (1, ("charge", "ship"))
