"""What only a real RabbitMQ can do to us: go away, come back empty, freeze, run out of memory, close and cancel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from aiormq import spec

from runner.broker import Consumer
from runner.broker.rabbitmq import RabbitBroker
from runner.broker.rabbitmq.consumer import RabbitConsumer
from runner.broker.topology import Topology
from runner.errors import BrokerUnavailable
from tests.contract_broker.helpers import NEVER, Acker, Catcher, Open, eventually, hint, raw_channel
from tests.servers import RabbitServer, start_rabbitmq

OFTEN = 0.5


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    server = start_rabbitmq(tmp_path_factory.mktemp("broken"))
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: RabbitServer) -> Iterator[RabbitServer]:
    """To be broken in any way; whole again for the next test."""
    yield shared_server
    if shared_server.process is not None:
        shared_server.resume()
    shared_server.start()


# --- the server goes and comes ---------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_killed_server_fails_every_publish_and_after_its_restart_everything_goes_on(
    server: RabbitServer, opened: Open
) -> None:
    broker = await opened(server.url)
    acked = Acker()
    consumer = await broker.consume({"orders": 5}, acked)
    paused, resumed = [await broker.consume({"orders": 5}, acked) for _ in range(2)]
    await resumed.pause()
    await on_disk()
    flood = [asyncio.ensure_future(broker.publish("orders", hint(number))) for number in range(300)]
    await flood[0]
    await asyncio.to_thread(server.kill)

    outcomes = await asyncio.wait_for(asyncio.gather(*flood, return_exceptions=True), 10)
    assert {type(outcome) for outcome in outcomes} <= {type(None), BrokerUnavailable}
    await eventually(lambda: not consumer.consuming, "the consumer knows")
    with pytest.raises(BrokerUnavailable):
        await broker.publish("orders", hint(1000))
    with pytest.raises(BrokerUnavailable):
        await broker.publish_many([("orders", hint(1000)), ("orders", hint(1001))])
    with pytest.raises(BrokerUnavailable):
        await broker.depth("orders")
    await asyncio.gather(paused.pause(), resumed.resume())  # raises nothing, and counts as soon as it can

    await asyncio.to_thread(server.start)
    await eventually(lambda: consumer.consuming, "the consumer is back")
    await broker.publish("orders", hint(2000))
    await eventually(lambda: 2000 in acked.seqs, "hints flow again")
    confirmed = {number for number, outcome in enumerate(outcomes) if outcome is None}
    await eventually(lambda: confirmed <= set(acked.seqs), "no confirmed hint was lost")
    await eventually(lambda: resumed.consuming, "what was resumed meanwhile consumes")
    await restored(paused)
    assert not paused.consuming


@pytest.mark.slow
async def test_a_server_that_lost_everything_gets_its_queues_back_from_whoever_comes_first(
    server: RabbitServer, opened: Open
) -> None:
    producer = await opened(server.url)
    acked = Acker()
    consumer = await (await opened(server.url)).consume({"orders": 1}, acked)
    await consumer.pause()
    await asyncio.to_thread(server.wipe)

    await producer.publish("orders", hint(1))
    assert await producer.orphans() == 0
    await consumer.resume()
    await eventually(lambda: acked.seqs == [1], "the consumer came back and consumes")


async def test_a_consumer_paused_before_the_server_was_lost_stays_paused_until_resumed(
    server: RabbitServer, opened: Open
) -> None:
    broker = await opened(server.url)
    acked = Acker()
    consumer = await broker.consume({"orders": 1}, acked)
    await consumer.pause()
    await close_all_connections(server)
    await publish_when_possible(broker, 1)
    await restored(consumer)
    assert not consumer.consuming
    assert await broker.depth("orders") == 1

    await consumer.resume()
    await eventually(lambda: acked.seqs == [1], "resumed")


async def test_a_connection_closed_by_the_server_is_replaced(server: RabbitServer, opened: Open) -> None:
    broker = await opened(server.url)
    caught = Catcher()
    consumer = await broker.consume({"orders": 5}, caught)
    await broker.publish("orders", hint(1))
    before = await caught.next()
    await close_all_connections(server)

    again = await caught.next()
    assert (again.hint, again.redelivered) == (hint(1), True)
    await eventually(lambda: consumer.consuming, "the consumer is back")
    await before.ack()  # its channel is gone: no effect, and nothing raised
    await before.orphan("too late")
    await again.ack()
    await publish_when_possible(broker, 2)
    assert (await caught.next()).hint == hint(2)
    assert await broker.orphans() == 0


async def test_a_handler_outlives_the_connection_its_hint_came_by(server: RabbitServer, opened: Open) -> None:
    broker = await opened(server.url)
    arrived, go_on = asyncio.Queue[bool](), asyncio.Event()
    finished: list[bool] = []

    async def slow(delivery: object) -> None:
        arrived.put_nowait(True)
        await go_on.wait()
        finished.append(True)

    await broker.consume({"orders": 1}, slow)
    await broker.publish("orders", hint())
    await asyncio.wait_for(arrived.get(), 30)
    await close_all_connections(server)
    await asyncio.wait_for(arrived.get(), 30)
    go_on.set()
    await eventually(lambda: finished == [True, True], "the first delivery's handler was not cancelled")


@pytest.mark.slow
async def test_a_frozen_server_fails_a_publish_in_bounded_time_and_is_noticed_by_the_check(
    server: RabbitServer, opened: Open
) -> None:
    broker = await opened(server.url, check_every=OFTEN)
    consumer = await broker.consume({"orders": 1}, Acker())
    server.pause()
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        await broker.publish("orders", hint())
    assert time.monotonic() - began < 8
    used = broker._publisher._keeper._link
    assert used is not None and not used.alive  # an answer may still come on it, to nobody knows which question
    await eventually(lambda: not consumer.consuming, "the consumer knows")
    server.resume()
    await eventually(lambda: consumer.consuming, "the consumer is back")
    await broker.publish("orders", hint())


@pytest.mark.slow
async def test_a_memory_alarm_blocks_publishing_and_not_consuming(
    server: RabbitServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.broker.rabbitmq.publisher.PUBLISH_TIMEOUT", 2.0)
    broker = await opened(server.url)
    caught = Catcher()
    consumer = await broker.consume({"orders": 1}, caught)
    link = link_of(consumer)
    await broker.publish_many([("orders", hint(1)), ("orders", hint(2))])
    first = await caught.next()
    await asyncio.to_thread(server.alarm, on=True)
    try:
        with pytest.raises(BrokerUnavailable):
            await broker.publish("orders", hint(3))
        await first.ack()
        assert (await caught.next()).hint == hint(2)
        assert link.alive
        assert link_of(consumer) is link
    finally:
        await asyncio.to_thread(server.alarm, on=False)
    await publish_when_possible(broker, 4)


# --- the channel or the queue goes -----------------------------------------------------------------------------


async def test_a_channel_closed_by_the_server_is_replaced(rabbit_url: str, opened: Open) -> None:
    broker = await opened(rabbit_url)
    acked = Acker()
    consumer = await broker.consume({"orders": 1}, acked)
    await link_of(consumer).channel.basic_ack(4711)  # an unknown delivery: the server closes the channel
    await broker.publish("orders", hint())
    await eventually(lambda: acked.seqs == [1] and consumer.consuming, "consuming goes on")


async def test_a_consumer_cancelled_by_the_server_because_its_queue_was_deleted_makes_it_again(
    rabbit_url: str, opened: Open, topology: Topology
) -> None:
    broker = await opened(rabbit_url)
    acked = Acker()
    consumer = await broker.consume({"orders": 1}, acked)
    lost = link_of(consumer).lost
    async with raw_channel(rabbit_url) as channel:
        await channel.queue_delete(topology.queue("orders"))
    assert "cancelled" in await asyncio.wait_for(lost, 30)
    await broker.publish("orders", hint())
    await eventually(lambda: acked.seqs == [1] and consumer.consuming, "consuming goes on")


async def test_a_queue_deleted_and_declared_again_at_once_leaves_the_consumer_deaf_only_until_the_check(
    rabbit_url: str, opened: Open, topology: Topology
) -> None:
    broker = await opened(rabbit_url, check_every=OFTEN)
    acked = Acker()
    consumer = await broker.consume({"orders": 1}, acked)
    [*_, queue] = topology.plan("orders").queues
    async with raw_channel(rabbit_url) as channel:
        await channel.queue_delete(queue.name)
        await channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
        await channel.queue_bind(queue.name, topology.work, routing_key="orders")
    # RabbitMQ 3.10 told nobody of the deletion, and keeps the first hint, counted as delivered, until the
    # channel closes: lost for us, and the store's to publish again.
    await broker.publish("orders", hint(1))
    await broker.publish("orders", hint(2))
    await eventually(lambda: 2 in acked.seqs and consumer.consuming, "consuming goes on")


async def test_a_consumer_that_the_server_silently_forgot_is_found_by_the_check(rabbit_url: str, opened: Open) -> None:
    broker = await opened(rabbit_url, check_every=OFTEN)
    acked = Acker()
    consumer = await broker.consume({"orders": 1}, acked)
    [tag] = session_of(consumer)._tags.values()
    await link_of(consumer).channel.basic_cancel(tag, nowait=True)
    await broker.publish("orders", hint())
    await eventually(lambda: acked.seqs == [1], "consuming goes on")


async def test_a_consumer_paused_and_resumed_again_and_again_does_not_hoard(rabbit_url: str, opened: Open) -> None:
    broker = await opened(rabbit_url)
    caught = Catcher()
    consumer = await broker.consume({"orders": 2}, caught)
    await broker.publish_many([("orders", hint(number)) for number in range(10)])
    held = await caught.take(2)
    for _ in range(4):
        await consumer.pause()
        await consumer.resume()
    assert consumer.consuming
    assert await broker.depth("orders") == 8  # full: nothing more was taken from the others

    await held[0].ack()
    await caught.next()


async def test_a_check_leaves_alone_what_is_in_hand(rabbit_url: str, opened: Open) -> None:
    broker = await opened(rabbit_url, check_every=NEVER)
    caught = Catcher()
    consumer = await broker.consume({"orders": 1, "mails": 1}, caught)
    await broker.publish("orders", hint(1))
    await broker.publish("orders", hint(2))
    delivery = await caught.next()
    for _ in range(3):
        await session_of(consumer).check()
    assert consumer.consuming
    assert await broker.depth("orders") == 1
    await delivery.ack()
    assert (await caught.next()).hint == hint(2)
    await broker.publish("mails", hint(3))
    assert (await caught.next()).hint == hint(3)


async def test_an_exchange_deleted_under_the_publisher_costs_one_publish(
    rabbit_url: str, opened: Open, topology: Topology
) -> None:
    broker = await opened(rabbit_url)
    async with raw_channel(rabbit_url) as channel:
        await channel.exchange_delete(topology.work)
    with pytest.raises(BrokerUnavailable):
        await broker.publish("orders", hint(1))
    await broker.publish("orders", hint(2))
    assert await broker.depth("orders") == 1


async def test_a_cancelled_publish_harms_no_other(rabbit_url: str, opened: Open) -> None:
    broker = await opened(rabbit_url)
    flood = [asyncio.ensure_future(broker.publish("orders", hint(number))) for number in range(50)]
    await asyncio.sleep(0)
    for publish in flood[::2]:
        publish.cancel()
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert outcomes[1::2] == [None] * 25
    await broker.publish("orders", hint(100))


async def test_a_message_that_kills_every_connection_ends_as_a_dead_letter_and_hints_flow_again(
    rabbit_url: str, opened: Open, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.broker.topology.DELIVERY_LIMIT", 2)  # of its queue; twenty takes a minute
    broker = await opened(rabbit_url)
    acked = Acker()
    async with raw_channel(rabbit_url) as channel:
        properties = spec.Basic.Properties(timestamp=Absurd.now(UTC))
        await channel.basic_publish(b"poison", routing_key=topology.queue("orders"), properties=properties)
    consumer = await broker.consume({"orders": 1}, acked)
    await eventually(lambda: has_dead_letters(broker), "the poison is dead-lettered")
    await broker.publish("orders", hint(1))
    await eventually(lambda: acked.seqs == [1] and consumer.consuming, "hints flow again")

    # It cannot be read, which is said; and looking at it harms nobody.
    [letter] = await broker.dead_letters(10)
    assert "cannot be read" in letter.reason
    assert await broker.depth("orders") == 0
    assert consumer.consuming


async def test_what_the_broker_gave_up_on_says_where_it_came_from(
    rabbit_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.broker.topology.DELIVERY_LIMIT", 1)
    monkeypatch.setattr("runner.broker.handling.REQUEUE_PAUSE", 0.01)
    broker = await opened(rabbit_url)

    async def fails(delivery: object) -> None:
        raise RuntimeError("boom")

    await broker.consume({"orders": 1}, fails)
    await broker.publish("orders", hint(5))
    await eventually(lambda: has_dead_letters(broker), "the hint is dead-lettered")
    [letter] = await broker.dead_letters(10)
    assert (letter.queue, letter.reason, letter.body) == ("orders", "delivery_limit", hint(5).encode())


# --- helpers ---------------------------------------------------------------------------------------------------


class Absurd(datetime):
    """A moment no calendar holds: 2**64 - 1 seconds."""

    def timestamp(self) -> float:
        return 2**64 - 1


def session_of(consumer: Consumer):
    assert isinstance(consumer, RabbitConsumer)
    assert consumer._session is not None
    return consumer._session


def link_of(consumer: Consumer):
    return session_of(consumer).link


async def on_disk() -> None:
    """RabbitMQ 3.10 writes a new quorum queue to its register with half a second's delay.

    A kill before that leaves a queue that never gets a leader again; that is not what these tests are about.
    """
    await asyncio.sleep(2)


async def restored(consumer: Consumer) -> None:
    await eventually(lambda: link_of(consumer).alive, "the consumer has a connection again")


async def has_dead_letters(broker: RabbitBroker) -> bool:
    return bool(await broker.dead_letters(1))


async def publish_when_possible(broker: RabbitBroker, number: int) -> None:
    """A connection that was just closed may cost a publish its confirmation."""

    async def published() -> bool:
        try:
            await broker.publish("orders", hint(number))
        except BrokerUnavailable:
            return False
        return True

    await eventually(published, "the hint is published")


async def close_all_connections(server: RabbitServer) -> None:
    await asyncio.to_thread(server.close_connections)
