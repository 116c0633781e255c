"""What an operator does: who is refused, what is reopened, what is put into a journal, and repeats."""

from __future__ import annotations

import pytest

from runner.records import Cause, Status
from runner.store import Store
from runner.transactions import (
    Action,
    Complete,
    End,
    EndCancelled,
    Fail,
    FailCompensation,
    Open,
    RetryAttempt,
    Suspend,
    Verdict,
)
from tests.contract.kit import (
    SHORT,
    Elapse,
    a_row,
    a_sleep,
    a_start,
    a_wait,
    an_entry,
    begin,
    cancel,
    claim,
    history,
    index,
    notice,
    operate,
    part,
    record,
    signal,
    start,
)

TERMINAL: list[End] = [
    Complete(result=b"r"),
    Fail(error=b"e"),
    EndCancelled(),
    FailCompensation(error=b"e"),
]


async def after(store: Store, end: End, *, outstanding: int = 0) -> Status:
    """An execution that has ended so."""
    turn = await begin(store)
    return (await turn.commit(end=end, outstanding=outstanding)).status


async def asleep(store: Store, *opens: Open) -> None:
    turn = await begin(store)
    assert (await turn.commit(opens=opens or [a_wait()], end=Suspend())).released


def a_retry_of(step: str, *, after_ms: int = 60_000) -> Open:
    return Open(id=step, kind="step", name="TimeoutError", after_ms=after_ms, attempts=2)


# -- who is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("action", Action)
async def test_nothing_is_done_to_what_is_not_there(store: Store, action: Action) -> None:
    answer = await operate(store, action, entry=an_entry())
    assert (answer.verdict, answer.status, answer.wake) == (Verdict.UNKNOWN, None, None)


@pytest.mark.parametrize("action", [Action.RETRY, Action.ROLLBACK])
async def test_what_lives_is_not_reopened(store: Store, action: Action) -> None:
    await begin(store)
    answer = await operate(store, action)
    assert (answer.verdict, answer.status, answer.rows) == (Verdict.REFUSED, Status.RUNNING, ())
    assert (await record(store)).status is Status.RUNNING


@pytest.mark.parametrize("end", TERMINAL)
@pytest.mark.parametrize("action", Action)
async def test_what_has_ended_takes_only_what_fits_its_end(store: Store, action: Action, end: End) -> None:
    status = await after(store, end, outstanding=1)
    before = await history(store)
    allowed = {
        Action.RETRY: {Status.FAILED},
        Action.RECORD: {Status.FAILED},
        Action.ROLLBACK: {Status.FAILED, Status.CANCELLED, Status.COMPENSATION_FAILED},
        Action.HURRY: set[Status](),
        Action.FORCE_FAIL: set[Status](),
        Action.FORK: {status},
    }[action]
    answer = await operate(store, action, entry=an_entry())
    assert answer.verdict is (Verdict.DONE if status in allowed else Verdict.REFUSED)
    if status not in allowed:
        assert answer.status is status
        after_it = await history(store)
        assert (after_it.execution, after_it.entries) == (before.execution, ())


async def test_nothing_outstanding_is_nothing_to_roll_back(store: Store) -> None:
    await after(store, Fail(error=b"e"), outstanding=0)
    assert (await operate(store, Action.ROLLBACK)).verdict is Verdict.REFUSED


async def test_a_journal_that_has_moved_on_is_not_touched(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1), an_entry(2)], end=Fail(error=b"e"))
    for action in (Action.RETRY, Action.RECORD):
        answer = await operate(store, action, entries=1, drop=("step-1",), entry=an_entry(3))
        assert (answer.verdict, answer.wake, answer.rows) == (Verdict.CHANGED, None, ())
    assert len((await history(store)).entries) == 2
    assert (await operate(store, Action.RETRY, entries=2)).verdict is Verdict.DONE


async def test_a_journal_that_has_moved_on_comes_before_the_status(store: Store) -> None:
    await begin(store)
    assert (await operate(store, Action.RETRY, entries=5)).verdict is Verdict.CHANGED


