"""The fenced write of a turn: what it records, when it is refused, how it ends a turn, and its repeats."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.errors import StoreConflict
from runner.records import Cause, Status
from runner.store import Store
from runner.transactions import (
    Complete,
    End,
    EndCancelled,
    Fail,
    Open,
    Outgoing,
    RetryAttempt,
    Suspend,
)
from tests.contract.kit import (
    LEASE,
    SHORT,
    Elapse,
    a_parcel,
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
)

# -- writing --------------------------------------------------------------------------------------


async def test_entries_are_kept_exactly_as_given(store: Store) -> None:
    turn = await begin(store)
    first = an_entry(1, "charge", payload=bytes(range(256)), attempts=3, at=77, started_at=66)
    second = an_entry(2, "nap", kind="sleep", outcome="timed_out", payload=b"")
    third = an_entry(3, "approval", kind="signal", consumes=4, tries=b"\x00tries\xff")
    await turn.commit(entries=[first, second])
    await turn.commit(entries=[third])
    assert (await history(store)).entries == (first, second, third)


async def test_a_commit_extends_the_lease(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, lease_ms=5_000)
    await elapse(20)
    answer = await turn.commit(lease_ms=7_000)
    assert (answer.released, answer.status, answer.deadlines, answer.news) == (False, Status.RUNNING, {}, ())
    assert (await record(store)).lease_until == answer.now + 7_000
    left = await index(store, "leases")
    assert left is not None
    assert 6_000 < left <= 7_000


async def test_every_answer_holds_the_news_behind_what_was_seen(store: Store) -> None:
    turn = await begin(store)
    await signal(store, payload=b"1")
    await signal(store, payload=b"2", name="other")
    answer = await turn.commit(seen=0)
    assert [(i.index, i.name, i.payload) for i in answer.news] == [(0, "approved", b"1"), (1, "other", b"2")]
    answer = await turn.commit(seen=1)
    assert [i.index for i in answer.news] == [1]
    answer = await turn.commit(seen=2)
    assert answer.news == ()


async def test_the_owner_decides_by_nonce(store: Store) -> None:
    turn = await begin(store)
    before = await history(store)
    right, turn.nonce = turn.nonce, nonce()
    assert await turn.ask(entries=[an_entry()], opens=[a_wait()], outgoing=[a_parcel("r-1")]) is None
    assert await turn.ask(end=Complete(result=b"stolen")) is None
    after = await history(store)
    assert (after.execution, after.entries, after.waits) == (before.execution, (), ())
    assert await store.relay(part(store), 10) == []
    turn.nonce = right
    turn.count = 0
    await turn.commit(entries=[an_entry()])


async def test_no_commit_for_an_unknown_execution(store: Store) -> None:
    turn = await begin(store)
    turn.id = "nobody"
    assert await turn.ask(entries=[an_entry()]) is None
    assert await store.read("nobody") is None


async def test_a_reaped_turn_cannot_write(store: Store, elapse: Elapse) -> None:
    zombie = await begin(store, lease_ms=30)
    await zombie.commit(entries=[an_entry(1)], lease_ms=30)
    await elapse(50)
    await store.reap(part(store), 10, [])
    assert await zombie.again() is None, "a repeat must not make it believe that it still owns"
    owner = await claim(store)
    assert await zombie.ask(entries=[an_entry(2)]) is None
    assert await zombie.ask(end=Complete(result=b"zombie")) is None
    assert await zombie.ask(end=Suspend()) is None
    assert await store.release("e-1", zombie.nonce) is None
    await owner.commit(end=Complete(result=b"owner"))
    assert await zombie.ask(end=Fail(error=b"zombie")) is None
    found = await history(store)
    assert (found.execution.result, [e.number for e in found.entries]) == (b"owner", [1])


async def test_a_contradicting_entry_is_refused_and_nothing_is_written(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1, "charge", payload=b"first")], opens=[a_wait("old")], lease_ms=5_000)
    before = await history(store)
    for other in (
        an_entry(1, "charge", payload=b"second"),
        an_entry(1, "charge", payload=b"first", outcome="failed"),
        an_entry(9, "charge", payload=b"first"),
    ):
        with pytest.raises(StoreConflict):
            await turn.ask(
                entries=[an_entry(2, "other"), other],
                opens=[a_wait("new")],
                closes=["old"],
                outgoing=[a_parcel("r-1")],
                end=Complete(result=b"no"),
                lease_ms=60_000,
            )
        turn.count -= 1
    after = await history(store)
    assert (after.execution, after.entries, after.waits) == (before.execution, before.entries, before.waits)
    assert await store.relay(part(store), 10) == []
    await turn.commit(entries=[an_entry(1, "charge", payload=b"first"), an_entry(2, "other")])
    assert [e.number for e in (await history(store)).entries] == [1, 2]


async def test_outgoing_waits_in_the_outbox(store: Store, elapse: Elapse) -> None:
    turn = await begin(store)
    assert await index(store, "outbox") is None
    await turn.commit(outgoing=[a_parcel("r-1", "x"), a_parcel("r-2", "y")])
    await elapse(SHORT)
    await turn.commit(outgoing=[a_parcel("r-3", "z")])
    where = part(store)
    parcels = await store.relay(where, 10)
    assert {p.partition for p in parcels} == {where}
    assert [p.outgoing for p in parcels] == [a_parcel("r-1", "x"), a_parcel("r-2", "y"), a_parcel("r-3", "z")]
    assert isinstance(parcels[0].outgoing, Outgoing)
    assert [p.outgoing.request for p in await store.relay(where, 2)] == ["r-1", "r-2"]
    assert [p.outgoing.request for p in await store.relay(where, 10, older_than_ms=SHORT)] == ["r-1", "r-2"]
    assert await store.relay((where + 1) % store.partitions, 10) == []
    assert await index(store, "outbox") is not None
    await store.relayed(where, [parcels[0].place, parcels[2].place])
    await store.relayed(where, [parcels[0].place])
    await store.relayed(where, [])
    assert [p.outgoing.request for p in await store.relay(where, 10)] == ["r-2"]


# -- waits ----------------------------------------------------------------------------------------


async def test_a_wait_gets_its_deadline_once(store: Store, elapse: Elapse) -> None:
    turn = await begin(store)
    opens = [a_sleep("nap", after_ms=5_000), a_sleep("until", until_ms=12_345), a_wait("approval", "approved")]
    first = await turn.commit(opens=opens)
    assert first.deadlines == {"nap": first.now + 5_000, "until": 12_345, "approval": None}
    await elapse(20)
    second = await turn.commit(opens=[*opens, a_wait("late", after_ms=100)])
    assert second.deadlines == {**first.deadlines, "late": second.now + 100}
    waits = {w.id: w for w in (await history(store)).waits}
    assert waits["nap"].deadline == first.now + 5_000
    assert (waits["nap"].kind, waits["nap"].opened_at) == ("sleep", first.now)
    assert (waits["approval"].kind, waits["approval"].name, waits["approval"].deadline) == ("signal", "approved", None)


async def test_replace_gives_a_new_deadline(store: Store, elapse: Elapse) -> None:
    turn = await begin(store)
    retry = Open(id="charge", kind="step", name="first error", after_ms=1_000, attempts=1, details=b"\x00one\xff")
    await turn.commit(opens=[retry])
    await elapse(20)
    (wait,) = (await history(store)).waits
    assert (wait.kind, wait.details) == ("step", b"\x00one\xff")
    again = Open(
        id="charge", kind="step", name="second error", after_ms=2_000, attempts=2, replace=True, details=b"two"
    )
    answer = await turn.commit(opens=[again])
    assert answer.deadlines == {"charge": answer.now + 2_000}
    (wait,) = (await history(store)).waits
    assert (wait.name, wait.attempts, wait.deadline) == ("second error", 2, answer.now + 2_000)
    assert wait.details == b"two"


async def test_waits_are_closed_by_their_entry_or_by_name(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_sleep("nap", after_ms=9_000), a_wait("approval"), a_wait("loser"), a_wait("kept")])
    await turn.commit(entries=[an_entry(1, "nap", kind="sleep")], closes=["loser", "never-there"])
    assert {w.id for w in (await history(store)).waits} == {"approval", "kept"}


async def test_a_closed_wait_does_not_wake(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_sleep("nap", after_ms=5_000), a_sleep("gone", after_ms=1_000)])
    await turn.commit(closes=["gone"], end=Suspend())
    nearest = await index(store, "timers")
    assert nearest is not None
    assert 4_000 < nearest <= 5_000


# -- suspend --------------------------------------------------------------------------------------


async def test_a_suspension_sleeps_until_the_earliest_deadline(store: Store) -> None:
    turn = await begin(store, a_start(timeout_ms=60_000))
    answer = await turn.commit(opens=[a_sleep(after_ms=9_000), a_wait(after_ms=3_000)], end=Suspend())
    assert (answer.released, answer.status) == (True, Status.SLEEPING)
    found = await record(store)
    assert (found.status, found.lease_until) == (Status.SLEEPING, None)
    times = await store.next_due(part(store))
    assert times["timers"] == answer.now + 3_000
    assert (times["leases"], times["ready"]) == (None, None)


async def test_the_executions_own_deadline_is_a_timer(store: Store) -> None:
    turn = await begin(store, a_start(timeout_ms=5_000))
    await turn.commit(opens=[a_sleep(after_ms=60_000), a_wait()], end=Suspend())
    assert (await store.next_due(part(store)))["timers"] == (await record(store)).deadline


async def test_a_wait_without_end_needs_no_timer(store: Store) -> None:
    turn = await begin(store)
    assert (await turn.commit(opens=[a_wait()], end=Suspend())).released
    assert await index(store, "timers") is None


async def test_news_refuses_a_suspension(store: Store) -> None:
    turn = await begin(store)
    await signal(store, payload=b"news")
    answer = await turn.commit(entries=[an_entry()], opens=[a_wait()], end=Suspend(), seen=0, lease_ms=7_000)
    assert (answer.released, answer.status) == (False, Status.RUNNING)
    assert [i.payload for i in answer.news] == [b"news"]
    assert answer.deadlines == {"approval": None}
    found = await history(store)
    assert (len(found.entries), len(found.waits), found.execution.status) == (1, 1, Status.RUNNING)
    assert found.execution.lease_until == answer.now + 7_000
    assert (await turn.commit(end=Suspend(), seen=1)).released


async def test_a_passed_deadline_refuses_a_suspension(store: Store, elapse: Elapse) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_sleep(after_ms=30)])
    await elapse(30)
    answer = await turn.commit(opens=[a_wait()], end=Suspend())
    assert (answer.released, answer.news, answer.status) == (False, (), Status.RUNNING)
    assert {w.id for w in (await history(store)).waits} == {"nap", "approval"}
    answer = await turn.commit(entries=[an_entry(1, "nap", kind="sleep")], end=Suspend())
    assert answer.released


async def test_a_deadline_that_is_over_when_it_is_opened_refuses_too(store: Store) -> None:
    turn = await begin(store)
    assert not (await turn.commit(opens=[a_sleep(until_ms=5)], end=Suspend())).released
    assert not (await turn.commit(opens=[a_sleep("zero", after_ms=0)], end=Suspend())).released


async def test_a_suspension_while_cancelling_stays_cancelling(store: Store) -> None:
    turn = await begin(store)
    await cancel(store)
    answer = await turn.commit(opens=[a_sleep("rollback-pause", after_ms=5_000)], end=Suspend(), seen=1)
    assert (answer.released, answer.status) == (True, Status.CANCELLING)
    assert (await record(store)).status is Status.CANCELLING
    assert await index(store, "timers") is not None


# -- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "status", "result", "error"),
    [
        (Complete(result=b"\x00done\xff"), Status.COMPLETED, b"\x00done\xff", None),
        (Complete(result=b""), Status.COMPLETED, b"", None),
        (Fail(error=b"\x00wrong\xff"), Status.FAILED, None, b"\x00wrong\xff"),
        (EndCancelled(), Status.CANCELLED, None, None),
    ],
)
async def test_an_end_is_terminal(
    store: Store, end: End, status: Status, result: bytes | None, error: bytes | None
) -> None:
    turn = await begin(store, a_start(timeout_ms=60_000, retention_ms=9_000))
    ended = await store.subscribe("ended/e-1")
    answer = await turn.commit(entries=[an_entry()], opens=[a_wait()], outgoing=[a_parcel("r")], end=end)
    assert (answer.released, answer.status) == (True, status)
    found = await history(store)
    execution = found.execution
    assert (execution.status, execution.result, execution.error) == (status, result, error)
    assert (execution.cause, execution.ended_at, execution.lease_until) == (Cause.NONE, answer.now, None)
    assert (len(found.entries), found.waits, execution.worker) == (1, (), "")
    assert len(await store.relay(part(store), 10)) == 1
    times = await store.next_due(part(store))
    assert (times["timers"], times["leases"], times["ready"]) == (None, None, None)
    assert times["expiry"] == answer.now + 9_000
    assert await ended.next(5) == status
    await ended.close()


@pytest.mark.parametrize("end", [Complete(result=b"r"), Fail(error=b"e"), EndCancelled()])
async def test_an_end_past_the_deadline_is_timed_out(store: Store, elapse: Elapse, end: End) -> None:
    turn = await begin(store, a_start(timeout_ms=SHORT))
    await elapse(SHORT)
    answer = await turn.commit(entries=[an_entry()], end=end)
    assert (answer.released, answer.status) == (True, Status.FAILED)
    found = await history(store)
    assert (found.execution.status, found.execution.cause) == (Status.FAILED, Cause.TIMED_OUT)
    assert found.execution.result is None
    assert found.execution.error == (b"e" if isinstance(end, Fail) else None)
    assert len(found.entries) == 1


@pytest.mark.parametrize("end", [Suspend(), RetryAttempt(after_ms=60_000, error=b"e")])
async def test_a_pause_past_the_deadline_is_timed_out(store: Store, elapse: Elapse, end: End) -> None:
    turn = await begin(store, a_start(timeout_ms=SHORT))
    await elapse(SHORT)
    answer = await turn.commit(opens=[a_wait()], end=end)
    assert (answer.released, answer.status) == (True, Status.FAILED)
    assert (await record(store)).cause is Cause.TIMED_OUT
    assert await index(store, "timers") is None


async def test_a_commit_without_end_does_not_end_past_the_deadline(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=SHORT))
    await elapse(SHORT)
    assert not (await turn.commit(entries=[an_entry()])).released


@pytest.mark.parametrize(
    "end", [Complete(result=b"r"), Fail(error=b"e"), EndCancelled(), RetryAttempt(after_ms=60_000, error=b"e")]
)
async def test_after_a_cancel_every_end_is_cancelled(store: Store, end: End) -> None:
    turn = await begin(store)
    await cancel(store, reason="customer left")
    answer = await turn.commit(end=end, seen=1)
    assert (answer.released, answer.status) == (True, Status.CANCELLED)
    found = await record(store)
    assert (found.status, found.reason, found.result) == (Status.CANCELLED, "customer left", None)
    assert found.attempt == 1
    assert found.ended_at == answer.now


async def test_cancelling_past_the_deadline_is_cancelled(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=SHORT))
    await cancel(store)
    await elapse(SHORT)
    assert (await turn.commit(opens=[a_wait()], end=Suspend(), seen=1)).status is Status.CANCELLED
    assert (await record(store)).cause is Cause.NONE


async def test_completion_wins_over_a_cancel_it_has_not_seen(store: Store) -> None:
    turn = await begin(store)
    await cancel(store, reason="too late")
    assert (await record(store)).status is Status.CANCELLING
    answer = await turn.commit(end=Complete(result=b"done"), seen=0)
    assert (answer.released, answer.status) == (True, Status.COMPLETED)
    found = await history(store)
    assert (found.execution.status, found.execution.result) == (Status.COMPLETED, b"done")
    assert [i.kind for i in found.inbox] == ["cancel"], "the cancel stays in the audit"


async def test_a_cancel_not_seen_refuses_a_retry(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1, "charge", outcome="failed")], opens=[a_wait()])
    await cancel(store)
    answer = await turn.commit(end=RetryAttempt(after_ms=10, error=b"e", drop=("charge",)), seen=0)
    assert not answer.released
    assert [i.kind for i in answer.news] == ["cancel"]
    found = await history(store)
    assert (len(found.entries), len(found.waits), found.execution.attempt) == (1, 1, 1)
    assert found.execution.lease_until is not None


# -- retry ----------------------------------------------------------------------------------------


async def test_a_retry_forgets_what_failed_and_waits(store: Store, elapse: Elapse) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1, "kept"), an_entry(2, "charge", outcome="failed")], opens=[a_wait()])
    await signal(store)
    end = RetryAttempt(after_ms=50, error=b"boom", drop=("charge", "never-there"))
    answer = await turn.commit(end=end, seen=0)
    assert (answer.released, answer.status) == (True, Status.RETRYING), "a signal does not refuse a retry"
    found = await history(store)
    assert (found.execution.status, found.execution.attempt, found.execution.error) == (Status.RETRYING, 2, b"boom")
    assert ([e.id for e in found.entries], found.waits, len(found.inbox)) == (["kept"], (), 1)
    times = await store.next_due(part(store))
    assert (times["timers"], times["ready"], times["leases"]) == (answer.now + 50, None, None)
    await elapse(50)
    assert [w.id for w in (await store.due(part(store), 10)).wakes] == ["e-1"]
    turn = await claim(store)
    assert turn.history.execution.attempt == 2
    await turn.commit(entries=[an_entry(2, "charge", payload=b"better")], end=Complete(result=b"r"))
    found = await history(store)
    assert (found.execution.status, found.execution.error, len(found.entries)) == (Status.COMPLETED, None, 2)


async def test_a_retry_waits_no_longer_than_the_deadline(store: Store) -> None:
    turn = await begin(store, a_start(timeout_ms=5_000))
    await turn.commit(end=RetryAttempt(after_ms=60_000, error=b"e"))
    assert (await store.next_due(part(store)))["timers"] == (await record(store)).deadline


async def test_a_retry_drops_an_entry_of_the_same_commit(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(
        entries=[an_entry(1, "kept"), an_entry(2, "charge", outcome="failed")],
        end=RetryAttempt(after_ms=50, error=b"boom", drop=("charge",)),
    )
    assert [e.id for e in (await history(store)).entries] == ["kept"]


# -- repeats --------------------------------------------------------------------------------------


async def test_a_repeated_commit_writes_once_and_answers_alike(store: Store, elapse: Elapse) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_sleep("nap", after_ms=9_000)])
    opens = [a_sleep("nap", after_ms=1), a_wait("w", after_ms=50_000)]
    first = await turn.commit(entries=[an_entry()], opens=opens, outgoing=[a_parcel("r-1")], lease_ms=5_000)
    await elapse(20)
    again = await turn.again()
    assert again is not None
    assert (again.released, again.status, again.deadlines) == (first.released, first.status, first.deadlines)
    found = await history(store)
    assert (len(found.entries), len(found.waits)) == (1, 2)
    assert len(await store.relay(part(store), 10)) == 1
    await turn.commit(entries=[an_entry(2)])


async def test_a_repeated_commit_extends_the_lease_as_the_first_did(store: Store, elapse: Elapse) -> None:
    turn = await begin(store)
    first = await turn.commit(entries=[an_entry()], lease_ms=5_000)
    await elapse(SHORT)
    asked = await store.now()
    again = await turn.again()
    assert again == first
    until = (await record(store)).lease_until
    assert until is not None
    assert until >= asked + 5_000


async def test_a_repeat_of_an_older_commit_is_lost_and_touches_nothing(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1)])
    older = turn.last
    assert older is not None
    await turn.commit(entries=[an_entry(2)], lease_ms=7_000)
    before = (await record(store)).lease_until
    assert await store.commit(replace(older, lease_ms=60_000)) is None
    assert (await record(store)).lease_until == before
    assert await turn.again() is not None


async def test_a_repeat_does_not_undo_what_came_after_the_first(store: Store) -> None:
    turn = await begin(store)
    retry = Open(id="charge", kind="retry", after_ms=1_000, attempts=1, replace=True)
    first = await turn.commit(opens=[retry])
    again = await turn.again()
    assert again is not None
    assert again.deadlines == first.deadlines, "replace must not move the deadline a second time"


@pytest.mark.parametrize(
    "end", [Suspend(), Complete(result=b"r"), Fail(error=b"e"), EndCancelled(), RetryAttempt(after_ms=50, error=b"e")]
)
async def test_a_repeated_end_answers_alike(store: Store, elapse: Elapse, end: End) -> None:
    turn = await begin(store)
    first = await turn.commit(
        entries=[an_entry()], opens=[a_sleep(after_ms=60_000)], outgoing=[a_parcel("r-1")], end=end
    )
    before = await history(store)
    await elapse(20)
    again = await turn.again()
    assert again is not None
    assert (again.released, again.status, again.deadlines) == (True, first.status, first.deadlines)
    after = await history(store)
    assert (after.execution, after.entries, after.waits) == (before.execution, before.entries, before.waits)
    assert len(await store.relay(part(store), 10)) == 1


async def test_a_repeated_suspension_answers_alike_after_the_next_claim(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    await signal(store)
    again = await turn.again()
    assert again is not None
    assert (again.released, again.status) == (True, Status.SLEEPING)
    owner = await claim(store)
    again = await turn.again()
    assert again is not None
    assert (again.released, again.status) == (True, Status.SLEEPING)
    found = await record(store)
    assert (found.status, found.lease_until) == (Status.RUNNING, owner.history.execution.lease_until)


async def test_a_repeated_refusal_is_a_refusal_still(store: Store) -> None:
    turn = await begin(store)
    await signal(store)
    first = await turn.commit(entries=[an_entry()], opens=[a_wait()], end=Suspend(), seen=0)
    again = await turn.again()
    assert again is not None
    assert (first.released, again.released) == (False, False)
    assert [i.index for i in again.news] == [0]
    assert (await turn.commit(end=Suspend(), seen=1)).released


async def test_counts_begin_anew_with_every_lease(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1)])
    await turn.commit(entries=[an_entry(2)])
    await store.release("e-1", turn.nonce)
    turn = await claim(store)
    await turn.commit(entries=[an_entry(3)])
    assert [e.number for e in (await history(store)).entries] == [1, 2, 3]


async def test_a_repeated_claim_does_not_reset_the_count(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(outgoing=[a_parcel("r-1")])
    await store.claim("e-1", turn.nonce, "w-1", LEASE)
    await turn.again()
    assert len(await store.relay(part(store), 10)) == 1


async def test_a_big_commit(store: Store) -> None:
    turn = await begin(store)
    payload = b"\xff" * 1_000
    await turn.commit(
        entries=[an_entry(i, payload=payload) for i in range(1, 501)],
        opens=[a_wait(f"w-{i}") for i in range(500)],
        outgoing=[a_parcel(f"r-{i}") for i in range(300)],
    )
    found = await history(store)
    assert (len(found.entries), len(found.waits)) == (500, 500)
    assert [e.number for e in found.entries] == list(range(1, 501))
    await turn.commit(closes=[f"w-{i}" for i in range(500)], end=RetryAttempt(after_ms=5, error=b"e", drop=("step-7",)))
    found = await history(store)
    assert (len(found.entries), found.waits) == (499, ())
