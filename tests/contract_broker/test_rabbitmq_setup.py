"""How we come to RabbitMQ and what we leave there: addresses, refusals, declarations, properties, bounded calls."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import pytest
from aiormq.exceptions import ChannelPreconditionFailed

from runner.broker import Listening
from runner.broker.rabbitmq import RabbitBroker
from runner.broker.rabbitmq.address import parse_address
from runner.broker.rabbitmq.consumer import BACKOFF_MAX, backoff
from runner.broker.rabbitmq.link import bounded
from runner.broker.topology import NAME_MAX_BYTES, Topology
from runner.errors import BrokerUnavailable, ConfigError
from runner.messages import Emission
from tests.contract_broker.helpers import NEVER, Acker, Open, hint, raw_channel
from tests.servers import free_ports

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


async def test_a_subscribers_queue_is_declared_as_a_worker_queue_is(
    rabbit_url: str, opened: Open, namespace: str
) -> None:
    broker = await opened(rabbit_url)

    async def hear(_: object) -> None: ...

    await broker.listen({"mailer": Listening(events=("order.paid",), prefetch=1, listener=hear)})
    declared = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20,
        "x-dead-letter-exchange": f"runner.{namespace}.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    async with raw_channel(rabbit_url) as channel:
        await channel.queue_declare(f"runner.{namespace}.on.mailer", durable=True, arguments=declared)


async def test_any_program_can_bind_and_read_an_event(rabbit_url: str, opened: Open, namespace: str) -> None:
    broker = await opened(rabbit_url)
    paid = Emission(id="e-1", event="order.paid", payload=b"\x07", execution_id="x-1", workflow="orders", at=12)
    async with raw_channel(rabbit_url) as channel:
        await channel.queue_declare("foreign", exclusive=True)
        await channel.queue_bind("foreign", f"runner.{namespace}.events", routing_key="order.*")
        await broker.emit(paid)
        message = await channel.basic_get("foreign")
    properties = message.header.properties
    assert message.body == b"\x07"
    assert (properties.message_id, properties.delivery_mode, properties.timestamp) == ("e-1", 2, None)
    assert properties.content_type == "application/vnd.runner.event+msgpack"
    assert properties.headers == {
        "x-runner-event": "order.paid",
        "x-runner-execution": "x-1",
        "x-runner-workflow": "orders",
        "x-runner-at": "12",
    }


def test_a_name_that_amqp_cannot_carry_is_refused() -> None:
    topology = Topology("shop")
    assert topology.worker_queue(topology.queue("orders")) == "orders"
    assert topology.worker_queue(topology.subscription("orders")) == "on:orders"
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


def without(arguments: dict[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in arguments.items() if name != key}
