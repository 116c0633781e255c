"""Dead letters: looked at, given back to the queues that they came from, or thrown away.

They are fetched on a link of their own; what is not acknowledged goes back when it closes, behind those not looked at.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from runner.broker import DeadLetter, Replayed
from runner.broker.envelope import CONTENT_TYPE
from runner.broker.handling import no_use_of
from runner.broker.rabbitmq.address import Address
from runner.broker.rabbitmq.inspector import Inspector
from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, Link, bounded, dial, translated
from runner.broker.rabbitmq.message import MESSAGE_ID, QUEUE, REASON
from runner.broker.rabbitmq.publisher import Post, Publisher
from runner.broker.topology import Topology, subscriber_of
from runner.errors import ConfigError
from runner.log import Logger

log = Logger("runner.broker")

#: What a message carries only for as long as it is dead.
_OF_THE_DEAD = frozenset({REASON, QUEUE, MESSAGE_ID})


class DeadLetters:
    """Those of one namespace."""

    def __init__(self, address: Address, topology: Topology, publisher: Publisher, inspector: Inspector) -> None:
        self._address = address
        self._topology = topology
        self._publisher = publisher
        self._inspector = inspector

    async def look(self, limit: int) -> list[DeadLetter]:
        """As ``Broker.dead_letters``."""
        messages: list[DeliveredMessage] = []
        unreadable: list[DeadLetter] = []
        async with self._linked("look at") as link:
            try:
                async for message in self._fetched(link, limit):
                    messages.append(message)  # noqa: PERF401 - those before one that cannot be read count
            except TimeoutError:
                pass
            except ChannelAccessRefused:
                raise  # or a queue that may not be read would look like one with a message that cannot be
            except Exception as error:  # noqa: BLE001 - the library raises what it likes
                # What killed its consumers kills us as well: say that it is there, with those before it.
                said = f"cannot be read, nor what follows it: {error}"
                unreadable = [DeadLetter(queue="", reason=said, body=b"", no_use=said)]
            places = _Places(self._topology, self._inspector)
            return [*[await self._letter(message, places) for message in messages], *unreadable]

    async def replay(self, limit: int) -> Replayed:
        """As ``Broker.replay``. Confirmed at its place before it leaves the dead letters: it may be in both, never in none."""
        given_back, kept = 0, list[DeadLetter]()
        places = _Places(self._topology, self._inspector)
        async with self._linked("replay") as link:
            async for message in self._fetched(link, limit):
                letter = await self._letter(message, places)
                if letter.no_use:
                    kept.append(letter)
                    continue
                await self._publisher.publish(self._post(message, letter.queue))
                await _acknowledge(link.channel, message)
                given_back += 1
        return Replayed(given_back=given_back, kept=tuple(kept))

    async def discard(self, limit: int, chosen: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
        """As ``Broker.discard``."""
        gone: list[DeadLetter] = []
        places = _Places(self._topology, self._inspector)
        async with self._linked("discard") as link:
            async for message in self._fetched(link, limit):
                letter = await self._letter(message, places)
                if chosen(letter):
                    await _acknowledge(link.channel, message)
                    gone.append(letter)
                    log.warning("broker.dead_letter_discarded", queue=letter.queue, reason=letter.reason)
        return gone

    @asynccontextmanager
    async def _linked(self, doing: str) -> AsyncGenerator[Link]:
        with translated(self._address, f"{doing} the dead letters of"):
            link = await dial(self._address, "dead letters")
            try:
                yield link
            finally:
                await link.close()

    async def _fetched(self, link: Link, limit: int) -> AsyncGenerator[DeliveredMessage]:
        """The oldest first; none where nobody has declared the queue yet."""
        for _ in range(limit):
            try:
                message = await bounded(ANSWER_TIMEOUT, link.channel.basic_get(self._topology.dead))
            except ChannelNotFoundEntity:
                return
            if message.delivery_tag is None:
                return
            yield message

    async def _letter(self, message: DeliveredMessage, places: _Places) -> DeadLetter:
        headers: Mapping[str, object] = message.header.properties.headers or {}
        queue = _text(headers, QUEUE) or self._topology.worker_queue(_text(headers, "x-first-death-queue"))
        return DeadLetter(
            queue=queue,
            reason=_text(headers, REASON) or _text(headers, "x-first-death-reason") or "unknown",
            body=message.body,
            no_use=no_use_of(queue, message.body, lacks=await places.lacks(queue)),
        )

    def _post(self, message: DeliveredMessage, queue: str) -> Post:
        properties = message.header.properties
        subscriber = subscriber_of(queue)
        if subscriber is None:
            return Post(exchange=self._topology.work, key=queue, body=message.body, queues=(queue,))
        headers: Mapping[str, object] = properties.headers or {}
        return Post(
            exchange="",
            key=self._topology.subscription(subscriber),
            body=message.body,
            headers=_told(headers),
            content_type=CONTENT_TYPE,
            id=str(headers.get(MESSAGE_ID) or properties.message_id or ""),
        )


class _Places:
    """Whether there is a queue to go back to; each is asked for once."""

    def __init__(self, topology: Topology, inspector: Inspector) -> None:
        self._topology = topology
        self._inspector = inspector
        self._lacks: dict[str, str] = {}

    async def lacks(self, queue: str) -> str:
        """What is missing; empty for nothing. A worker queue is declared when it is not there, a subscriber's by it alone."""
        if queue not in self._lacks:
            self._lacks[queue] = await self._look(queue)
        return self._lacks[queue]

    async def _look(self, queue: str) -> str:
        subscriber = subscriber_of(queue)
        try:
            name = self._topology.queue(queue) if subscriber is None else self._topology.subscription(subscriber)
        except ConfigError as error:
            return str(error)
        if subscriber is None or await self._inspector.depth(name) is not None:
            return ""
        return f"nobody listens as {subscriber!r}: its queue is not there"


async def _acknowledge(channel: AbstractChannel, message: DeliveredMessage) -> None:
    await bounded(ANSWER_TIMEOUT, _acknowledged(channel, message))


async def _acknowledged(channel: AbstractChannel, message: DeliveredMessage) -> None:
    await channel.basic_ack(message.delivery_tag or 0)


def _told(headers: Mapping[str, object]) -> dict[str, str]:
    """What an event says of itself."""
    return {
        name: value
        for name, value in headers.items()
        if name.startswith("x-runner-") and name not in _OF_THE_DEAD and isinstance(value, str)
    }


def _text(headers: Mapping[str, object], key: str) -> str:
    value = headers.get(key, "")
    return value if isinstance(value, str) else str(value)