# -- retry ----------------------------------------------------------------------------------------


async def test_a_retry_reopens_what_failed(store: Store, elapse: Elapse) -> None:
    turn = await begin(store, a_start(timeout_ms=60_000, retention_ms=20))
    await turn.commit(end=RetryAttempt(after_ms=0, error=b"e"))
    await store.due(part(store), 10)
    turn = await claim(store, lease_ms=SHORT)
    await elapse(SHORT)
    await store.reap(part(store), 10, [])
    turn = await claim(store)
    entries = [an_entry(1, "kept"), an_entry(2, "charge", outcome="failed")]
    await signal(store)
    await turn.commit(entries=entries, outstanding=1, end=Fail(error=b"boom", escaped=("charge",)), seen=1)
    seq = (await record(store)).seq
    await elapse(5)
    before = await store.now()
    answer = await operate(store, Action.RETRY, drop=("charge", "never-there"))
    assert (answer.verdict, answer.status) == (Verdict.DONE, Status.PENDING)
    assert answer.wake is not None
    assert answer.wake.seq == seq + 1
    found = await history(store)
    execution = found.execution
    assert (execution.status, execution.openings, execution.attempt, execution.crashes) == (Status.PENDING, 1, 1, 0)
    assert (execution.error, execution.cause, execution.escaped, execution.ended_at) == (None, Cause.NONE, (), None)
    assert (execution.rollback, execution.run, execution.seq) == (False, 1, answer.wake.seq)
    assert ([e.id for e in found.entries], len(found.inbox)) == (["kept"], 1)
    assert execution.deadline is not None
    assert before + 60_000 <= execution.deadline <= await store.now() + 60_000
    times = await store.next_due(part(store))
    assert (times["expiry"], times["timers"]) == (None, execution.deadline)
    assert await index(store, "ready") is not None
    await elapse(30)
    assert await store.purge(part(store), 10) == (0, None)
    turn = await claim(store)
    await turn.commit(entries=[an_entry(2, "charge")], end=Complete(result=b"r"))
    assert (await record(store)).status is Status.COMPLETED


async def test_a_retry_of_what_timed_out_has_a_fresh_deadline(store: Store, elapse: Elapse) -> None:
    await start(store, a_start(timeout_ms=SHORT))
    await elapse(SHORT)
    await store.due(part(store), 10)
    assert (await record(store)).cause is Cause.TIMED_OUT
    await operate(store, Action.RETRY)
    await claim(store)


async def test_crashes_are_counted_anew_by_an_opening(store: Store, elapse: Elapse) -> None:
    await begin(store, lease_ms=20)
    await elapse(20)
    await store.reap(part(store), 10, [])
    turn = await claim(store)
    await turn.commit(end=Fail(error=b"e"))
    assert (await record(store)).crashes == 1
    await operate(store, Action.RETRY)
    assert (await record(store)).crashes == 0


async def test_a_retry_forgives_the_crashes(store: Store, elapse: Elapse) -> None:
    await begin(store, lease_ms=1)
    await elapse(2)
    await store.reap(part(store), 10, [])
    turn = await claim(store)
    await turn.commit(end=Fail(error=b"e"))
    assert (await record(store)).crashes == 1
    await operate(store, Action.RETRY)
    assert (await record(store)).crashes == 0


async def test_each_opening_tells_its_end(store: Store) -> None:
    await start(store, a_start(parent="p-1", parent_run=1))
    turn = await claim(store)
    await turn.commit(children=[("c-1", "cancel")], end=Fail(error=b"e"))
    (word,) = (await operate(store, Action.RETRY)).parcels
    assert (word.outgoing.target, word.outgoing.kind, word.outgoing.name) == ("p-1", "reopened", "e-1")
    turn = await claim(store)
    ended = await store.subscribe("ended/e-1")
    answer = await turn.commit(end=Complete(result=b"r"))
    assert {(p.outgoing.target, p.outgoing.request) for p in answer.parcels} == {
        ("p-1", "ended:e-1:1"),
        ("c-1", "cancel:e-1:1"),
    }
    assert await ended.next(5) == "completed"
    await ended.close()


