"""Both brokers: what they say of themselves; and RabbitMQ alone: topology that drifted, alarms, the management API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.broker import Broker
from runner.broker.rabbitmq import RabbitBroker, examiner
from runner.broker.topology import Topology
from runner.doctor.management import alarms_at
from runner.errors import BrokerUnavailable, ConfigError
from tests.contract_broker.helpers import Catcher, Inject, Open, eventually, hint, raw_channel
from tests.servers import HOST, RabbitServer, free_ports


async def test_queues_are_counted_with_what_waits_and_who_listens(broker: Broker, inject: Inject) -> None:
    caught = Catcher()
    await broker.publish("orders", hint(1))
    await broker.publish("orders", hint(2))

    async def waiting() -> bool:
        return [one.waiting for one in (await broker.vitals(["orders", "mails"])).queues] == [2, 0]

    await eventually(waiting, "both hints are counted")
    consumer = await broker.consume({"mails": 1}, caught)
    found = await broker.vitals(["orders", "mails", "nobodys"])
    assert [(one.queue, one.waiting, one.consumers) for one in found.queues] == [
        ("orders", 2, 0),
        ("mails", 0, 1),
        ("nobodys", None, 0),
    ]
    assert (found.drifts, found.dead_letters, found.orphans) == ((), 0, 0)
    assert await broker.depth("nobodys") is None, "looking declares nothing"
    assert await broker.takes_messages()
    await inject("mails", b"nonsense")
    await eventually(lambda: buried(broker), "the dead letter is counted")
    await consumer.stop()


async def buried(broker: Broker) -> bool:
    return (await broker.vitals(())).dead_letters == 1


async def test_what_is_there_with_other_properties_is_named(opened: Open, rabbit_url: str, topology: Topology) -> None:
    async with raw_channel(rabbit_url) as channel:
        await channel.queue_declare(topology.queue("classic"), durable=True)
    broker = await opened(rabbit_url)
    found = await broker.vitals(["orders", "classic"])
    (drift,) = found.drifts
    assert topology.queue("classic") in drift.what
    assert "x-" in drift.differs
    assert (found.product, found.missing) == ("RabbitMQ", ())
    assert found.version.split(".")[0].isdecimal()


async def test_before_anybody_came_everything_is_missing_and_nothing_is_declared(
    rabbit_url: str, namespace: str
) -> None:
    broker = RabbitBroker(rabbit_url, namespace=namespace)
    for _ in range(2):
        found = await broker.vitals(["orders"])
        plan = Topology(namespace).plan("orders")
        assert len(found.missing) == len(plan.exchanges) + len(plan.queues)
        assert found.queues[0].waiting is None


class ManagedRabbit(RabbitServer):
    """With the management plugin, and so little memory that it has an alarm from the beginning."""

    def choose_ports(self) -> None:
        super().choose_ports()
        (self.management,) = free_ports(1)

    def _write_configuration(self) -> None:
        super()._write_configuration()
        with (self.home / "rabbitmq.conf").open("a") as config:
            config.write(f"management.tcp.ip = {HOST}\nmanagement.tcp.port = {self.management}\n")
            config.write("vm_memory_high_watermark.absolute = 1MB\ncollect_statistics_interval = 1000\n")
        (self.home / "enabled_plugins").write_text("[rabbitmq_management].\n")


@pytest.fixture
def short_of_memory(tmp_path: Path) -> Iterator[ManagedRabbit]:
    server = ManagedRabbit(tmp_path / "rabbitmq").start_anywhere()
    yield server
    server.kill()


async def test_an_alarm_is_seen_by_its_effect_and_named_by_the_management_api(
    short_of_memory: ManagedRabbit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examiner, "PROBE_TIMEOUT", 1.0)
    url = f"http://guest:guest@{HOST}:{short_of_memory.management}"

    async def told() -> bool:
        try:
            found = await asyncio.to_thread(alarms_at, url)
        except BrokerUnavailable:  # the plugin starts after the node
            return False
        return any("is short of memory" in one for one in found.alarms)

    broker = await opened(short_of_memory.url)

    async def blocked() -> bool:
        return not await broker.takes_messages()

    await eventually(blocked, "no message is taken")
    await eventually(told, "the alarm is told")
    assert (await broker.vitals(["orders"])).queues[0].waiting == 0, "it still answers questions"
    with pytest.raises(BrokerUnavailable, match="401") as caught:
        alarms_at(url.replace("guest:guest", "guest:secret"))
    assert "secret" not in str(caught.value)


def test_what_is_no_url_of_the_management_api_is_refused() -> None:
    with pytest.raises(ConfigError, match="http://user:password@host:15672"):
        alarms_at("amqp://guest:guest@localhost")
