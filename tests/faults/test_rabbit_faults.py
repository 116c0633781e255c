"""RabbitMQ goes wrong in one way at a time, under load: all of it ends right, whatever became of the messages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from runner.broker.topology import Topology
from runner.messages import Hint
from tests.e2e import ledger
from tests.faults.fleet import Fleet, again, crew, until
from tests.faults.hints import GARBAGE
from tests.servers import QUEUE_ON_DISK_S, RabbitServer

#: A publish that gets no answer is given up after a few seconds; far more is a promise that was broken.
BOUNDED_S = 30.0
UNKNOWN = 40
LEASE_S = 5.0


@asynccontextmanager
async def under_load(one: Fleet, book: Path, first: int) -> AsyncIterator[None]:
    """Inside, ten orders are under way; behind it all of it has ended, and right."""
    before = len(ledger.read(book))
    ordering = asyncio.create_task(one.order(range(first, first + 10)))
    await until(lambda: len(ledger.read(book)) > before + 20, lambda: "work to be under way")
    try:
        yield
    except BaseException:
        ordering.cancel()
        raise
    await ordering
    await one.until_over()
    assert await one.findings() == []


@asynccontextmanager
async def channel(one: Fleet) -> AsyncIterator[AbstractChannel]:
    connection: Any = await aio_pika.connect(one.rabbit, timeout=30)
    async with connection:
        yield await connection.channel()


def topology(one: Fleet) -> Topology:
    return Topology(one.namespace)


# -- its queues -----------------------------------------------------------------------------------


@pytest.mark.slow
async def test_queues_that_are_emptied_or_deleted_are_filled_and_declared_again(
    redis_url: str, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with crew(redis_url, rabbit_url, namespace, lease_s=LEASE_S) as one:
        async with under_load(one, book, 1), channel(one) as admin:
            queue = await admin.get_queue(topology(one).queue("default"))
            for _ in range(10):
                await queue.purge()
                await asyncio.sleep(0.05)
        async with under_load(one, book, 101), channel(one) as admin:
            # Its consumers are cancelled by the server with it.
            await admin.queue_delete(topology(one).queue("default"))
        assert await one.client.broker.depth("default") == 0


# -- its messages ---------------------------------------------------------------------------------


@pytest.mark.slow
async def test_hints_that_are_doubled_late_or_forged_do_nothing(
    redis_url: str, rabbit_url: str, namespace: str, book: Path
) -> None:
    """Those of known executions, with every number there may be: before, while and after they run."""
    chance = random.Random(namespace)
    async with crew(redis_url, rabbit_url, namespace, lease_s=LEASE_S) as one:
        early = [Hint(f"parcel-{number}", "parcel", 1, 1) for number in range(1, 11) for _ in range(3)]
        ids = [await one.start_parcel(number, delay=1.0) for number in range(1, 11)]
        await publish(one, early)
        async with under_load(one, book, 201):
            started = [line["execution"] for line in ledger.read(book) if line["kind"] == "started"]
            forged = [Hint(id, "order", 1, seq) for id in started for seq in chance.sample(range(100), 5)]
            chance.shuffle(forged)
            await publish(one, forged)
        for id in ids:
            await one.ended(id)
        late = [Hint(id, "order", 1, seq) for id in started for seq in range(3)]
        await publish(one, late)
        await until(lambda: is_empty(one), lambda: "all hints to be taken")
        assert again(ledger.read(book)) == 0
        assert await one.findings() == []
        assert await one.client.broker.orphans() == 0


@pytest.mark.slow
async def test_hints_of_unknown_executions_and_what_is_no_hint_are_kept_apart_and_counted(
    redis_url: str, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with crew(redis_url, rabbit_url, namespace, lease_s=LEASE_S) as one:
        async with under_load(one, book, 301):
            await publish(one, [Hint(f"nobody-{number}", "order", 1, number) for number in range(UNKNOWN)])
            await publish(one, GARBAGE)

        async def counted() -> bool:
            dead = await one.client.broker.dead_letters(100)
            return (await one.client.broker.orphans(), len(dead)) == (UNKNOWN, len(GARBAGE))

        await until(counted, lambda: "every one of them")
        dead = await one.client.broker.dead_letters(100)
        assert sorted(letter.body for letter in dead) == sorted(GARBAGE)
        assert all(letter.reason for letter in dead)


async def publish(one: Fleet, hints: Any) -> None:
    async with channel(one) as admin:
        exchange = await admin.get_exchange(topology(one).work)
        for hint in hints:
            body = hint.encode() if isinstance(hint, Hint) else hint
            await exchange.publish(aio_pika.Message(body, delivery_mode=2), "default", timeout=30)


async def is_empty(one: Fleet) -> bool:
    return await one.client.broker.depth("default") == 0


# -- the server -----------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_rabbitmq_that_closes_connections_is_full_dies_or_forgets_everything_delays(
    redis_url: str, own_rabbit: RabbitServer, namespace: str, book: Path
) -> None:
    """One after the other, for it takes long to start."""
    async with crew(redis_url, own_rabbit.url, namespace, lease_s=LEASE_S) as one:
        async with under_load(one, book, 1):
            await asyncio.to_thread(own_rabbit.close_connections)
            await asyncio.to_thread(own_rabbit.alarm, on=True)
            async with asyncio.timeout(BOUNDED_S):
                await one.start_parcel(999)
            await asyncio.to_thread(own_rabbit.alarm, on=False)
        async with under_load(one, book, 201):
            await asyncio.sleep(QUEUE_ON_DISK_S)
            await asyncio.to_thread(own_rabbit.kill)
            await asyncio.to_thread(own_rabbit.start)
        async with under_load(one, book, 301):
            await asyncio.to_thread(own_rabbit.forget_everything)