# -- rollback -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", TERMINAL[1:])
async def test_a_rollback_reopens_what_left_something_undone(store: Store, end: End) -> None:
    turn = await begin(store, a_start(timeout_ms=60_000))
    entries = [an_entry(1, "charge"), an_entry(2, "rollback:charge", kind="compensation", outcome="failed")]
    await turn.commit(entries=entries, end=end, outstanding=1)
    answer = await operate(store, Action.ROLLBACK, drop=("rollback:charge",))
    assert (answer.verdict, answer.status, answer.wake is not None) == (Verdict.DONE, Status.PENDING, True)
    found = await history(store)
    execution = found.execution
    assert (execution.rollback, execution.openings, execution.deadline, execution.error) == (True, 1, None, None)
    assert ([e.id for e in found.entries], execution.outstanding) == (["charge"], 1)
    assert await index(store, "timers") is None
    turn = await claim(store)
    assert turn.history.execution.rollback
    assert (await turn.commit(end=Fail(error=b"e"))).status is Status.FAILED
    await operate(store, Action.RETRY)
    assert not (await record(store)).rollback, "a retry is a whole one"


# -- record ---------------------------------------------------------------------------------------


async def test_a_recorded_result_is_replaced_in_its_place(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(
        entries=[an_entry(1, "charge", outcome="failed"), an_entry(2, "ship", outcome="failed")],
        end=Fail(error=b"boom", escaped=("charge", "ship")),
    )
    answer = await operate(store, Action.RECORD, entry=an_entry(99, "charge", payload=b"paid by hand"))
    assert (answer.verdict, answer.status, answer.wake) == (Verdict.DONE, Status.FAILED, None)
    found = await history(store)
    assert found.entries == (an_entry(1, "charge", payload=b"paid by hand"), an_entry(2, "ship", outcome="failed"))
    assert (found.execution.escaped, found.execution.error) == (("ship",), b"boom")
    assert await index(store, "ready") is None


async def test_a_new_result_gets_the_next_number(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1), an_entry(2)], opens=[a_retry_of("charge"), a_wait()], end=Suspend())
    answer = await operate(store, Action.RECORD, entries=2, entry=an_entry(0, "charge"))
    assert (answer.verdict, answer.status) == (Verdict.DONE, Status.SLEEPING)
    assert answer.wake is not None
    found = await history(store)
    assert [(e.id, e.number) for e in found.entries] == [("step-1", 1), ("step-2", 2), ("charge", 3)]
    assert [w.id for w in found.waits] == ["approval"]
    assert (await claim(store)).history.execution.status is Status.RUNNING


async def test_the_first_result_of_all_is_number_one(store: Store) -> None:
    await asleep(store)
    await operate(store, Action.RECORD, entry=an_entry(0, "charge"))
    assert [e.number for e in (await history(store)).entries] == [1]


async def test_a_record_takes_the_lease_away(store: Store) -> None:
    turn = await begin(store, worker="w-7")
    told = await store.subscribe("worker/w-7")
    answer = await operate(store, Action.RECORD, entry=an_entry(1, "charge"))
    assert (answer.verdict, answer.status, answer.wake is not None) == (Verdict.DONE, Status.PENDING, True)
    assert await told.next(5) == "e-1"
    await told.close()
    found = await record(store)
    assert (found.status, found.crashes, found.lease_until, found.worker) == (Status.PENDING, 0, None, "")
    assert await turn.ask(entries=[an_entry(1, "other")]) is None
    assert await store.release("e-1", turn.nonce) is None
    assert (await index(store, "leases"), await index(store, "ready") is not None) == (None, True)
    assert [e.id for e in (await claim(store)).history.entries] == ["charge"]


async def test_a_record_while_cancelling_stays_cancelling(store: Store) -> None:
    await begin(store)
    await cancel(store)
    answer = await operate(store, Action.RECORD, entry=an_entry())
    assert (answer.status, answer.wake is not None) == (Status.CANCELLING, True)


