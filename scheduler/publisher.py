"""Publishing what time has made ready, no faster than the broker can bear."""

from __future__ import annotations

from collections.abc import Sequence

from runner.broker import Broker
from runner.errors import BrokerUnavailable
from runner.log import Logger
from runner.messages import Hint
from runner.transactions import Wake

log = Logger("runner.scheduler")


class Publisher:
    """Hints for wakes. What the broker does not take stays a ready entry, and comes up again."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, wakes: Sequence[Wake]) -> int:
        """How many were confirmed."""
        if not wakes:
            return 0
        hints = [(wake.queue, Hint(wake.id, wake.workflow, wake.version, wake.seq)) for wake in wakes]
        try:
            return await self._broker.publish_many(hints)
        except BrokerUnavailable as error:
            log.warning("hint.left_to_outbox", hints=len(hints), error=str(error))
            return 0

    async def depth(self, queue: str) -> int | None:
        """Hints that wait in the queue: None when that cannot be told, or the queue is gone."""
        try:
            return await self._broker.depth(queue)
        except BrokerUnavailable:
            return None
