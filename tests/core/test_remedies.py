"""What an operator may do to an execution in each of its states, and how a refusal helps."""

from __future__ import annotations

import pytest

from runner.codec import decode, encode
from runner.errors import AlreadyEnded, NotRetryable, OperatorFailed, UnknownStep, UsageError
from runner.failures import Failure
from runner.records import History, InboxItem, Status
from runner.remedies import (
    edit_of,
    force_fail_of,
    fork_of,
    request_of,
    retry_of,
    rollback_of,
    skip_of,
)
from runner.transactions import Action
from tests.core.histories import entry, history, sleep, step_wait

LIVE = [status for status in Status if not status.terminal]
ENDED = [status for status in Status if status.terminal]


# -- retry --------------------------------------------------------------------------------------------


def test_a_failed_execution_is_reopened_without_the_failure_that_ended_it():
    found = retry_of(history(Status.FAILED, entry(1, "a"), entry(2, "b", "failed"), escaped=("b",)))
    assert (found.action, found.drop) == (Action.RETRY, ("b",))


@pytest.mark.parametrize("status", LIVE)
def test_a_live_executions_pauses_are_cut_short(status):
    found = retry_of(history(status, waits=(step_wait("a"), step_wait("running", None))))
    assert (found.action, found.hurry) == (Action.HURRY, ("a",))


def test_the_executions_own_pause_is_cut_short():
    assert retry_of(history(Status.RETRYING)).action is Action.HURRY


@pytest.mark.parametrize("status", [status for status in LIVE if status is not Status.RETRYING])
def test_what_pauses_before_no_retry_has_nothing_to_try_again(status):
    with pytest.raises(NotRetryable, match=f"is {status}"):
        retry_of(history(status, waits=(sleep("s"),)))


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (Status.COMPLETED, "nothing to try again"),
        (Status.CANCELLED, "start it again"),
        (Status.COMPENSATION_FAILED, "retry_rollback"),
    ],
)
def test_a_refused_retry_names_the_status_and_the_cure(status, cure):
    with pytest.raises(NotRetryable, match=f"'e1' of 'order' is {status}.*{cure}"):
        retry_of(history(status))


def test_what_was_undone_is_not_tried_again():
    with pytest.raises(NotRetryable, match="undone"):
        retry_of(history(Status.FAILED, entry(1, "a"), entry(2, "rollback:a", kind="compensation")))


# -- rollback -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED, Status.COMPENSATION_FAILED])
def test_outstanding_compensations_are_run_and_those_that_failed_again(status):
    entries = (entry(1, "rollback:a", "failed", kind="compensation"), entry(2, "rollback:b", kind="compensation"))
    found = rollback_of(history(status, *entries, outstanding=2))
    assert (found.action, found.drop) == (Action.ROLLBACK, ("rollback:a",))


@pytest.mark.parametrize("status", ENDED)
def test_nothing_outstanding_is_refused(status):
    with pytest.raises(NotRetryable, match="no compensation outstanding"):
        rollback_of(history(status, outstanding=0))


@pytest.mark.parametrize("status", LIVE)
def test_a_live_execution_undoes_by_itself(status):
    with pytest.raises(NotRetryable, match="cancel it"):
        rollback_of(history(status, outstanding=1))


# -- steps --------------------------------------------------------------------------------------------


def test_a_failed_step_gets_a_result_in_its_place():
    found = skip_of(history(Status.FAILED, entry(1, "a"), entry(2, "b", "timed_out")), "b", encode(7))
    assert found.action is Action.RECORD and found.entry is not None
    assert (found.entry.number, found.entry.outcome, decode(found.entry.payload)) == (2, "ok", 7)
    assert (found.entry.attempts, found.entry.started_at) == (3, 4), "what it took stays on record"


def test_an_open_step_gets_a_result_before_it_has_one():
    found = skip_of(history(Status.SLEEPING, entry(1, "a"), waits=(step_wait("b"),)), "b", b"")
    assert found.entry is not None and (found.entry.id, found.entry.number, found.entry.attempts) == ("b", 2, 2)


def test_a_result_is_not_skipped_but_edited():
    has_result = history(Status.SLEEPING, entry(1, "a"))
    with pytest.raises(UnknownStep, match="edit_step"):
        skip_of(has_result, "a", b"")
    assert edit_of(has_result, "a", b"").action is Action.RECORD


@pytest.mark.parametrize("act", [skip_of, edit_of])
def test_an_unknown_step_is_answered_with_those_there_are(act):
    found = history(Status.FAILED, entry(1, "a"), entry(2, "nap", kind="sleep"), waits=(step_wait("b"), sleep("timer")))
    for unknown in ("x", "nap", "timer"):
        with pytest.raises(UnknownStep, match=r"a \(ok\), b \(open\)$"):
            act(found, unknown, b"")


@pytest.mark.parametrize("status", LIVE)
def test_of_a_live_one_it_is_said_when_a_step_is_on_record(status):
    with pytest.raises(UnknownStep, match=r"there are: none; a step in its first attempt .* heartbeat: .* or cancel$"):
        skip_of(history(status), "running", b"")


