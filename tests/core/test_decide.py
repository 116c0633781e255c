"""Which of several things that came about a workflow hears first."""

from __future__ import annotations

from typing import Any

from runner.core.commands import Opened, Sleep, WaitForEnd, WaitForSignal
from runner.core.decide import Event, events
from runner.records import InboxItem, Notice

HERE = ("flow.py", 1)


def wait(id: str, signal: str = "go") -> Opened:
    return Opened(id, WaitForSignal(id=id, where=HERE, signal=signal, payload_type=Any, timeout_ms=None))


def sleep(id: str) -> Opened:
    return Opened(id, Sleep(id=id, where=HERE, after_ms=1))


def item(index: int, at: int, kind: str = "signal", name: str = "go") -> InboxItem:
    return InboxItem(index=index, at=at, kind=kind, name=name, payload=b"%d" % index)


def next_event(*asked: Any, now: int) -> Event | None:
    return next(iter(events(*asked, now=now)), None)


def test_nothing_has_come_about() -> None:
    assert next_event([wait("w"), sleep("s")], {"w": 50, "s": 60}, [], now=49) is None


def test_a_signal_at_the_deadline_beats_the_timeout_however_late_anybody_looks() -> None:
    event = next_event([wait("w")], {"w": 50}, [item(0, at=50)], now=1000)
    assert event is not None and (event.outcome, event.consumes) == ("ok", 0)


def test_a_signal_after_the_deadline_stays_in_the_inbox() -> None:
    event = next_event([wait("w")], {"w": 50}, [item(0, at=51)], now=1000)
    assert event is not None and (event.outcome, event.consumes) == ("timed_out", -1)


def test_a_late_signal_goes_to_a_wait_that_still_waits() -> None:
    event = next_event([wait("old"), wait("new")], {"old": 50, "new": None}, [item(0, at=51)], now=51)
    assert event is not None and (event.id, event.outcome) == ("old", "timed_out")
    event = next_event([wait("new")], {"new": None}, [item(0, at=51)], now=51)
    assert event is not None and (event.id, event.consumes) == ("new", 0)


def test_the_wait_that_was_opened_first_gets_the_signal() -> None:
    event = next_event([wait("a"), wait("b")], {"b": None}, [item(3, at=5)], now=9)
    assert event is not None and (event.id, event.consumes, event.payload) == ("a", 3, b"3")


def test_a_signal_nobody_waits_for_holds_up_none_behind_it() -> None:
    event = next_event([wait("w")], {}, [item(0, at=1, name="other"), item(1, at=2)], now=9)
    assert event is not None and event.consumes == 1


def test_what_came_about_first_is_heard_first() -> None:
    opened = [sleep("s"), wait("w")]
    first = next_event(opened, {"s": 10, "w": None}, [item(0, at=11)], now=20)
    assert first is not None and first.id == "s"
    first = next_event(opened, {"s": 12, "w": None}, [item(0, at=11)], now=20)
    assert first is not None and first.id == "w"


def test_a_cancel_takes_its_place_in_the_order() -> None:
    cancel = item(1, at=6, kind="cancel", name="")
    first = next_event([wait("w")], {}, [item(0, at=5), cancel], now=9)
    assert first is not None and first.kind == "signal"
    first = next_event([], {}, [cancel], now=9)
    assert first is not None and (first.kind, first.consumes) == ("cancel", 1)


def test_the_earliest_deadline_first() -> None:
    event = next_event([sleep("late"), sleep("early")], {"late": 9, "early": 8}, [], now=10)
    assert event is not None and event.id == "early"


def test_in_the_deadlines_own_millisecond_a_signal_may_still_come() -> None:
    assert next_event([wait("w")], {"w": 50}, [], now=50) is None
    event = next_event([sleep("s")], {"s": 50}, [], now=50)
    assert event is not None
    assert event.id == "s"


def test_each_item_goes_to_a_wait_of_its_own_in_order() -> None:
    heard = events([wait("a"), wait("b")], {}, [item(0, at=1), item(1, at=2), item(2, at=3)], now=9)
    assert [(event.id, event.consumes) for event in heard] == [("a", 0), ("b", 1)]


def test_many_that_come_at_once_cost_no_more_each() -> None:
    opened = [sleep(f"s{number}") for number in range(10_000)]
    heard = events(opened, {one.id: number for number, one in enumerate(opened)}, [], now=20_000)
    assert [event.id for event in heard] == [one.id for one in opened]


# -- ends of other executions -----------------------------------------------------------------------------


def end(id: str, *, child: str | None = None, workflow: str = "order") -> Opened:
    return Opened(
        id,
        WaitForEnd(
            id=id, where=HERE, execution_id="e", workflow=workflow, output_type=Any, timeout_ms=None, child=child
        ),
    )


def told(index: int, at: int, status: str = "completed", workflow: str = "order") -> InboxItem:
    notice = Notice(execution_id="e", status=status, workflow=workflow)
    return InboxItem(index=index, at=at, kind="ended", name="e", payload=notice.pack())


def heard_by(wait: Opened, *items: InboxItem, since: int | None = None) -> list[bytes]:
    asked_at = {} if since is None else {wait.id: since}
    return [event.payload for event in events([wait], {}, items, 99, asked_at)]


def test_who_asks_for_an_end_hears_the_latest_answer_and_none_that_is_older_than_the_question() -> None:
    before, first, second = told(0, at=9), told(1, at=10, status="failed"), told(2, at=11, status="cancelled")
    assert heard_by(end("w"), before) == []
    assert heard_by(end("w"), before, since=10) == []
    assert heard_by(end("w"), before, first, since=10) == [first.payload]
    assert heard_by(end("w"), before, first, second, since=10) == [second.payload]


def test_a_childs_end_may_have_come_before_anybody_waited() -> None:
    assert heard_by(end("w", child="c"), told(0, at=1)) == [told(0, at=1).payload]


def test_that_another_waiter_was_mistaken_in_the_workflow_is_no_answer_to_this_one() -> None:
    mistaken, over = told(0, at=5, status="mismatch"), told(1, at=6)
    assert heard_by(end("w"), mistaken, since=1) == []
    assert heard_by(end("w", workflow="other"), mistaken, since=1) == [mistaken.payload]
    assert heard_by(end("w"), over, mistaken, since=1) == [over.payload]