async def test_a_record_ends_the_delay_before_a_retry(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(end=RetryAttempt(after_ms=60_000, error=b"e"))
    answer = await operate(store, Action.RECORD, entry=an_entry())
    assert (answer.status, answer.wake is not None) == (Status.RETRYING, True)
    assert await index(store, "timers") is None
    assert (await claim(store)).history.execution.status is Status.RUNNING


async def test_what_is_ready_already_is_woken_no_second_time(store: Store) -> None:
    await start(store, a_start())
    answer = await operate(store, Action.RECORD, entry=an_entry())
    assert (answer.verdict, answer.wake) == (Verdict.DONE, None)
    assert (await record(store)).seq == 1


# -- hurry ----------------------------------------------------------------------------------------


async def test_a_pause_before_a_retry_is_cut_short(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(end=RetryAttempt(after_ms=60_000, error=b"e"))
    answer = await operate(store, Action.HURRY)
    assert (answer.verdict, answer.status, answer.wake is not None) == (Verdict.DONE, Status.RETRYING, True)
    assert await index(store, "timers") is None
    assert (await claim(store)).history.execution.attempt == 2


async def test_the_pauses_of_steps_are_due_now(store: Store) -> None:
    await asleep(store, a_retry_of("charge"), a_retry_of("ship"), a_sleep(after_ms=90_000))
    answer = await operate(store, Action.HURRY, hurry=("charge", "never-there"))
    assert answer.verdict is Verdict.DONE
    found = await history(store)
    due = {wait.id for wait in found.waits if wait.deadline is not None and wait.deadline <= found.now}
    assert (due, len(found.waits)) == ({"charge"}, 3)
    wakes = (answer.wake, *(await store.due(part(store), 10)).wakes)
    assert [wake.id for wake in wakes if wake is not None] == ["e-1"], "by the answer, or by its timer"
    turn = await claim(store)
    assert not (await turn.commit(end=Suspend())).released, "the pause is over"


async def test_an_owner_that_waits_for_a_pause_loses_its_lease(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_retry_of("charge")])
    answer = await operate(store, Action.HURRY, hurry=("charge",))
    assert (answer.status, answer.wake is not None) == (Status.PENDING, True)
    assert await turn.ask() is None
    (wait,) = (await claim(store)).history.waits
    assert wait.deadline is not None
    assert wait.deadline <= await store.now()


async def test_where_nothing_pauses_nothing_is_hurried(store: Store) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_sleep(after_ms=60_000)])
    answer = await operate(store, Action.HURRY, hurry=("never-there",))
    assert (answer.verdict, answer.status, answer.wake) == (Verdict.DONE, Status.RUNNING, None)
    assert (await turn.commit(end=Suspend())).released, "it has kept its lease"
    assert (await operate(store, Action.HURRY)).wake is None
    assert await index(store, "ready") is None


# -- force fail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "delayed", "running", "sleeping", "retrying", "cancelling"])
async def test_a_forced_end(store: Store, state: str) -> None:
    await start(store, a_start(parent="p-1", parent_run=1, delay_ms=60_000 if state == "delayed" else 0))
    turn = None if state in ("pending", "delayed") else await claim(store, worker="w-7")
    if turn is not None and state != "running":
        await turn.commit(end=RetryAttempt(after_ms=60_000, error=b"e") if state == "retrying" else Suspend())
    if state == "cancelling":
        await cancel(store)
    ended = await store.subscribe("ended/e-1")
    told = await store.subscribe("worker/w-7")
    answer = await operate(store, Action.FORCE_FAIL, error=b"\x00by hand\xff")
    assert (answer.verdict, answer.status, answer.wake) == (Verdict.DONE, Status.FAILED, None)
    found = await record(store)
    assert (found.status, found.cause, found.error) == (Status.FAILED, Cause.FORCED, b"\x00by hand\xff")
    assert (found.lease_until, found.ended_at is None) == (None, False)
    assert await ended.next(5) == "failed"
    (parcel,) = answer.parcels
    assert (parcel.outgoing.target, notice(parcel).cause, notice(parcel).error) == ("p-1", "forced", b"\x00by hand\xff")
    times = await store.next_due(part(store))
    assert (times["ready"], times["timers"], times["leases"], times["expiry"] is None) == (None, None, None, False)
    if state == "running":
        assert turn is not None
        assert await told.next(5) == "e-1"
        assert await turn.ask(end=Complete(result=b"zombie")) is None
    await told.close()
    await ended.close()


