"""The broker of a test: whatever queue an execution is started for, the one worker there is takes it."""

from __future__ import annotations

from runner.broker.memory import MemoryBroker
from runner.messages import Hint

QUEUE = "default"


class KitBroker(MemoryBroker):
    """One queue for all."""

    async def publish(self, queue: str, hint: Hint) -> None:  # noqa: ARG002 - that is the point
        await super().publish(QUEUE, hint)
