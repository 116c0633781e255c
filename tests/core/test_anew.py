"""What another attempt forgets of what was recorded, and how what it says differs from what was said before."""

from __future__ import annotations

import pytest

from runner.context.child import Parent, child_id
from runner.context.emissions import message_id
from runner.core.anew import mark, tried_anew
from tests.core.histories import entry


def test_what_is_named_after_its_place_is_forgotten_from_the_failure_on():
    """So is a race, which what happens decides; what was recorded before, or has an id of its own, stays."""
    entries = [
        entry(1, "__sleep:1", kind="sleep"),
        entry(2, "pay", "failed"),
        entry(3, "report"),
        entry(4, "__emit:1", kind="emit"),
        entry(5, "nap", kind="sleep"),
        entry(6, "r", kind="race"),
        entry(7, "__note:1", kind="note"),
    ]
    assert tried_anew(("pay",), entries) == ("pay", "__emit:1", "r", "__note:1")


@pytest.mark.parametrize("kind", ["patch", "attempt", "cancel"])
def test_what_no_attempt_changes_stays(kind: str):
    assert tried_anew(("pay",), [entry(1, "pay", "failed"), entry(2, "__it", kind=kind)]) == ("pay",)


@pytest.mark.parametrize("drop", [(), ("gone",)])
def test_where_no_recorded_failure_escaped_nothing_is_forgotten(drop: tuple[str, ...]):
    assert tried_anew(drop, [entry(1, "__sleep:1", kind="sleep")]) == drop


def test_marks_are_counted_and_stand_behind_everything():
    made = mark([entry(1, "a"), entry(4, "__attempt:1", kind="attempt")], error=b"e", attempt=3, at=9)
    assert (made.id, made.number, made.attempts, made.outcome) == ("__attempt:2", 5, 3, "failed")


@pytest.mark.parametrize("name", [message_id, child_id], ids=["emit", "child"])
def test_each_attempt_and_each_run_sends_under_names_of_its_own(name):
    def named(*, run: int = 1, attempt: int = 1, opening: int = 0) -> str:
        return name(Parent(execution_id="e", run=run, attempt=attempt, opening=opening), "__emit:1")

    names = {named(), named(run=2), named(attempt=2), named(opening=1), named(opening=1, attempt=2)}
    assert len(names) == 5 and named() in names
