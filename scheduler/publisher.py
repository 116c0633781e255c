"""Publishing what time has made ready, no faster than the broker can bear."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from runner.broker import Broker
from runner.errors import BrokerUnavailable
from runner.log import Logger
from runner.transactions import Wake

log = Logger("runner.scheduler")


class NoDepth(Enum):
    """Why there is no number of waiting hints: only a missing queue says anything about its hints."""

    MISSING = "missing"
    UNTOLD = "untold"


Depth = int | NoDepth


class Publisher:
    """Hints for wakes. What the broker does not take stays a ready entry, and comes up again."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, wakes: Sequence[Wake]) -> int:
        """How many were confirmed."""
        if not wakes:
            return 0
        hints = [(wake.queue, wake.hint) for wake in wakes]
        try:
            return await self._broker.publish_many(hints)
        except BrokerUnavailable as error:
            log.warning("hint.left_to_outbox", hints=len(hints), error=str(error))
            return 0

    async def depth(self, queue: str) -> Depth:
        """Hints that wait in the queue, as far as the broker says."""
        try:
            found = await self._broker.depth(queue)
        except BrokerUnavailable as error:
            log.warning("depth.untold", queue=queue, error=str(error))
            return NoDepth.UNTOLD
        return NoDepth.MISSING if found is None else found
