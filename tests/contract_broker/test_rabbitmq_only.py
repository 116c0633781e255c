"""What only a real RabbitMQ can do to us: go away, come back empty, freeze, run out of memory, close and cancel."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest
from aiormq import spec
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelPreconditionFailed

from runner.broker import Consumer
from runner.broker.rabbitmq import RabbitBroker
from runner.broker.rabbitmq.address import Address, parse_address
from runner.broker.rabbitmq.consumer import BACKOFF_MAX, RabbitConsumer, backoff
from runner.broker.rabbitmq.link import bounded, dial
from runner.broker.topology import NAME_MAX_BYTES, Topology
from runner.errors import BrokerUnavailable, ConfigError
from tests.contract_broker.helpers import Acker, Catcher, eventually, hint
from tests.servers import RabbitServer, free_ports, start_rabbitmq

NEVER = 3600.0  # seconds between checks: whatever heals, it was not the check
OFTEN = 0.5

Open = Callable[..., Awaitable[RabbitBroker]]


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


@asynccontextmanager
async def raw_channel(url: str) -> AsyncIterator[AbstractChannel]:
    link = await dial(Address(url, "test"), "test")
    try:
        async with link.spare() as channel:
            yield channel
    finally:
        await link.close()


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
    await rabbitmqctl(server, "set_vm_memory_high_watermark", "0.000001")
    try:
        with pytest.raises(BrokerUnavailable):
            await broker.publish("orders", hint(3))
        await first.ack()
        assert (await caught.next()).hint == hint(2)
        assert link.alive
        assert link_of(consumer) is link
    finally:
        await rabbitmqctl(server, "set_vm_memory_high_watermark", "0.4")
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


# --- what is declared ------------------------------------------------------------------------------------------


async def test_queues_are_durable_quorum_queues_with_a_limit_and_dead_letters(
    rabbit_url: str, opened: Open, topology: Topology, namespace: str
) -> None:
    await opened(rabbit_url)
    declared = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20,
        "x-dead-letter-exchange": f"runner.{namespace}.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    other = {"x-delivery-limit": 21, "x-dead-letter-exchange": "other", "x-overflow": "drop-head"}
    async with raw_channel(rabbit_url) as channel:
        await channel.queue_declare(f"runner.{namespace}.q.orders", durable=True, arguments=declared)
    for key in declared:
        changed = {**declared, key: other[key]} if key in other else without(declared, key)
        with pytest.raises(ChannelPreconditionFailed):
            async with raw_channel(rabbit_url) as channel:
                await channel.queue_declare(topology.queue("orders"), durable=True, arguments=changed)


async def test_the_exchanges_are_there(rabbit_url: str, opened: Open, namespace: str) -> None:
    await opened(rabbit_url)
    for name, kind in ((f"{namespace}", "direct"), (f"{namespace}.dead", "fanout"), (f"{namespace}.events", "topic")):
        async with raw_channel(rabbit_url) as channel:
            await channel.exchange_declare(f"runner.{name}", exchange_type=kind, durable=True)


async def test_a_queue_with_other_properties_is_named_with_the_cure(
    rabbit_url: str, opened: Open, topology: Topology, namespace: str
) -> None:
    name = topology.queue("mails")
    async with raw_channel(rabbit_url) as channel:
        await channel.queue_declare(name, durable=True)
    broker = await opened(rabbit_url)
    with pytest.raises(ConfigError, match=f"{name}.*delete it"):
        await RabbitBroker(rabbit_url, namespace=namespace).open(["mails"])
    with pytest.raises(ConfigError, match=name):
        await broker.consume({"mails": 1}, Acker())
    with pytest.raises(BrokerUnavailable, match=name):
        await broker.publish("mails", hint())
    await broker.publish("orders", hint())


async def test_messages_are_persistent_named_afresh_and_without_a_timestamp(
    rabbit_url: str, opened: Open, topology: Topology
) -> None:
    broker = await opened(rabbit_url)
    await broker.publish("orders", hint())
    await broker.publish("orders", hint())
    async with raw_channel(rabbit_url) as channel:
        found = [(await channel.basic_get(topology.queue("orders"))).header.properties for _ in range(2)]
    one, two = found
    assert one.message_id and one.message_id != two.message_id
    assert (one.delivery_mode, one.timestamp) == (2, None)
    assert one.content_type == "application/vnd.runner.hint+msgpack"


def test_a_name_that_amqp_cannot_carry_is_refused() -> None:
    topology = Topology("shop")
    assert topology.worker_queue(topology.queue("orders")) == "orders"
    topology.queue("x" * (NAME_MAX_BYTES - len("runner.shop.q.")))
    for name in ("", "x" * NAME_MAX_BYTES, "ü" * 130):
        with pytest.raises(ConfigError):
            topology.queue(name)


# --- connecting ------------------------------------------------------------------------------------------------


async def test_a_wrong_password_is_said_and_never_shown(rabbit_url: str, namespace: str) -> None:
    url = rabbit_url.replace("guest:guest@", "guest:s3cret@")
    with pytest.raises(BrokerUnavailable, match="wrong user or password") as caught:
        await RabbitBroker(url, namespace=namespace).open()
    assert "guest:***@" in str(caught.value)
    assert "s3cret" not in repr(caught.value.__cause__) + str(caught.value)


async def test_a_missing_virtual_host_is_said(rabbit_url: str, namespace: str) -> None:
    with pytest.raises(BrokerUnavailable, match="virtual host"):
        await RabbitBroker(f"{rabbit_url}nowhere", namespace=namespace).open()


async def test_nobody_listening_is_said_at_once_with_the_cure(namespace: str) -> None:
    [port] = free_ports(1)
    broker = RabbitBroker(f"amqp://app:s3cret@127.0.0.1:{port}/shop", namespace=namespace)
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="is it running") as caught:
        await broker.open(["orders"])
    with pytest.raises(BrokerUnavailable):
        await broker.consume({"orders": 1}, Acker())
    assert time.monotonic() - began < 4
    assert f"amqp://app:***@127.0.0.1:{port}/shop" in str(caught.value)


@pytest.mark.slow
async def test_something_that_listens_and_says_nothing_is_given_up(namespace: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts, nobody answers
        broker = RabbitBroker(f"amqp://127.0.0.1:{listener.getsockname()[1]}/", namespace=namespace)
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="no answer"):
            await broker.publish("orders", hint())
        assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "amqp://",
        "amqp://app:s3cret@host:port/",
        "amqp://app:s3c/ret@host/",
        "amqp://app:12/s3cret@host/",
        "amqps://app:s3cret@host/?no_verify_ssl=1",
        "amqps://app:s3cret@host/?no_verify_ssl=true",
        "amqps://app:s3cret@host/?no_verify_ssl=",
        "amqps://app:s3cret@host/?no_verify_ssl=0&no_verify_ssl=1",
        "s3cret",
    ],
)
def test_urls_that_are_refused_without_showing_their_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url, {})
    assert "s3c" not in str(caught.value)


def test_urls_that_are_taken() -> None:
    taken = parse_address("amqps://app:s3cret@host/shop?cafile=/etc/ca.pem", {})
    assert taken.masked == "amqps://app:***@host/shop"
    assert "s3cret" not in repr(taken)
    assert parse_address("amqp://host/?no_verify_ssl=1", {"RUNNER_INSECURE_TLS": "1"}).masked == "amqp://host/"
    parse_address("amqps://host/?no_verify_ssl=0", {})


def test_the_backoff_grows_from_a_tenth_of_a_second_to_its_bound() -> None:
    longest = [backoff(failures, 1.0) for failures in range(100)]
    assert longest[:3] == [0.1, 0.2, 0.4]
    assert longest == sorted(longest)
    assert longest[-1] == BACKOFF_MAX
    assert backoff(50, 0.0) == BACKOFF_MAX / 2


# --- calls of the library --------------------------------------------------------------------------------------


async def test_a_call_ends_on_time_even_if_it_resists_its_cancellation() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await bounded(0.05, stubborn())
    waiting = asyncio.ensure_future(bounded(NEVER, stubborn()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert time.monotonic() - began < 10
    release.set()


async def test_a_call_that_the_library_cancels_is_a_lost_connection_and_no_cancellation_of_ours() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ConnectionError):
        await bounded(NEVER, cancelled())


# --- helpers ---------------------------------------------------------------------------------------------------


class Absurd(datetime):
    """A moment no calendar holds: 2**64 - 1 seconds."""

    def timestamp(self) -> float:
        return 2**64 - 1


def without(arguments: dict[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in arguments.items() if name != key}


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
    await rabbitmqctl(server, "close_all_connections", "for the test")


async def rabbitmqctl(server: RabbitServer, *arguments: str) -> None:
    environment = server._environment()
    command = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-n", environment["RABBITMQ_NODENAME"], *arguments]
    run = asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60)
    done = await run
    assert done.returncode == 0, done.stdout + done.stderr