# -- fork -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [None, *TERMINAL])
async def test_of_a_fork_the_origin_has_a_line_and_nothing_else(store: Store, end: End | None) -> None:
    turn = await begin(store)
    if end is not None:
        await turn.commit(entries=[an_entry(1)], end=end)
    before = await history(store)
    row = a_row("operator", fork="e-2")
    answer = await operate(store, Action.FORK, audit=row)
    assert (answer.verdict, answer.status, answer.wake, answer.parcels) == (
        Verdict.DONE,
        before.execution.status,
        None,
        (),
    )
    assert answer.rows == (row,), "one act, one row"
    after_it = await history(store)
    assert (after_it.execution, after_it.entries) == (before.execution, before.entries)
    if end is None:
        assert await turn.ask(entries=[an_entry(1)]) is not None, "the owner goes on"


# -- repeats --------------------------------------------------------------------------------------


async def test_a_repeat_does_nothing_twice(store: Store) -> None:
    await after(store, Fail(error=b"e"))
    first = await operate(store, Action.RETRY, request="once")
    again = await operate(store, Action.RETRY, request="once")
    assert (again.verdict, again.status, again.wake) == (Verdict.DONE, Status.PENDING, first.wake)
    assert (again.parcels, again.rows) == ((), ())
    assert (await record(store)).openings == 1
    turn = await claim(store)
    await turn.commit(end=Fail(error=b"e"))
    late = await operate(store, Action.RETRY, request="once")
    assert (late.verdict, late.status, late.wake) == (Verdict.DONE, Status.FAILED, None)
    assert (await operate(store, Action.RETRY, request="twice")).verdict is Verdict.DONE
    assert (await record(store)).openings == 2


async def test_a_repeat_comes_before_every_check(store: Store) -> None:
    await begin(store)
    await operate(store, Action.RECORD, request="once", entries=0, entry=an_entry())
    again = await operate(store, Action.RECORD, request="once", entries=0, entry=an_entry())
    assert again.verdict is Verdict.DONE
    assert len((await history(store)).entries) == 1


async def test_what_was_refused_may_be_asked_again(store: Store) -> None:
    turn = await begin(store)
    assert (await operate(store, Action.RETRY, request="once")).verdict is Verdict.REFUSED
    await turn.commit(end=Fail(error=b"e"))
    assert (await operate(store, Action.RETRY, request="once")).status is Status.PENDING


@pytest.mark.parametrize("action", [Action.RETRY, Action.RECORD])
async def test_a_line_is_put_behind_what_is_left_of_the_journal(store: Store, action: Action) -> None:
    """What was recorded before the line, the next attempt need not ask for."""
    turn = await begin(store)
    recorded = [an_entry(1, "a"), an_entry(2, "charge", outcome="failed"), an_entry(3, "__sleep:1")]
    await turn.commit(entries=recorded, end=Fail(error=b"e", escaped=("charge",)))
    mark = an_entry(0, "__attempt:1", kind="attempt")
    entry = an_entry(0, "charge") if action is Action.RECORD else None
    drop = ("charge", "__sleep:1")
    assert (await operate(store, action, entry=entry, drop=drop, mark=mark)).verdict is Verdict.DONE
    numbered = [(one.number, one.id) for one in (await history(store)).entries]
    assert numbered == [(1, "a"), *([(2, "charge"), (3, "__attempt:1")] if entry else [(2, "__attempt:1")])]
