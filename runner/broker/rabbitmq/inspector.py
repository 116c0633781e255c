"""Questions about queues, asked on a connection of their own: an answer may cost it, and nobody else minds."""

from __future__ import annotations

from aiormq.exceptions import ChannelNotFoundEntity

from runner.broker.rabbitmq.address import Address
from runner.broker.rabbitmq.keeper import Keeper
from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, bounded


class Inspector:
    """Counts; changes nothing."""

    def __init__(self, address: Address) -> None:
        self._keeper = Keeper(address, "inspector")

    def reopen(self) -> None:
        self._keeper.reopen()

    async def close(self) -> None:
        await self._keeper.close()

    async def depth(self, name: str) -> int | None:
        """Messages that wait in the queue of this name; None when there is no such queue."""
        async with self._keeper.using("ask") as link:
            try:
                async with link.spare() as channel:
                    found = await bounded(ANSWER_TIMEOUT, channel.queue_declare(name, passive=True))
                    return found.message_count or 0
            except ChannelNotFoundEntity:
                return None
