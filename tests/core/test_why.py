"""Why an execution does not go on: from every situation to its reasons, the one that matters first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.core.limits import MAX_ENTRIES
from runner.failures import Failure
from runner.load import Load, LongStep
from runner.records import AuditEntry, Cause, InboxItem, Leadership, Status, Wait, WorkerInfo
from runner.step import StepState
from runner.store.standing import Standing
from runner.why import Reason, ReasonCode, Why, assert_explained
from runner.why.explain import explained
from runner.why.facts import OVERDUE_MS, Declared, Facts, Fleet, Other
from runner.why.signals import similar
from runner.workers.suspects import ALONE
from tests.core.histories import entry, execution, history, sleep, step_wait

NOW = 100_000
LEADER = Leadership(leading=False, leader="s1", expires_in_ms=3_000)
WORKER = WorkerInfo(
    id="w1", build="b7", queues=("gpu",), workflows=(("order", 2, "gpu"),), slots=4, lease_ms=10_000, seen_at=NOW - 100
)
ASLEEP = Standing(since=None, ahead=0, waiting=0, oldest=None, ready=0)
READY = Standing(since=NOW - 500, ahead=0, waiting=1, oldest=NOW - 500, ready=1, offered_at=NOW + 1_500)
BOOM = Failure.of(ValueError("boom"), known={}, step="pay", attempts=3).pack()
C = ReasonCode


def facts(
    status: Status,
    *entries: Any,
    standing: Standing = ASLEEP,
    workers: tuple[WorkerInfo, ...] = (WORKER,),
    leader: Leadership | None = LEADER,
    away: dict[str, str] | None = None,
    trail: tuple[tuple[int, str, dict[str, Any]], ...] = (),
    more: dict[str, Any] | None = None,
    **record: Any,
) -> Facts:
    """A history as of NOW, in a fleet that is well unless told otherwise."""
    found = replace(history(status, *entries, **record), now=NOW)
    return Facts(
        history=found,
        standing=standing,
        fleet=Fleet(workers=workers, leader=leader, away=away or {}),
        trail=tuple(AuditEntry(execution_id="e1", at=at, kind=kind, fields=fields) for at, kind, fields in trail),
        **(more or {}),
    )


def first(found: Facts) -> Reason:
    return explained(found).reasons[0]


def reason(found: Facts, code: ReasonCode) -> Reason:
    (only,) = [one for one in explained(found).reasons if one.code is code]
    return only


def signal_wait(name: str = "approved", deadline: int | None = None) -> Wait:
    return Wait(id="approval", kind="signal", name=name, opened_at=7, deadline=deadline)


def end_wait(name: str = "kid") -> Wait:
    return Wait(id="end", kind="ended", name=name, opened_at=7, deadline=None)


def arrived(index: int, name: str, at: int = 9) -> InboxItem:
    return InboxItem(index=index, at=at, kind="signal", name=name, payload=b"")


# -- it has ended ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "text", "cure"),
    [
        (facts(Status.COMPLETED), "it has completed", ""),
        (facts(Status.FAILED, error=BOOM), "failed in step 'pay': ValueError: boom", "runner executions retry e1"),
        (facts(Status.FAILED, cause=Cause.TIMED_OUT), "its own deadline passed", "runner executions retry e1"),
        (
            facts(Status.FAILED, cause=Cause.POISONED, crashes=20),
            "20 workers in a row were lost with it, before it recorded anything",
            "runner executions retry e1",
        ),
        (
            facts(
                Status.FAILED,
                cause=Cause.FORCED,
                trail=((1, "operator", {"action": "force_fail", "actor": "ann"}), (2, "status", {})),
            ),
            "ann ended it by force",
            "",
        ),
        (facts(Status.CANCELLED, reason="no stock"), "it was cancelled: no stock", ""),
        (facts(Status.COMPENSATION_FAILED, error=BOOM), "a compensation failed for good in step 'pay'", ""),
    ],
)
def test_an_end_is_told_with_its_cause_and_whoever_brought_it_about(found, text, cure):
    assert first(found).code is C.ENDED
    assert text in first(found).text
    assert (first(found).cure, first(found).since) == (cure, 3)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (facts(Status.COMPENSATION_FAILED), True),
        (facts(Status.FAILED, outstanding=2), True),
        (facts(Status.CANCELLED, outstanding=2), False),
        (facts(Status.COMPLETED, outstanding=2), False),
        (facts(Status.FAILED), False),
    ],
)
def test_what_is_left_undone_is_told_of_with_what_undoes_it(found, told):
    assert (C.NOT_UNDONE in explained(found).codes) is told
    if told:
        assert reason(found, C.NOT_UNDONE).cure == "runner executions retry-rollback e1"


# -- a worker has it ------------------------------------------------------------------------------------


def owned(**more: Any) -> Facts:
    return facts(Status.RUNNING, **{"worker": "w1", "lease_until": NOW + 5_000} | more)


def test_who_has_it_since_when_and_until_when():
    found = owned(trail=((40, "status", {"from": "pending", "to": "running", "worker": "w1"}),))
    told = first(found)
    assert (told.code, told.since, told.until, told.data["build"]) == (C.RUNNING, 40, NOW + 5_000, "b7")
    assert "'w1'" in told.text


def test_a_worker_that_is_not_heard_of_keeps_it_until_its_lease_runs_out():
    stopped = replace(WORKER, seen_at=NOW - 20_000)
    assert (first(owned(workers=(stopped,))).code, first(owned(workers=(stopped,))).since) == (
        C.WORKER_SILENT,
        NOW - 20_000,
    )
    gone = first(owned(workers=()))
    assert (gone.code, gone.until) == (C.WORKER_SILENT, NOW + 5_000)
    assert first(owned(workers=(), away={"workers": "no answer"})).code is C.RUNNING, "nobody could be asked"


def test_a_lease_that_ran_out_waits_for_a_scheduler():
    late = explained(owned(lease_until=NOW - 1, leader=None))
    assert late.codes[:2] == (C.LEASE_OVERDUE, C.NO_SCHEDULER)
    assert late.reasons[0].cure == "runner scheduler"


def test_the_steps_under_way_are_told_of_with_their_progress_and_their_limit():
    steps = (
        LongStep(execution_id="e1", step="charge", attempt=2, for_ms=9_000, timeout_ms=4_000),
        LongStep(execution_id="e1", step="pack", attempt=1, for_ms=3_000, timeout_ms=None),
        LongStep(execution_id="else", step="other", attempt=1, for_ms=3_000, timeout_ms=None),
    )
    state = StepState(first_at=50, done=3, total=7).pack()
    found = owned(
        workers=(replace(WORKER, load=Load(busy=1, steps=steps)),),
        waits=(Wait(id="copy", kind="step", name="", opened_at=50, deadline=None, attempts=1, details=state),),
    )
    late = reason(found, C.STEP_OVER_TIME)
    assert (late.since, late.until) == (NOW - 9_100, NOW - 5_100)
    assert "step 'charge' is in its attempt 2, which runs longer than its time-out of 4 s" in late.text
    texts = [one.text for one in explained(found).reasons if one.code is C.STEP_RUNNING]
    assert texts == ["step 'copy' is in its attempt 2: 3 of 7 done", "step 'pack' is in its attempt 1"]


def test_what_a_turn_waits_for_in_place_is_told_too():
    assert explained(owned(waits=(signal_wait(),))).codes == (C.RUNNING, C.WAITING_SIGNAL)


# -- it is ready ----------------------------------------------------------------------------------------


def ready(standing: Standing = READY, **more: Any) -> Facts:
    return facts(Status.PENDING, standing=standing, **more)


def test_what_was_just_made_ready_is_on_its_way():
    told = first(ready())
    assert (told.code, told.since, told.until) == (C.READY, NOW - 500, NOW + 1_500)


@pytest.mark.parametrize(
    ("workers", "code", "text"),
    [
        ((), C.NO_WORKER, "no worker is alive"),
        ((replace(WORKER, seen_at=1),), C.NO_WORKER, "the last that was heard of is 'w1'"),
        ((replace(WORKER, queues=("default",)),), C.NO_WORKER_FOR_QUEUE, "'gpu'; they listen to 'default'"),
        ((replace(WORKER, workflows=()),), C.UNKNOWN_WORKFLOW, "none of the 1 live worker(s) of queue 'gpu' knows"),
        ((replace(WORKER, workflows=(("order", 1, "gpu"),)),), C.UNKNOWN_VERSION, "known: 1 (w1)"),
        ((replace(WORKER, load=Load(busy=4)),), C.SLOTS_TAKEN, "all 4 slots of the 1 worker(s)"),
    ],
)
def test_who_could_take_it_and_does_not(workers, code, text):
    told = first(ready(workers=workers))
    assert told.code is code
    assert text in told.text
    assert told.cure


def test_one_free_slot_is_enough():
    assert first(ready(workers=(replace(WORKER, load=Load(busy=4)), replace(WORKER, id="w2")))).code is C.READY


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("no workflow 'order' version 2 here", C.PASSED_OVER),
        ("build-7 does not replay its history: 'pay' was a step, is a sleep", C.HISTORY_MISMATCH),
        ("a payload of execution 'e1' cannot be opened here: no key", C.PAYLOAD_UNREADABLE),
        ("a turn broke on worker w1: KeyError: 'x'", C.TURN_BROKEN),
        ("the store refused a commit: two answers", C.TURN_BROKEN),
        (ALONE, C.SUSPECT),
        ("anything else", C.PASSED_OVER),
    ],
)
def test_what_a_worker_said_when_it_passed_it_over(said, code):
    told = first(ready(replace(READY, since=None), passed=said))
    assert (told.code, told.until) == (code, NOW + 1_500)
    assert said in told.text


def test_a_place_in_the_line_comes_with_an_estimate_of_its_time():
    busy = Load(busy=1, ended=(("default", 500), ("gpu", 60)), over_ms=60_000)
    found = ready(replace(READY, ahead=30, waiting=45), workers=(replace(WORKER, load=busy),))
    told = first(found)
    assert (told.code, told.until) == (C.BACKLOG, NOW + 30_000)
    assert told.text == "30 of the 45 that wait in queue 'gpu' are before it; about 60 a minute are worked off"
    assert first(ready(replace(READY, ahead=30, waiting=45))).until is None


@pytest.mark.parametrize(
    ("more", "since", "code"),
    [
        ({"asked": True, "depth": 0}, NOW - 9_000, C.HINT_LOST),
        ({"asked": True, "depth": None}, NOW - 9_000, C.HINT_LOST),
        ({"asked": True, "depth": 1}, NOW - 9_000, C.READY),
        ({"asked": True, "depth": 0}, NOW - 500, C.READY),
        ({}, NOW - 9_000, C.READY),
    ],
)
def test_a_hint_is_lost_when_it_is_missed_for_some_time_at_a_broker_that_answers(more, since, code):
    assert first(ready(replace(READY, since=since), more=more)).code is code


def test_without_a_broker_nothing_gets_to_a_worker():
    assert first(ready(away={"broker": "refused"})).code is C.BROKER_UNREACHABLE
    assert explained(ready(away={"broker": "refused"})).codes.count(C.BROKER_UNREACHABLE) == 1
    asleep = explained(facts(Status.SLEEPING, waits=(signal_wait(),), away={"broker": "refused"}))
    assert asleep.codes == (C.WAITING_SIGNAL, C.BROKER_UNREACHABLE)


# -- it waits -------------------------------------------------------------------------------------------


def asleep(*waits: Wait, **more: Any) -> Facts:
    """On the timer that its waits call for."""
    timer_at = min((one.deadline for one in waits if one.deadline is not None), default=None)
    return facts(Status.SLEEPING, waits=waits, **{"standing": replace(ASLEEP, timer_at=timer_at)} | more)


def test_the_nearest_wait_comes_first_each_with_what_ends_it():
    found = asleep(signal_wait(), sleep("nap", NOW + 9), step_wait("pay", NOW + 5))
    assert explained(found).codes == (C.STEP_RETRY, C.SLEEPING, C.WAITING_SIGNAL)
    step, nap, wait = explained(found).reasons
    assert (step.cure, step.until) == ("runner executions retry e1", NOW + 5)
    assert "after 2 failed attempt(s): Boom: no" in step.text
    assert (nap.until, nap.cure) == (NOW + 9, "")
    assert (wait.since, wait.until, wait.cure) == (7, None, "runner executions signal e1 approved PAYLOAD")


def test_many_waits_are_counted():
    found = asleep(*(sleep(f"nap-{n}", NOW + n) for n in range(1, 31)))
    assert explained(found).codes == (C.SLEEPING,) * 10 + (C.MORE_WAITS,)
    assert reason(found, C.MORE_WAITS).data == {"waits": 20}


def test_a_delayed_start_and_a_pause_before_another_attempt():
    soon = replace(ASLEEP, timer_at=NOW + 9)
    delayed = first(facts(Status.PENDING, standing=soon, started_at=None))
    assert (delayed.code, delayed.until) == (C.DELAYED, NOW + 9)
    again = facts(
        Status.RETRYING, standing=soon, attempt=2, error=BOOM, more={"declared": Declared(signals=None, max_attempts=5)}
    )
    assert first(again).text == "it pauses before its attempt 2 of 5 after ValueError: boom"
    assert (first(again).code, first(again).until) == (C.RETRYING, NOW + 9)


def test_a_timer_that_nobody_fires():
    late = replace(ASLEEP, timer_at=NOW - OVERDUE_MS)
    found = explained(asleep(sleep("nap", NOW - OVERDUE_MS), standing=late, leader=None))
    assert found.codes == (C.TIMER_OVERDUE, C.SLEEPING, C.NO_SCHEDULER)
    assert found.reasons[0].cure == "runner scheduler"
    in_time = replace(ASLEEP, timer_at=NOW - 1)
    assert explained(asleep(sleep("nap", NOW - 1), standing=in_time)).codes == (C.SLEEPING,)


@pytest.mark.parametrize(
    ("found", "due"),
    [
        (asleep(sleep("nap", NOW + 9), standing=ASLEEP), NOW + 9),
        (asleep(sleep("nap", NOW + 9), standing=replace(ASLEEP, timer_at=NOW + 10)), NOW + 9),
        (asleep(signal_wait(), deadline=NOW + 9), NOW + 9),
        (facts(Status.RETRYING), None),
    ],
)
def test_a_timer_that_the_store_has_lost(found: Facts, due: int | None):
    told = first(found)
    assert (told.code, told.cure, told.data["due"]) == (C.TIMER_MISSING, "runner fsck --repair", due)
    with pytest.raises(AssertionError, match="stuck"):
        assert_explained(explained(found))


def test_of_what_is_ready_only_the_timer_of_its_deadline_can_be_missing():
    lost = explained(facts(Status.PENDING, standing=READY, deadline=NOW + 9))
    assert (lost.codes[0], C.TIMER_MISSING in lost.codes) == (C.READY, True)
    assert C.TIMER_MISSING not in explained(facts(Status.PENDING, standing=READY)).codes


def other(status: Status, **more: Any) -> Other:
    return Other(execution=execution(status, **more))


@pytest.mark.parametrize(
    ("there", "code", "text"),
    [
        (other(Status.RUNNING), C.WAITING_EXECUTION, "execution 'kid', which is running"),
        (other(Status.COMPLETED), C.END_ON_ITS_WAY, "execution 'kid' has ended (completed)"),
        (Other(execution=None), C.EXECUTION_UNKNOWN, "it may be past its retention"),
        (None, C.WAITING_EXECUTION, "the end of execution 'kid'"),
    ],
)
def test_what_is_known_of_the_execution_it_waits_for(there, code, text):
    told = first(asleep(end_wait(), more={"others": {} if there is None else {"kid": there}}))
    assert told.code is code
    assert text in told.text


def test_a_child_is_called_one_and_its_own_reason_is_told():
    deeper = Reason(code=C.WAITING_SIGNAL, text="it waits for signal 'go'", cure="runner executions signal kid go")
    why = Why(execution_id="kid", status=Status.SLEEPING, summary="", reasons=(deeper,), now=NOW)
    kid = Other(execution=execution(Status.SLEEPING), why=why)
    told = first(asleep(end_wait(), more={"others": {"kid": kid}, "children": frozenset({"kid"})}))
    assert told.code is C.WAITING_CHILD
    assert told.text.endswith("its child 'kid', which is sleeping: it waits for signal 'go'")
    assert told.cure == "runner executions signal kid go"
    assert told.data["why"][0]["code"] == "waiting_signal"
    absent = asleep(end_wait(), more={"others": {"kid": Other(execution=None)}, "children": frozenset({"kid"})})
    assert "its start is on its way" in first(absent).text


def test_nothing_but_its_own_deadline_is_told_once():
    found = asleep(deadline=NOW + 7, standing=replace(ASLEEP, timer_at=NOW + 7))
    assert explained(found).codes == (C.DEADLINE,)
    assert first(found).until == NOW + 7


def test_what_nothing_will_wake_is_said_and_refused_by_whoever_asserts_it():
    stuck = explained(asleep())
    assert stuck.codes == (C.NO_WAKE_SOURCE,)
    with pytest.raises(AssertionError, match="e1 is stuck in silence"):
        assert_explained(stuck)
    assert_explained(explained(asleep(signal_wait())))


def test_a_deadline_begins_nothing():
    """Its ready entry is gone: the timer that is left only ends it."""
    ends = replace(ASLEEP, timer_at=NOW + 9)
    lost = explained(facts(Status.PENDING, standing=ends, started_at=None, deadline=NOW + 9, timeout_ms=5))
    again = explained(facts(Status.PENDING, standing=ends, deadline=NOW + 9))
    for found in (lost, again):
        assert (found.codes[0], found.reasons[0].cure) == (C.NO_WAKE_SOURCE, "runner fsck --repair")


# -- signals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("aproved", "approved"),
        ("Approved", "approved"),
        ("approve", "approved"),
        ("order.approved", "approved"),
        ("paid", None),
    ],
)
def test_names_that_are_nearly_the_same(name, meant):
    assert similar(name, ["rejected", "approved"]) == meant


def test_a_signal_under_nearly_the_name_and_others_that_wait_to_be_read():
    inbox = (arrived(0, "aproved"), arrived(1, "paid"), arrived(2, "paid"), arrived(3, "used"))
    consumed = entry(1, "w", kind="signal", consumes=3)
    found = facts(Status.SLEEPING, consumed, waits=(signal_wait(),), inbox=inbox)
    assert explained(found).codes == (C.WAITING_SIGNAL, C.SIMILAR_SIGNAL, C.UNREAD_SIGNAL)
    assert reason(found, C.SIMILAR_SIGNAL).cure == "runner executions signal e1 approved PAYLOAD"
    assert reason(found, C.UNREAD_SIGNAL).text.startswith("2 signals 'paid' arrived, unread")


def test_a_signal_that_clients_refuse_to_send():
    declared = asleep(signal_wait(), more={"declared": Declared(signals=frozenset({"approved"}), max_attempts=3)})
    assert C.UNDECLARED_SIGNAL not in explained(declared).codes
    undeclared = asleep(signal_wait("go"), more={"declared": Declared(signals=frozenset({"approved"}), max_attempts=3)})
    assert reason(undeclared, C.UNDECLARED_SIGNAL).data == {"signal": "go", "declared": ["approved"]}
    assert (
        C.UNDECLARED_SIGNAL
        not in explained(asleep(signal_wait("go"), more={"declared": Declared(signals=None, max_attempts=3)})).codes
    )


# -- about it, and around it ----------------------------------------------------------------------------


def test_what_is_worth_knowing_follows_what_it_waits_for():
    undoing = entry(1, "rollback", kind="rollback", at=30)
    found = facts(
        Status.CANCELLING,
        undoing,
        worker="w1",
        lease_until=NOW + 1,
        reason="enough",
        outstanding=2,
        crashes=3,
        deadline=NOW + 50,
        parent="p1",
        trail=((20, "cancel", {"reason": "enough"}),),
    )
    assert explained(found).codes == (C.RUNNING, C.CANCELLING, C.COMPENSATING, C.CRASHES, C.DEADLINE, C.STARTED_BY)
    assert (reason(found, C.CANCELLING).since, reason(found, C.COMPENSATING).since) == (20, 30)
    told = reason(found, C.CRASHES).text
    assert "3 worker(s) in a row were lost with it, after " in told
    assert "with 20 (where nothing else is set) it ends failed" in told
    assert reason(found, C.DEADLINE).until == NOW + 50


def test_how_many_crashes_there_may_be_is_what_the_living_workers_say():
    """The asker's own default says nothing of a fleet that was started with another limit."""
    told = replace(WORKER, load=Load(max_crashes=3))
    gone = replace(WORKER, id="w2", seen_at=0, load=Load(max_crashes=7))
    found = facts(
        Status.PENDING, entry(1, "reserve"), entry(2, "charge"), standing=READY, workers=(told, gone), crashes=2
    )
    said = reason(found, C.CRASHES)
    assert said.data == {"crashes": 2, "most": 3, "reached": "after step 'charge' (#2)"}
    assert "with 3 (as its workers are told) it ends failed" in said.text


