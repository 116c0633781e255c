"""How much of each fault: in the short run of the test suite, and in a long one by the minute."""

from __future__ import annotations

from collections.abc import Mapping

#: Every fault at least once; so few of what makes processes begin anew that it takes half a minute.
SHORT: Mapping[str, int] = {
    "worker.kill": 1,
    "worker.kill_at_work": 1,
    "worker.stop": 1,
    "worker.stop_at_work": 1,
    "worker.leave": 1,
    "scheduler.kill": 1,
    "scheduler.stop": 1,
    "scheduler.leave": 1,
    "producer.kill": 1,
    "producer.stop": 1,
    "redis.kill": 1,
    "redis.stall": 1,
    "redis.forget_scripts": 1,
    "redis.full": 1,
    "redis.replica": 1,
    "redis.drop_clients": 1,
    "redis.drop_listeners": 1,
    "rabbit.kill": 1,
    "rabbit.alarm": 1,
    "rabbit.close": 1,
    "rabbit.purge": 1,
    "rabbit.delete": 1,
    "way.lose_replies": 6,
    "way.cut": 2,
    "way.refuse": 1,
    "way.stall": 1,
    "way.deafen": 1,
    "way.mute": 1,
    "way.slow": 1,
    "hints.held": 2,
    "hints.duplicates": 3,
    "hints.forged": 1,
    "hints.garbage": 1,
}

PER_MINUTE: Mapping[str, float] = {
    "worker.kill": 3,
    "worker.kill_at_work": 3,
    "worker.stop": 1,
    "worker.stop_at_work": 1,
    "worker.leave": 1,
    "scheduler.kill": 1.5,
    "scheduler.stop": 1,
    "scheduler.leave": 0.5,
    "producer.kill": 1.5,
    "producer.stop": 1,
    "redis.kill": 0.7,
    "redis.stall": 0.7,
    "redis.forget_scripts": 0.5,
    "redis.full": 0.5,
    "redis.replica": 0.5,
    "redis.drop_clients": 0.7,
    "redis.drop_listeners": 0.7,
    "rabbit.kill": 0.4,
    "rabbit.alarm": 0.4,
    "rabbit.close": 0.5,
    "rabbit.purge": 0.5,
    "rabbit.delete": 0.4,
    "way.lose_replies": 4,
    "way.cut": 2,
    "way.refuse": 0.7,
    "way.stall": 1,
    "way.deafen": 0.7,
    "way.mute": 0.7,
    "way.slow": 0.7,
    "hints.held": 2,
    "hints.duplicates": 3,
    "hints.forged": 1,
    "hints.garbage": 1,
}


def mixed(minutes: float) -> dict[str, int]:
    """All faults, at least once each, for a run of so many minutes."""
    return {fault: max(1, round(rate * minutes)) for fault, rate in PER_MINUTE.items()}
