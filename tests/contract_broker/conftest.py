from __future__ import annotations

from collections.abc import AsyncIterator

import aio_pika
import pytest

from runner.broker import Broker
from runner.broker.memory import MemoryBroker
from runner.broker.rabbitmq import RabbitBroker
from runner.broker.topology import Topology
from tests.contract_broker.helpers import NEVER, Inject, Open


@pytest.fixture(params=["memory", "rabbitmq"])
def unopened(request: pytest.FixtureRequest, namespace: str) -> Broker:
    if request.param == "memory":
        return MemoryBroker(namespace)
    return RabbitBroker(request.getfixturevalue("rabbit_url"), namespace=namespace)


@pytest.fixture
async def broker(unopened: Broker) -> AsyncIterator[Broker]:
    """Each broker in turn, opened, with the queues `orders` and `mails`."""
    await unopened.open(["orders", "mails"])
    yield unopened
    await unopened.close()


@pytest.fixture
def inject(request: pytest.FixtureRequest, broker: Broker) -> Inject:
    """Puts raw bytes into a queue (``on:<subscriber>``: of events), past everything that encodes."""
    if isinstance(broker, MemoryBroker):

        async def put(queue: str, body: bytes) -> None:
            broker.inject(queue, body)

        return put

    async def publish(queue: str, body: bytes) -> None:
        topology = Topology(broker.namespace)
        name = topology.subscription(queue[3:]) if queue.startswith("on:") else topology.queue(queue)
        async with await aio_pika.connect(request.getfixturevalue("rabbit_url")) as connection:
            channel = await connection.channel()
            await channel.default_exchange.publish(aio_pika.Message(body), name)

    return publish


@pytest.fixture
async def opened(namespace: str) -> AsyncIterator[Open]:
    """Opens brokers in the test's namespace and closes them at its end."""
    brokers: list[RabbitBroker] = []

    async def open_(url: str, *, check_every: float = NEVER) -> RabbitBroker:
        broker = RabbitBroker(url, namespace=namespace, check_every=check_every)
        brokers.append(broker)
        await broker.open(["orders"])
        return broker

    yield open_
    for broker in brokers:
        await broker.close()


@pytest.fixture
def topology(namespace: str) -> Topology:
    return Topology(namespace)
