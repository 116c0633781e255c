"""The consumers of one link, from its dialling to its loss. A session is never repaired: the next one replaces it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial

from aiormq import spec
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity

from runner.broker.rabbitmq.address import Address
from runner.broker.rabbitmq.declare import declare
from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, Link, bounded, dial, in_words, translated
from runner.broker.topology import Topology

#: Called with the link, the worker queue and the message; must not wait.
Receive = Callable[[Link, str, DeliveredMessage], None]


class Session:
    """Consumes when told to, and knows when it has become useless: ``link.lost``."""

    def __init__(self, link: Link, topology: Topology, prefetch: Mapping[str, int], receive: Receive) -> None:
        self.link = link
        self._topology = topology
        self._prefetch = prefetch
        self._receive = receive
        self._tags: dict[str, str] = {}
        self._changing = asyncio.Lock()
        link.channel.on_consumer_cancel_callbacks.add(self._on_server_cancel)

    @property
    def consuming(self) -> bool:
        return self.link.alive and len(self._tags) == len(self._prefetch)

    async def switch(self, on: bool) -> None:
        """Consume, or cease to with the channel kept open. A failure is not raised: it ends the session."""
        async with self._changing:
            try:
                await (self._consume() if on else self._cease())
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the session
                self.link.lose(in_words(error))
            except BaseException:
                self.link.lose("cancelled in the middle of a request")
                raise

    async def check(self) -> None:
        """Ask the broker whether our queues are there and consumed; if not, the session is over."""
        try:
            async with self.link.spare() as channel:
                for queue in tuple(self._tags):
                    name = self._topology.queue(queue)
                    found = await bounded(ANSWER_TIMEOUT, channel.queue_declare(name, passive=True))
                    if not found.consumer_count and queue in self._tags:
                        self.link.lose(f"nobody consumes queue {name!r} any more")
        except ChannelNotFoundEntity:
            self.link.lose("a queue is missing")
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the session
            self.link.lose(in_words(error))

    async def watch(self, every: float) -> str:
        """Check from time to time, not at the same moment as other workers; returns why the session was lost."""
        while self.link.alive:
            spread = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            await asyncio.wait({self.link.lost}, timeout=every * spread)
            if self.link.alive:
                await self.check()
        return self.link.lost.result()

    async def close(self) -> None:
        """No more deliveries, then goodbye: what was not settled goes back."""
        if self.link.alive:
            await self.switch(False)
        await self.link.close()

    async def _consume(self) -> None:
        for queue, count in self._prefetch.items():
            if queue not in self._tags:
                # Applies to the consumers that start after it, each by itself.
                await bounded(ANSWER_TIMEOUT, self.link.channel.basic_qos(prefetch_count=count))
                callback = partial(self._hand_over, queue)
                name = self._topology.queue(queue)
                started = await bounded(ANSWER_TIMEOUT, self.link.channel.basic_consume(name, callback))
                self._tags[queue] = str(started.consumer_tag)

    async def _cease(self) -> None:
        while self._tags:
            _, tag = self._tags.popitem()
            await bounded(ANSWER_TIMEOUT, self.link.channel.basic_cancel(tag))

    async def _hand_over(self, queue: str, message: DeliveredMessage) -> None:
        """The library's callback. It cancels its callbacks when the channel closes, so nothing is done in here."""
        self._receive(self.link, queue, message)

    def _on_server_cancel(self, frame: spec.Basic.Cancel) -> None:
        self.link.lose(f"the server cancelled consumer {frame.consumer_tag}: was its queue deleted?")


async def begin(
    address: Address, topology: Topology, prefetch: Mapping[str, int], receive: Receive, consuming: Callable[[], bool]
) -> Session:
    """A session that consumes, if it is to. Raises BrokerUnavailable or ConfigError."""
    with translated(address, "consume from"):
        link = await dial(address, "consumer")
        try:
            await declare(link, topology.plan(*prefetch))
            session = Session(link, topology, prefetch, receive)
            await session.switch(consuming())
            if not link.alive:
                raise ConnectionError(link.lost.result())
        except BaseException:
            link.drop()
            raise
        return session
