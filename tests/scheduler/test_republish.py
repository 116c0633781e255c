"""A lost hint is sent again, also from under a backlog; a backlog does not breed copies."""

from __future__ import annotations

from runner.scheduler.republish import PATIENCE, Backlog
from runner.transactions import Wake


def wake(id: str, queue: str = "q") -> Wake:
    return Wake(id=id, queue=queue, workflow="w", version=1, seq=1)


WAKES = [wake("a"), wake("b")]


def test_an_empty_or_missing_queue_has_lost_everything() -> None:
    backlog = Backlog()
    backlog.heard(0, {"q": 2})
    assert backlog.lost(WAKES, {"q": 0}) == WAKES
    assert backlog.lost(WAKES, {"q": None}) == WAKES


def test_a_backlog_breeds_no_copies() -> None:
    backlog = Backlog()
    backlog.heard(0, {"q": 100})
    backlog.heard(1, {"q": 100})
    assert backlog.lost(WAKES, {"q": 150}) == []


def test_the_whole_queue_is_compared_not_one_partition_of_it() -> None:
    backlog = Backlog()
    for partition in range(16):
        backlog.heard(partition, {"q": 10})
    assert backlog.lost(WAKES, {"q": 50}) == WAKES


def test_a_hint_lost_under_a_backlog_is_sent_again_less_and_less_often() -> None:
    backlog = Backlog()
    backlog.heard(0, {"q": 10})
    again = [look for look in range(1, 20) if backlog.lost([wake("a")], {"q": 10})]
    assert again == [PATIENCE, 2 * PATIENCE, 4 * PATIENCE]
