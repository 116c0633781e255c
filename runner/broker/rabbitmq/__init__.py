"""Hints over RabbitMQ, 3.10 or later. The only package that knows the AMQP library.

Three connections: one publishes, one consumes (each call of ``consume`` its own), one asks questions and is
dialled by the first. None is ever repaired: at the first doubt it is dropped for a new one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from runner.broker import Consumer, DeadLetter, Handler
from runner.broker.handling import check_prefetch
from runner.broker.rabbitmq.address import parse_address
from runner.broker.rabbitmq.consumer import RabbitConsumer
from runner.broker.rabbitmq.inspector import Inspector
from runner.broker.rabbitmq.publisher import Post, Publisher
from runner.broker.topology import Topology
from runner.messages import Hint

__all__ = ["RabbitBroker"]

#: Publishes under way at once in ``publish_many``.
BATCH = 256

#: Seconds between two questions whether our consumers are still known to the broker.
CHECK_EVERY = 20.0


class RabbitBroker:
    """Raises ConfigError for a URL that is none, or that switches the check of certificates off."""

    def __init__(self, url: str, *, namespace: str, check_every: float = CHECK_EVERY) -> None:
        self.namespace = namespace
        self._address = parse_address(url, os.environ)
        self._check_every = check_every
        self._topology = Topology(namespace)
        self._publisher = Publisher(self._address, self._topology)
        self._inspector = Inspector(self._address, self._topology)
        self._consumers: list[RabbitConsumer] = []

    async def open(self, queues: Sequence[str] = ()) -> None:
        self._inspector.reopen()
        await self._publisher.open(*queues)

    async def close(self) -> None:
        for consumer in tuple(self._consumers):
            await consumer.stop()
        await self._publisher.close()
        await self._inspector.close()

    async def publish(self, queue: str, hint: Hint) -> None:
        await self._publisher.publish(self._post(queue, hint))

    async def publish_many(self, hints: Sequence[tuple[str, Hint]]) -> int:
        confirmed = 0
        for start in range(0, len(hints), BATCH):
            outcomes = await self._publish_batch(hints[start : start + BATCH])
            confirmed += sum(outcome is None for outcome in outcomes)
            failures = [outcome for outcome in outcomes if outcome is not None]
            if failures and not confirmed:
                raise failures[0]
            if len(failures) == len(outcomes):
                break  # it is away: the rest would take a timeout each to find the same
        return confirmed

    async def consume(self, prefetch: Mapping[str, int], handler: Handler) -> Consumer:
        check_prefetch(prefetch)
        consumer = RabbitConsumer(
            self._address,
            self._topology,
            self._publisher,
            prefetch,
            handler,
            check_every=self._check_every,
            on_stop=self._forget,
        )
        await consumer.start()
        self._consumers.append(consumer)
        return consumer

    async def depth(self, queue: str) -> int | None:
        return await self._inspector.depth(self._topology.queue(queue))

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        return await self._inspector.dead_letters(limit)

    async def orphans(self) -> int:
        return await self._inspector.depth(self._topology.orphans) or 0

    async def _publish_batch(self, hints: Sequence[tuple[str, Hint]]) -> list[BaseException | None]:
        posts = (self._publisher.publish(self._post(queue, hint)) for queue, hint in hints)
        return await asyncio.gather(*posts, return_exceptions=True)

    def _post(self, queue: str, hint: Hint) -> Post:
        return Post(exchange=self._topology.work, key=queue, body=hint.encode(), queue=queue)

    def _forget(self, consumer: RabbitConsumer) -> None:
        if consumer in self._consumers:
            self._consumers.remove(consumer)
