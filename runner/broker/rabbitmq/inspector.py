"""Questions about queues, asked on a connection of their own: an answer may cost it, and nobody else minds."""

from __future__ import annotations

from collections.abc import Mapping

from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from runner.broker import DeadLetter
from runner.broker.rabbitmq.address import Address
from runner.broker.rabbitmq.keeper import Keeper
from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, bounded, dial, translated
from runner.broker.rabbitmq.message import QUEUE, REASON
from runner.broker.topology import Topology


class Inspector:
    """Counts and looks; changes nothing."""

    def __init__(self, address: Address, topology: Topology) -> None:
        self._address = address
        self._topology = topology
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

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Fetched and never acknowledged: closing the link puts them back, behind those not looked at."""
        with translated(self._address, "look at the dead letters of"):
            link = await dial(self._address, "dead letters")
            try:
                return await self._look(link.channel, limit)
            finally:
                await link.close()

    async def _look(self, channel: AbstractChannel, limit: int) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        while len(found) < limit:
            try:
                message = await bounded(ANSWER_TIMEOUT, channel.basic_get(self._topology.dead))
            except (ChannelNotFoundEntity, TimeoutError):
                break
            except ChannelAccessRefused:
                raise  # or a queue that may not be read would look like one with a message that cannot be
            except Exception as error:  # noqa: BLE001 - the library raises what it likes
                # What killed its consumers kills us as well: say that it is there, with those before it.
                found.append(DeadLetter(queue="", reason=f"cannot be read, nor what follows it: {error}", body=b""))
                break
            if message.delivery_tag is None:
                break
            found.append(self._dead_letter(message))
        return found

    def _dead_letter(self, message: DeliveredMessage) -> DeadLetter:
        headers = message.header.properties.headers or {}
        return DeadLetter(
            queue=origin_of(headers, self._topology),
            reason=_text(headers, REASON) or _text(headers, "x-first-death-reason") or "unknown",
            body=message.body,
        )


def origin_of(headers: Mapping[str, object], topology: Topology) -> str:
    """The queue that a dead letter came from, empty when it does not tell."""
    return _text(headers, QUEUE) or topology.worker_queue(_text(headers, "x-first-death-queue"))


def _text(headers: Mapping[str, object], key: str) -> str:
    value = headers.get(key, "")
    return value if isinstance(value, str) else str(value)
