"""Hints and events over RabbitMQ, 3.10 or later. The only package that knows the AMQP library.

Three connections: one publishes, one consumes (each call of ``consume`` and ``listen`` its own), one asks questions and is
dialled by the first. None is ever repaired: at the first doubt it is dropped for a new one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from runner.broker import Consumer, DeadLetter, Handler, Listening, Replayed
from runner.broker.envelope import CONTENT_TYPE, headers_of
from runner.broker.handling import check_listening, check_prefetch, handle, hear
from runner.broker.rabbitmq.address import parse_address
from runner.broker.rabbitmq.consumer import RabbitConsumer
from runner.broker.rabbitmq.dead_letters import DeadLetters
from runner.broker.rabbitmq.examiner import examine, probe
from runner.broker.rabbitmq.inspector import Inspector
from runner.broker.rabbitmq.intake import Intake
from runner.broker.rabbitmq.message import RabbitMessage
from runner.broker.rabbitmq.publisher import Post, Publisher
from runner.broker.topology import Plan, Topology, heard_by
from runner.broker.vitals import BrokerVitals
from runner.log import Logger
from runner.messages import Emission, Hint
from runner.tls import in_the_clear

__all__ = ["RabbitBroker"]

log = Logger("runner.broker")

#: Publishes under way at once in ``publish_many``.
BATCH = 256

#: Seconds between two questions whether our consumers are still known to the broker.
CHECK_EVERY = 20.0


class RabbitBroker:
    """Raises ConfigError for a URL that is none, names files that are not there, or switches the check of certificates off."""

    def __init__(self, url: str, *, namespace: str, check_every: float = CHECK_EVERY) -> None:
        self.namespace = namespace
        self._address = parse_address(url, os.environ)
        self._address.tls.check_files()
        self._check_every = check_every
        self._topology = Topology(namespace)
        self._publisher = Publisher(self._address, self._topology)
        self._inspector = Inspector(self._address)
        self._dead_letters = DeadLetters(self._address, self._topology, self._publisher, self._inspector)
        self._consumers: list[RabbitConsumer] = []

    async def open(self, queues: Sequence[str] = ()) -> None:
        if in_the_clear(self._address.url):
            log.warning(
                "broker.plaintext", url=self._address.masked, cure="use amqps://: passwords and hints can be read"
            )
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
        queues = check_prefetch(prefetch)
        names = {queue: self._topology.queue(queue) for queue in queues}
        intake = self._intake(prefetch, names, self._topology.plan(*queues))
        return await self._begin(intake, partial(handle, handler=handler))

    async def emit(self, emission: Emission) -> None:
        await self._publisher.publish(
            Post(
                exchange=self._topology.events,
                key=emission.event,
                body=emission.payload,
                headers=headers_of(emission),
                content_type=CONTENT_TYPE,
                mandatory=False,
                id=emission.id,
            )
        )

    async def listen(self, subscribers: Mapping[str, Listening]) -> Consumer:
        listening = check_listening(subscribers)
        names = {heard_by(name): self._topology.subscription(name) for name in subscribers}
        plan = self._topology.plan_listening({name: one.events for name, one in subscribers.items()})
        intake = self._intake({queue: one.prefetch for queue, one in listening.items()}, names, plan)
        return await self._begin(intake, lambda message: hear(message, listening[message.queue]))

    async def depth(self, queue: str) -> int | None:
        return await self._inspector.depth(self._topology.queue(queue))

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        return await self._dead_letters.look(limit)

    async def orphans(self) -> int:
        return await self._inspector.depth(self._topology.orphans) or 0

    async def replay(self, limit: int) -> Replayed:
        return await self._dead_letters.replay(limit)

    async def discard(self, limit: int, chosen: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
        return await self._dead_letters.discard(limit, chosen)

    async def vitals(self, queues: Sequence[str]) -> BrokerVitals:
        return await examine(self._address, self._topology, queues)

    async def takes_messages(self) -> bool | None:
        return await probe(self._address, self._topology)

    async def _publish_batch(self, hints: Sequence[tuple[str, Hint]]) -> list[BaseException | None]:
        posts = (self._publisher.publish(self._post(queue, hint)) for queue, hint in hints)
        return await asyncio.gather(*posts, return_exceptions=True)

    def _intake(self, prefetch: Mapping[str, int], names: Mapping[str, str], plan: Plan) -> Intake:
        return Intake(
            address=self._address,
            topology=self._topology,
            publisher=self._publisher,
            prefetch=dict(prefetch),
            names=names,
            plan=plan,
        )

    async def _begin(self, intake: Intake, take: Callable[[RabbitMessage], Coroutine[Any, Any, None]]) -> Consumer:
        consumer = RabbitConsumer(intake, take, check_every=self._check_every, on_stop=self._forget)
        await consumer.start()
        self._consumers.append(consumer)
        return consumer

    def _post(self, queue: str, hint: Hint) -> Post:
        return Post(exchange=self._topology.work, key=queue, body=hint.encode(), queues=(queue,))

    def _forget(self, consumer: RabbitConsumer) -> None:
        if consumer in self._consumers:
            self._consumers.remove(consumer)
