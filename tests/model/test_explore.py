"""The search itself, on worlds small enough to see through."""

from __future__ import annotations

from tests.model.explore import explore


def count(limit, steps, fault=0):
    """Counting up by ``steps``; the step ``fault`` is one."""

    def moves(state):
        for step in steps:
            if state + step <= limit:
                yield f"+{step}", step == fault, state + step

    return moves


def test_all_states_and_moves_are_seen():
    report = explore(0, count(10, (1, 2)), lambda _: "", lambda state: state == 10)
    assert (report.states, report.transitions, report.finding) == (11, 19, None)


def test_what_is_wrong_is_shown_by_a_shortest_way():
    report = explore(0, count(10, (1, 3)), lambda state: "seven" if state == 7 else "", lambda state: state == 10)
    assert report.finding is not None
    assert (report.finding.what, len(report.finding.way), report.finding.state) == ("seven", 3, 7)
    assert str(report.finding).startswith("seven, after\n   1. +")


def test_a_state_from_which_no_end_is_reached_is_stuck():
    report = explore(0, count(10, (3, 5)), lambda _: "", lambda state: state == 10)
    assert report.finding is not None and report.finding.way == ("+3",)  # 3, 6, 9 and 8 miss it


def test_a_fault_is_no_way_out():
    report = explore(0, count(10, (3, 5), fault=5), lambda _: "", lambda state: state == 10)
    assert report.finding is not None and report.finding.way == ()
    assert explore(0, count(10, (1, 5), fault=5), lambda _: "", lambda state: state == 10).finding is None


def test_going_round_in_circles_is_no_end():
    def moves(state):
        yield "round", False, (state + 1) % 3
        yield "out", True, 3

    assert explore(0, moves, lambda _: "", lambda state: state == 3).finding is not None
