"""What has changed between two looks at an execution."""

from __future__ import annotations

from dataclasses import replace

from runner.cli.views import unread
from runner.cli.watch import changes
from runner.codec import encode
from runner.records import (
    Cause,
    Entry,
    Execution,
    History,
    InboxItem,
    Status,
    Wait,
)

EXECUTION = Execution(
    id="x",
    workflow="flow",
    version=1,
    queue="default",
    status=Status.RUNNING,
    input=encode(None),
    digest="",
    key=None,
    run=1,
    attempt=1,
    crashes=0,
    created_at=0,
    started_at=0,
    ended_at=None,
    deadline=None,
    seq=1,
    worker="",
    lease_until=None,
    result=None,
    error=None,
    cause=Cause.NONE,
    reason="",
    passed="",
)
CHARGED = Entry(number=1, id="charge", kind="step", outcome="ok", payload=encode(5), at=150, started_at=50, attempts=2)
WAIT = Wait(id="approved", kind="signal", name="approved", opened_at=200, deadline=1200)
ITEM = InboxItem(index=0, at=10, kind="signal", name="approved", payload=encode("ann"))
FIRST = History(execution=EXECUTION, entries=(), waits=(), inbox=(), now=100)


def told(before, now):
    return list(changes(before, now))


def test_the_first_look_tells_the_status():
    (change,) = told(None, FIRST)
    assert (change["event"], change["status"], change["execution_id"]) == ("status", "running", "x")


def test_nothing_new_is_nothing_told():
    assert told(FIRST, replace(FIRST, now=200)) == []


def test_steps_waits_and_statuses_in_their_order():
    later = replace(
        FIRST, entries=(CHARGED,), waits=(WAIT,), execution=replace(EXECUTION, status=Status.SLEEPING), now=300
    )
    recorded, waiting, status = told(FIRST, later)
    assert (recorded["event"], recorded["id"], recorded["value"]) == ("recorded", "charge", 5)
    assert (recorded["attempts"], recorded["duration_ms"]) == (2, 100)
    assert (waiting["event"], waiting["deadline"]) == ("waiting", "1970-01-01T00:00:01.200Z")
    assert status["status"] == "sleeping"
    assert told(later, later) == []


def test_a_new_run_numbers_its_journal_afresh():
    before = replace(FIRST, entries=(CHARGED,))
    again = replace(before, execution=replace(EXECUTION, run=2))
    assert [change["event"] for change in told(before, again)] == ["recorded", "status"]


def test_what_was_not_consumed_is_unread():
    history = replace(FIRST, inbox=(ITEM, replace(ITEM, index=1)), entries=(replace(CHARGED, consumes=0),))
    assert [item.index for item in unread(history)] == [1]
