"""A lost hint is sent again, also from under a backlog; a backlog does not breed copies."""

from __future__ import annotations

from runner.broker.memory import MemoryBroker
from runner.errors import BrokerUnavailable
from runner.scheduler.publisher import NoDepth, Publisher
from runner.scheduler.republish import BACKOFF_MS, PATIENCE, Backlog
from runner.transactions import Wake


def wake(id: str, queue: str = "q", seq: int = 1) -> Wake:
    return Wake(id=id, queue=queue, workflow="w", version=1, seq=seq)


NOW = 1_700_000_000_000
WAKES = [wake("a"), wake("b")]


def test_an_empty_or_missing_queue_has_lost_everything() -> None:
    backlog = Backlog()
    backlog.heard(0, {"q": 2}, NOW)
    assert backlog.lost(WAKES, {"q": 0}, NOW) == WAKES
    assert backlog.lost(WAKES, {"q": NoDepth.MISSING}, NOW) == WAKES


def test_a_backlog_breeds_no_copies() -> None:
    backlog = Backlog()
    backlog.heard(0, {"q": 100}, NOW)
    backlog.heard(1, {"q": 100}, NOW)
    assert backlog.lost(WAKES, {"q": 150}, NOW) == []


def test_the_whole_queue_is_compared_not_one_partition_of_it() -> None:
    backlog = Backlog()
    for partition in range(16):
        backlog.heard(partition, {"q": 10}, NOW)
    assert backlog.lost(WAKES, {"q": 50}, NOW) == WAKES


def test_a_hint_lost_under_a_backlog_is_sent_again_less_and_less_often() -> None:
    backlog = Backlog()
    backlog.heard(0, {"q": 10}, NOW)
    again = [look for look in range(1, 20) if backlog.lost([wake("a")], {"q": 10}, NOW)]
    assert again == [PATIENCE, 2 * PATIENCE, 4 * PATIENCE]


def test_a_depth_that_was_not_told_is_no_sign_of_loss_but_patience_still_ends() -> None:
    backlog = Backlog()
    backlog.heard(0, {"q": 10}, NOW)
    again = [look for look in range(1, 10) if backlog.lost([wake("a")], {"q": NoDepth.UNTOLD}, NOW)]
    assert again == [PATIENCE, 2 * PATIENCE]


def test_looks_are_counted_for_one_readiness_of_an_execution() -> None:
    backlog = Backlog()
    backlog.heard(0, {"q": 10}, NOW)
    for seq in range(2 * PATIENCE):
        assert backlog.lost([wake("a", seq=seq)], {"q": 10}, NOW) == []


def test_a_partition_heard_long_ago_no_longer_counts() -> None:
    backlog = Backlog()
    backlog.heard(1, {"q": 1_000}, NOW)
    later = NOW + 2 * BACKOFF_MS
    backlog.heard(0, {"q": 2}, later)
    assert backlog.lost(WAKES, {"q": 2}, later) == WAKES
    assert backlog.lost(WAKES, {"q": 2}, later + 1) == []


def test_a_partition_with_nothing_ready_no_longer_counts() -> None:
    backlog = Backlog()
    backlog.heard(1, {"q": 1_000}, NOW)
    backlog.heard(0, {"q": 2}, NOW)
    backlog.forget(1)
    assert backlog.lost(WAKES, {"q": 2}, NOW) == []


async def test_a_missing_queue_is_told_from_a_broker_that_does_not_say() -> None:
    class Mute(MemoryBroker):
        async def depth(self, queue: str) -> int | None:
            raise BrokerUnavailable("no answer in time")

    assert await Publisher(MemoryBroker("n")).depth("q") is NoDepth.MISSING
    assert await Publisher(Mute("n")).depth("q") is NoDepth.UNTOLD