def test_what_ended_while_it_was_being_cancelled_is_not_tried_again():
    cancel = InboxItem(index=0, at=1, kind="cancel", name="enough", payload=b"")
    with pytest.raises(NotRetryable, match="while it was being cancelled: fork it, or start it again"):
        retry_of(history(Status.FAILED, inbox=(cancel,)))


def test_an_open_step_has_nothing_to_edit():
    with pytest.raises(UnknownStep):
        edit_of(history(Status.SLEEPING, waits=(step_wait("b"),)), "b", b"")


@pytest.mark.parametrize("act", [skip_of, edit_of])
@pytest.mark.parametrize("status", [Status.COMPLETED, Status.CANCELLED, Status.COMPENSATION_FAILED])
def test_a_closed_journal_is_not_written_to(act, status):
    with pytest.raises(AlreadyEnded, match="fork"):
        act(history(status, entry(1, "a", "failed")), "a", b"")


# -- force_fail ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", LIVE)
def test_a_live_execution_is_ended_with_the_reason(status):
    found = force_fail_of(history(status), "hopeless")
    failure = Failure.unpack(found.error)
    assert (found.action, failure.message) == (Action.FORCE_FAIL, "hopeless")
    assert failure.type.endswith(OperatorFailed.__name__)


@pytest.mark.parametrize("status", ENDED)
def test_an_ended_one_is_not_ended_again(status):
    with pytest.raises(AlreadyEnded, match=f"is {status}"):
        force_fail_of(history(status), "hopeless")


def test_an_end_needs_a_reason():
    with pytest.raises(UsageError, match="reason"):
        force_fail_of(history(Status.RUNNING), "")


# -- fork ---------------------------------------------------------------------------------------------


def fork(found: History, step: str):
    return fork_of(found, step, new_id="f1", request="r", retention_ms=9)


def test_a_fork_begins_with_what_was_recorded_before_the_step():
    found = history(
        Status.FAILED,
        entry(1, "a"),
        entry(2, "go", kind="signal", consumes=0),
        entry(3, "__cancel", kind="cancel", consumes=1),
        entry(4, "__attempt:1", kind="attempt"),
        entry(5, "b", "failed"),
        entry(6, "c"),
        timeout_ms=60_000,
        attributes={"customer": "ann", "vip": True},
    )
    start = fork(found, "b")
    assert [(one.number, one.id, one.consumes) for one in start.entries] == [
        (1, "a", -1),
        (2, "go", -1),
        (4, "__attempt:1", -1),
    ]
    assert (start.id, start.seed, start.key, start.workflow, start.version, start.queue) == (
        *("f1", "e1#1", None),
        *("order", 2, "gpu"),
    )
    assert (start.timeout_ms, start.retention_ms) == (60_000, 9)
    assert start.attributes == (("customer", '"ann"'), ("vip", "true"))


def test_a_fork_of_a_fork_keeps_the_first_seed():
    assert fork(history(Status.COMPLETED, entry(1, "a"), seed="first"), "a").seed == "first"


def test_a_fork_from_an_open_step_has_everything_behind_it():
    assert [one.id for one in fork(history(Status.SLEEPING, entry(1, "a"), waits=(step_wait("b"),)), "b").entries] == [
        "a"
    ]


def test_a_fork_starts_children_of_its_own_for_those_whose_ends_its_origin_will_hear_of():
    """With the entry of their start alone it would wait for ends that nobody tells it."""
    found = history(
        Status.FAILED,
        entry(1, "one", kind="child", payload=encode(["c-1", "pay"])),
        entry(2, "two", kind="child", payload=encode(["c-2", "pay"])),
        entry(3, "__ended:c-1:0", "timed_out", kind="ended"),
        entry(4, "__ended:c-2:0", "timed_out", kind="ended"),
        entry(5, "__ended:c-2:1", kind="ended"),
        entry(6, "b", "failed"),
    )
    assert [one.id for one in fork(found, "b").entries] == ["two", "__ended:c-2:0", "__ended:c-2:1"]


def test_a_fork_from_nowhere_is_refused():
    with pytest.raises(UnknownStep, match=r"a \(ok\)"):
        fork(history(Status.FAILED, entry(1, "a")), "x")


# -- what is asked ------------------------------------------------------------------------------------


def test_what_rests_on_the_journal_names_its_length_and_what_does_not_does_not():
    failed = history(Status.FAILED, entry(1, "a", "failed"), escaped=("a",))
    reopened = request_of(retry_of(failed), failed, actor="ann", request="r")
    assert (reopened.entries, reopened.audit, reopened.actor) == (1, None, "ann")
    edited = request_of(skip_of(failed, "a", b""), failed, actor="ann", request="r")
    assert edited.entries == 1 and edited.audit is not None
    assert dict(edited.audit.fields) == {"action": "record", "verb": "skip_step", "step": "a", "actor": "ann"}
    live = history(Status.RUNNING, entry(1, "a"))
    assert request_of(force_fail_of(live, "why"), live, actor="ann", request="r").entries is None