@pytest.mark.parametrize(("in_one", "cure"), [(True, "runner dev"), (False, "runner worker --queues gpu")])
def test_where_one_process_is_everything_it_is_the_one_to_start(in_one, cure):
    found = facts(Status.PENDING, standing=READY, workers=(), more={"in_one": in_one})
    assert reason(found, C.NO_WORKER).cure == cure


def test_compensations_that_nobody_runs_yet_are_none_of_its_reasons():
    assert C.COMPENSATING not in explained(asleep(signal_wait(), outstanding=2)).codes


def test_a_journal_that_is_nearly_full():
    entries = [entry(n, f"s{n}") for n in range(round(MAX_ENTRIES * 0.8))]
    assert "80% of what it may" in reason(facts(Status.SLEEPING, *entries, waits=(sleep("n"),)), C.JOURNAL_LARGE).text
    assert C.JOURNAL_LARGE not in explained(facts(Status.SLEEPING, *entries[1:], waits=(sleep("n"),))).codes


def test_a_schedule_is_told_of_instead_of_a_parent():
    found = explained(asleep(signal_wait(), parent="@nightly", more={"schedule": "nightly"}))
    assert found.codes == (C.WAITING_SIGNAL, C.SCHEDULED)


def test_what_is_wrong_around_it():
    found = asleep(
        signal_wait(),
        leader=None,
        standing=replace(ASLEEP, outbox_at=NOW - OVERDUE_MS),
        away={"workers": "no answer"},
        more={"latency_ms": 2_500},
    )
    assert explained(found).codes == (
        C.WAITING_SIGNAL,
        C.NO_SCHEDULER,
        C.OUTBOX_OVERDUE,
        C.STORE_SLOW,
        C.NOT_ASKED,
    )
    assert "2.5 s" in reason(found, C.STORE_SLOW).text
    assert reason(found, C.NOT_ASKED).data == {"source": "workers"}
    assert C.NO_SCHEDULER not in explained(asleep(signal_wait(), leader=None, away={"leader": "no answer"})).codes


def test_a_summary_names_the_workflow_and_the_first_reason():
    assert explained(asleep(signal_wait("go", NOW + 1))).summary == "order v2 is sleeping: it waits for signal 'go'"
