"""What a RabbitMQ server says of itself and of the topology, asked on a connection that is gone afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from aiormq import spec
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed

from runner.broker.rabbitmq.address import Address
from runner.broker.rabbitmq.declare import declared, looked_for
from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, Link, bounded, dial, translated
from runner.broker.topology import Exchange, Queue, Topology
from runner.broker.vitals import BrokerVitals, Drift, QueueVitals

#: Seconds for the confirmation of a message that goes nowhere: it needs no disk.
PROBE_TIMEOUT = 4.0


@dataclass(slots=True)
class _Examination:
    """What one look at the topology has found so far; ``counts`` are messages and consumers by the queue's name there."""

    link: Link
    drifts: list[Drift] = field(default_factory=list[Drift])
    missing: list[str] = field(default_factory=list[str])
    uncompared: list[str] = field(default_factory=list[str])
    counts: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    async def exchange(self, exchange: Exchange) -> None:
        if await self._is_there(exchange):
            await self._compare(exchange)

    async def queue(self, queue: Queue) -> None:
        try:
            async with self.link.spare() as channel:
                found = await bounded(ANSWER_TIMEOUT, channel.queue_declare(queue.name, passive=True))
        except ChannelNotFoundEntity:
            self.missing.append(f"queue {queue.name!r}")
            return
        self.counts[queue.name] = (found.message_count or 0, found.consumer_count or 0)
        await self._compare(queue)

    async def _is_there(self, exchange: Exchange) -> bool:
        try:
            async with self.link.spare() as channel:
                await bounded(ANSWER_TIMEOUT, looked_for(channel, exchange.name, queue=False))
        except ChannelNotFoundEntity:
            self.missing.append(f"exchange {exchange.name!r}")
            return False
        return True

    async def _compare(self, one: Exchange | Queue) -> None:
        """Declaring what is there changes nothing, and is refused where the properties differ."""
        what = f"exchange {one.name!r}" if isinstance(one, Exchange) else f"queue {one.name!r}"
        try:
            async with self.link.spare() as channel:
                await bounded(ANSWER_TIMEOUT, declared(channel, one))
        except ChannelAccessRefused:
            self.uncompared.append(what)
        except ChannelPreconditionFailed as error:
            self.drifts.append(Drift(what=what, differs=str(error)))


async def examine(address: Address, topology: Topology, queues: Sequence[str]) -> BrokerVitals:
    """Raises BrokerUnavailable."""
    with translated(address, "look at"):
        link = await dial(address, "doctor")
        try:
            found = _Examination(link)
            plan = topology.plan(*queues)
            for exchange in plan.exchanges:
                await found.exchange(exchange)
            for queue in plan.queues:
                await found.queue(queue)
        finally:
            await link.close()
    server = link.channel.connection.server_properties
    return BrokerVitals(
        kind="rabbitmq",
        name=address.masked,
        product=str(server.get("product", "")),
        version=str(server.get("version", "")),
        queues=tuple(_queue(found, name, topology.queue(name)) for name in queues),
        drifts=tuple(found.drifts),
        missing=tuple(found.missing),
        uncompared=tuple(found.uncompared),
        dead_letters=found.counts.get(topology.dead, (0, 0))[0],
        orphans=found.counts.get(topology.orphans, (0, 0))[0],
    )


async def probe(address: Address, topology: Topology) -> bool | None:
    """False when a message was not confirmed in time, None when this user may not publish. Raises BrokerUnavailable."""
    with translated(address, "look at"):
        link = await dial(address, "doctor")
        try:
            # RabbitMQ blocks a connection only once it has published: the first message passes even so.
            for _ in range(2):
                await bounded(PROBE_TIMEOUT, _publish_nowhere(link, topology))
        except TimeoutError:
            return False
        except ChannelAccessRefused:
            return None
        except ChannelNotFoundEntity:
            return True  # an answer: RabbitMQ listens to publishers, and the namespace is not declared yet
        finally:
            await link.close()
    return True


async def _publish_nowhere(link: Link, topology: Topology) -> None:
    await link.channel.basic_publish(
        b"",
        exchange=topology.work,
        routing_key=f"{topology.work}.probe.{uuid4().hex}",
        properties=spec.Basic.Properties(delivery_mode=1),
    )


def _queue(found: _Examination, queue: str, name: str) -> QueueVitals:
    waiting, consumers = found.counts.get(name, (None, 0))
    return QueueVitals(queue=queue, waiting=waiting, consumers=consumers)
