"""The status table: complete, closed, and honest about what is final."""

from __future__ import annotations

import pytest

from runner.core.status import TRANSITIONS, IllegalMove, Move, after, diagram
from runner.records import Status


def test_every_status_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_terminal_statuses_lead_nowhere_and_others_lead_to_an_end() -> None:
    for status in Status:
        reached, edge = {status}, {status}
        while edge:
            edge = {target for one in edge for target in TRANSITIONS[one].values()} - reached
            reached |= edge
        assert (reached == {status}) if status.terminal else any(one.terminal for one in reached)


@pytest.mark.parametrize("move", Move)
def test_a_move_out_of_a_terminal_status_is_refused(move: Move) -> None:
    with pytest.raises(IllegalMove, match="completed"):
        after(Status.COMPLETED, move)


def test_once_cancelling_no_end_but_cancelled_or_poisoned() -> None:
    ends = {move: target for move, target in TRANSITIONS[Status.CANCELLING].items() if target.terminal}
    assert {target for move, target in ends.items() if move not in (Move.POISON, Move.COMPLETE)} == {Status.CANCELLED}


def test_the_diagram_draws_every_move() -> None:
    drawn = diagram()
    for status, moves in TRANSITIONS.items():
        for move, target in moves.items():
            assert f"{status} --> {target}: {move}" in drawn
