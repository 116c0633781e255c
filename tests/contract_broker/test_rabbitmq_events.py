"""What only a real RabbitMQ can do to events: lose the queue or the connection, or give up on one by itself."""

from __future__ import annotations

import asyncio

import pytest

from runner.broker import Listening
from runner.broker.rabbitmq import RabbitBroker
from runner.broker.rabbitmq.consumer import RabbitConsumer
from runner.broker.topology import Topology
from runner.messages import Emission
from tests.contract_broker.helpers import Open, eventually, raw_channel


def emission(number: int = 1) -> Emission:
    return Emission(id=f"e-{number}", event="paid", payload=b"7", execution_id="x-1", workflow="orders", at=1)


class Ear:
    def __init__(self) -> None:
        self.ids: list[str] = []

    async def __call__(self, heard: Emission) -> None:
        self.ids.append(heard.id)


async def listen(broker: RabbitBroker, ear: object) -> RabbitConsumer:
    consumer = await broker.listen({"mailer": Listening(events=("paid",), prefetch=1, listener=ear)})
    assert isinstance(consumer, RabbitConsumer)
    return consumer


async def test_a_subscriber_whose_queue_was_deleted_makes_it_again_and_binds_it(
    rabbit_url: str, opened: Open, topology: Topology
) -> None:
    broker, ear = await opened(rabbit_url), Ear()
    consumer = await listen(broker, ear)
    assert consumer._session is not None
    lost = consumer._session.link.lost
    async with raw_channel(rabbit_url) as channel:
        await channel.queue_delete(topology.subscription("mailer"))
    await asyncio.wait_for(lost, 30)
    await eventually(lambda: consumer.consuming, "it listens again")
    await broker.emit(emission())
    await eventually(lambda: ear.ids == ["e-1"], "it hears again")


async def test_an_event_that_was_being_heard_when_the_connection_went_is_heard_again(
    rabbit_url: str, opened: Open
) -> None:
    broker = await opened(rabbit_url)
    began, go_on = asyncio.Queue[str](), asyncio.Event()

    async def slow(heard: Emission) -> None:
        began.put_nowait(heard.id)
        await go_on.wait()

    consumer = await listen(broker, slow)
    await broker.emit(emission())
    assert await asyncio.wait_for(began.get(), 30) == "e-1"
    assert consumer._session is not None
    await consumer._session.link.channel.basic_ack(4711)  # an unknown delivery: the server closes the channel
    assert await asyncio.wait_for(began.get(), 30) == "e-1"
    go_on.set()
    await broker.emit(emission(2))
    assert await asyncio.wait_for(began.get(), 30) == "e-2"


async def test_what_the_broker_gave_up_on_says_whose_it_was(
    rabbit_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.broker.topology.DELIVERY_LIMIT", 1)
    monkeypatch.setattr("runner.broker.handling.REQUEUE_PAUSE", 0.01)

    async def fails(heard: Emission) -> None:
        raise RuntimeError("boom")

    broker = await opened(rabbit_url)
    await listen(broker, fails)
    await broker.emit(emission())
    await eventually(lambda: has_dead_letters(broker), "it is dead-lettered")
    [letter] = await broker.dead_letters(10)
    assert (letter.queue, letter.reason, letter.body) == ("on:mailer", "delivery_limit", b"7")


async def test_a_dead_letter_still_says_what_it_is(rabbit_url: str, opened: Open, topology: Topology) -> None:
    broker = await opened(rabbit_url)
    async with raw_channel(rabbit_url) as channel:
        await channel.queue_declare("kept", exclusive=True)
        await channel.queue_bind("kept", topology.dead)
        await (await broker.listen({"mailer": Listening(events=("paid",), prefetch=1, listener=Ear())})).stop()
        await broker.emit(emission())
        await broker.listen({"mailer": Listening(events=("other",), prefetch=1, listener=Ear())})
        await eventually(lambda: has_dead_letters(broker), "it is dead-lettered")
        message = await channel.basic_get("kept")
    headers = message.header.properties.headers
    assert {name: headers[name] for name in ("x-runner-message-id", "x-runner-event", "x-runner-execution")} == {
        "x-runner-message-id": "e-1",
        "x-runner-event": "paid",
        "x-runner-execution": "x-1",
    }


async def has_dead_letters(broker: RabbitBroker) -> bool:
    return bool(await broker.dead_letters(1))
