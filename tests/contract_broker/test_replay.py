"""Both brokers: dead letters go back to the queues they came from, and what no queue could use stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aio_pika
import pytest

from runner.broker import Broker, EventRefused, Listening, Replayed
from runner.broker.memory import Copy, MemoryBroker
from runner.broker.rabbitmq.message import QUEUE
from runner.broker.topology import Topology
from runner.messages import Emission
from tests.contract_broker.helpers import Catcher, Inject, eventually, hint

Bury = Callable[[str, bytes], Awaitable[None]]


@pytest.fixture
def bury(request: pytest.FixtureRequest, broker: Broker) -> Bury:
    """Puts a message among the dead letters, as one that came from that queue."""

    async def put(queue: str, body: bytes) -> None:
        if isinstance(broker, MemoryBroker):
            broker.bury(queue, Copy(body), "delivery_limit")
            return
        async with await aio_pika.connect(request.getfixturevalue("rabbit_url")) as connection:
            channel = await connection.channel()
            message = aio_pika.Message(body, headers={QUEUE: queue})
            await channel.default_exchange.publish(message, Topology(broker.namespace).dead)

    return put


async def test_a_hint_goes_back_and_what_nobody_can_read_stays(broker: Broker, inject: Inject, bury: Bury) -> None:
    caught = Catcher()
    await inject("mails", b"nonsense")
    reader = await broker.consume({"mails": 1}, caught)
    await eventually(lambda: dead(broker, 1), "the nonsense is a dead letter")
    await bury("orders", hint(7).encode())
    await bury("on:nobody", b"an event")
    await eventually(lambda: dead(broker, 3), "the others are dead letters")
    replayed = await broker.replay(10)
    assert replayed.given_back == 1
    kept = {letter.queue: letter.no_use for letter in replayed.kept}
    assert "not msgpack" in kept["mails"]
    assert kept["on:nobody"] == "nobody listens as 'nobody': its queue is not there"
    consumer = await broker.consume({"orders": 1}, caught)
    delivery = await caught.next()
    assert (delivery.queue, delivery.hint) == ("orders", hint(7))
    await delivery.ack()
    await eventually(lambda: dead(broker, 2), "the others stay")
    assert (await broker.replay(10)).given_back == 0
    for one in (consumer, reader):
        await one.stop()


async def test_an_event_that_was_refused_is_heard_again_as_it_was(broker: Broker) -> None:
    heard: list[Emission] = []

    async def listener(emission: Emission) -> None:
        heard.append(emission)
        if len(heard) == 1:
            raise EventRefused("not yet")

    consumer = await broker.listen({"mailer": Listening(events=("placed",), prefetch=1, listener=listener)})
    emission = Emission(id="e-1/1/x", event="placed", payload=b"tea", execution_id="e-1", workflow="order", at=5)
    await broker.emit(emission)
    await eventually(lambda: dead(broker, 1), "the event is a dead letter")
    assert await broker.replay(10) == Replayed(given_back=1, kept=())
    await eventually(lambda: len(heard) == 2, "it is heard again")
    assert heard == [emission, emission]
    await eventually(lambda: dead(broker, 0), "it is dead no more")
    await consumer.stop()


async def test_what_is_chosen_is_thrown_away_and_the_rest_stays(broker: Broker, bury: Bury) -> None:
    for queue, body in (("orders", b"junk"), ("orders", hint(1).encode()), ("mails", b"junk"), ("", hint(2).encode())):
        await bury(queue, body)
    await eventually(lambda: dead(broker, 4), "all are dead letters")
    useless = {(one.queue, one.body) for one in await broker.dead_letters(10) if one.no_use}
    assert useless == {("orders", b"junk"), ("mails", b"junk"), ("", hint(2).encode())}
    gone = await broker.discard(10, lambda letter: letter.queue == "orders" and bool(letter.no_use))
    assert [(one.queue, one.body) for one in gone] == [("orders", b"junk")]
    await eventually(lambda: dead(broker, 3), "the others stay")
    assert await broker.discard(10, lambda _: False) == []
    assert len(await broker.discard(10, lambda _: True)) == 3
    assert await broker.dead_letters(10) == []


async def dead(broker: Broker, count: int) -> bool:
    return (await broker.vitals(())).dead_letters == count
