"""The status table: complete, closed, and honest about what is final."""

from __future__ import annotations

import pytest

from runner.core.status import TRANSITIONS, IllegalMove, Move, after, diagram
from runner.records import Status


def test_every_status_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_only_an_operator_leads_out_of_an_end() -> None:
    for status in Status:
        if status.terminal:
            assert set(TRANSITIONS[status]) <= {Move.REOPEN}
        else:
            assert Move.REOPEN not in TRANSITIONS[status]
    assert TRANSITIONS[Status.COMPLETED] == {}, "what is done is done"


def test_every_status_leads_to_an_end() -> None:
    for status in Status:
        reached, edge = {status}, {status}
        while edge:
            edge = {target for one in edge for target in TRANSITIONS[one].values()} - reached
            reached |= edge
        assert any(one.terminal for one in reached)


@pytest.mark.parametrize("move", Move)
def test_a_move_out_of_what_has_completed_is_refused(move: Move) -> None:
    with pytest.raises(IllegalMove, match="completed"):
        after(Status.COMPLETED, move)


def test_once_cancelling_other_ends_are_those_that_nobody_may_miss() -> None:
    """Poison, an operator's force and a failed compensation are told as what they are; all else ends as cancelled."""
    ends = {move: target for move, target in TRANSITIONS[Status.CANCELLING].items() if target.terminal}
    others = {move: target for move, target in ends.items() if target is not Status.CANCELLED}
    assert others == {
        Move.POISON: Status.FAILED,
        Move.FORCE_FAIL: Status.FAILED,
        Move.FAIL_COMPENSATION: Status.COMPENSATION_FAILED,
    }
    assert {Move.COMPLETE, Move.FAIL, Move.RETRY, Move.TIME_OUT, Move.END_CANCELLED} <= set(ends)


def test_the_diagram_draws_every_move() -> None:
    drawn = diagram()
    for status, moves in TRANSITIONS.items():
        for move, target in moves.items():
            assert f"{status} --> {target}: {move}" in drawn
