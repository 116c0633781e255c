"""An execution as it is looked at: where it stands, what became of its steps, and that looking never fails."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.codec import encode
from runner.detail import detail_of, position_of, steps_of
from runner.errors import StepTimedOut
from runner.failures import Failure
from runner.plain import failure_of, plain
from runner.records import (
    AuditEntry,
    ChildLink,
    InboxItem,
    Notice,
    Status,
    Try,
    Wait,
    pack_tries,
)
from runner.step import StepState
from runner.watching import gained
from tests.core.histories import NOW, entry, history, sleep, step_wait

BOOM = Failure.of(ValueError("boom"), known={}, step="pay", attempts=3).pack()
GARBAGE = b"\xc1"


# -- where it stands ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "doing", "next_at"),
    [
        (history(Status.PENDING), "ready for a worker", None),
        (history(Status.RUNNING, worker="w7", lease_until=NOW + 1), "a worker has it: w7", None),
        (history(Status.PENDING, passed="no such workflow"), "pass it over: no such workflow", None),
        (history(Status.RETRYING, deadline=9_000), "pauses before its next attempt", 9_000),
        (history(Status.SLEEPING, waits=(sleep("nap"),), deadline=9_000), "sleep 'nap'", 2_000),
        (history(Status.SLEEPING, waits=(step_wait("pay"),)), "step 'pay' after 2 attempt(s)", 2_000),
        (
            history(
                Status.SLEEPING,
                waits=(
                    Wait(id="w", kind="signal", name="go", opened_at=1, deadline=None),
                    Wait(id="c", kind="ended", name="child-1", opened_at=1, deadline=None),
                ),
            ),
            "signal 'go', the end of 'child-1'",
            None,
        ),
    ],
)
def test_the_position_names_what_is_waited_for_and_until_when(found, doing, next_at):
    position = position_of(found)
    assert doing in position.doing
    assert (position.waits, position.next_at) == (found.waits, next_at)


@pytest.mark.parametrize("status", [status for status in Status if status.terminal])
def test_what_has_ended_waits_for_nothing(status):
    position = position_of(history(status, waits=(sleep("left over"),), deadline=9_000))
    assert (position.doing, position.waits, position.next_at) == (f"ended: {status}", (), None)


# -- steps --------------------------------------------------------------------------------------------


def test_steps_tell_their_attempts_durations_and_errors():
    tried = Try(attempt=1, started_at=1, ended_at=2, worker="w1", error="Boom: no")
    found = history(
        Status.SLEEPING,
        entry(1, "pay", payload=encode(7), started_at=100, at=350, tries=pack_tries((tried,))),
        entry(2, "nap", kind="sleep"),
        entry(3, "ship", "timed_out", payload=Failure.of(late(), known={}).pack()),
        entry(4, "rollback:pay", "failed", kind="compensation", payload=BOOM),
        waits=(step_wait("mail"), step_wait("long", None), sleep("nap2")),
    )
    pay, ship, undo, mail, long = steps_of(found)
    assert (pay.state, pay.value, pay.duration_ms, pay.attempts, pay.tries) == ("completed", 7, 250, 3, (tried,))
    assert ship.state == "failed" and ship.error is not None and ship.error.type.endswith("StepTimedOut")
    assert undo.kind == "compensation" and undo.error is not None and undo.error.message == "boom"
    assert (mail.state, mail.retry_at, mail.last_error, mail.duration_ms) == ("retrying", 2_000, "Boom: no", None)
    assert (long.state, long.retry_at) == ("open", None)


def test_an_open_step_tells_its_attempts_and_its_last_words():
    tried = Try(attempt=1, started_at=1, ended_at=2, worker="w1", error="Boom: no")
    state = StepState(first_at=70, tries=(tried,), beat=encode("row 7"), done=7, total=9)
    wait = replace(step_wait("long", None), details=state.pack())
    (step,) = steps_of(history(Status.RUNNING, waits=(wait,)))
    assert (step.started_at, step.tries, step.heartbeat, step.progress) == (70, (tried,), "row 7", (7, 9))
    (unreadable,) = steps_of(history(Status.RUNNING, waits=(replace(wait, details=GARBAGE),)))
    assert (unreadable.tries, unreadable.heartbeat, unreadable.progress) == ((), None, None)


def late() -> StepTimedOut:
    return StepTimedOut(step="ship", type="T", message="late", attempts=1)


# -- everything together --------------------------------------------------------------------------------


def test_a_detail_holds_everything_decoded():
    notice = Notice(execution_id="c1", status="failed", error=BOOM)
    found = history(
        Status.SLEEPING,
        entry(1, "go", kind="signal", payload=encode("now"), consumes=0),
        entry(2, "child", "failed", kind="ended", payload=notice.pack(), consumes=1),
        inbox=(
            InboxItem(index=0, at=1, kind="signal", name="go", payload=encode("now")),
            InboxItem(index=1, at=1, kind="ended", name="c1", payload=notice.pack()),
            InboxItem(index=2, at=1, kind="signal", name="more", payload=encode([1])),
        ),
    )
    link = ChildLink(execution_id="c1", policy="cancel", ended=True)
    row = AuditEntry(
        execution_id="e1", at=9, kind="note", fields={"message": "hi", "fields": encode({"by": "ann"}), "n": 1}
    )
    detail = detail_of(found, [link], [row])
    assert detail.input == "in" and detail.now == NOW and detail.children == (link,)
    assert [line.value for line in detail.journal] == [
        "now",
        {"execution_id": "c1", "status": "failed", "result": None, "error": "ValueError: boom"},
    ]
    assert [(line.item.name, line.value) for line in detail.unread] == [("more", [1])]
    assert dict(detail.audit[0].fields) == {"message": "hi", "fields": {"by": "ann"}, "n": 1}


def test_what_cannot_be_read_says_so():
    assert "cannot read" in plain(GARBAGE)
    failure = failure_of(GARBAGE)
    assert failure is not None and "cannot read" in failure.message
    assert plain(None) is None and failure_of(None) is None
    found = history(
        Status.FAILED,
        entry(1, "a", payload=GARBAGE),
        entry(2, "b", "failed", payload=GARBAGE),
        entry(3, "c", kind="ended", payload=GARBAGE),
        inbox=(InboxItem(index=0, at=1, kind="ended", name="c1", payload=GARBAGE),),
        input=GARBAGE,
        result=GARBAGE,
        error=GARBAGE,
    )
    row = AuditEntry(execution_id="e1", at=9, kind="note", fields={"fields": GARBAGE})
    detail = detail_of(found, [], [row])
    assert "cannot read" in detail.input and "cannot read" in detail.audit[0].fields["fields"]
    assert "cannot read" in detail.unread[0].value and "cannot read" in detail.journal[0].value


# -- trails -------------------------------------------------------------------------------------------


def rows(*numbers: int) -> tuple[AuditEntry, ...]:
    return tuple(AuditEntry(execution_id="e1", at=number, kind="note", fields={}) for number in numbers)


@pytest.mark.parametrize(
    ("known", "trail", "more"),
    [
        ((), (1, 2), (1, 2)),
        ((1, 2), (1, 2), ()),
        ((1, 2), (1, 2, 3), (3,)),
        ((1, 2, 2), (1, 2, 2, 2), (2,)),
        ((1, 2, 3), (3, 4, 5), (4, 5)),
        ((1, 2), (7, 8), (7, 8)),
    ],
)
def test_each_line_of_a_trail_is_gained_once_also_when_the_oldest_have_gone(known, trail, more):
    assert tuple(gained(rows(*known), rows(*trail))) == rows(*more)
