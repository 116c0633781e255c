"""Faults of messages: hints that come twice, late, in another order, of nobody, or from the future; and what is no hint."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from runner.broker.topology import Topology
from runner.errors import InfrastructureError
from runner.messages import Hint
from runner.records import Execution
from runner.store.vitals import LEAP
from tests.faults.plan import STALL_S, Strike, between
from tests.faults.rig import Rig

#: Executions or messages that are concerned.
HINTS = (5, 40)
GARBAGE = (b"", b"\xc1", b"\x00" * 2_000, b'{"json": true}', b"\x95\x01\xa1x", b"\x92\xff\xa0")
#: How far a forged hint is ahead of its record: what a store that went back could have lost, and what none can.
BELIEVED = (1, 2, 100, LEAP)
BEYOND_BELIEF = (2**40, 2**52)  # also when the record has got on meanwhile, or followed one of those
#: The greatest that is a hint at all.
LARGEST_SEQ = 2**53 - 1
#: What becomes of a connection that is held open while the broker is struck.
LOST = (aio_pika.exceptions.AMQPError, aio_pika.exceptions.ChannelInvalidStateError, OSError)
#: How long they may take to come, in seconds, and how often is looked.
TAKING_S, LOOKS = 1.0, 20
#: Before any consumer that has not asked for it.
FIRST = {"x-priority": 10}


async def held(rig: Rig, strike: Strike) -> None:
    """Some are taken out of their queue before any worker sees them, and put back late, shuffled, some of them twice.

    Nobody is kept from striking while they are held: what the broker does not hear of any more, it delivers again.
    """
    chance = random.Random(strike.size)
    async with AsyncExitStack() as stack:
        async with rig.alone("rabbit"):
            admin = await stack.enter_async_context(channel(rig))
            taken = await take(admin, topology(rig).queue("default"), round(between(HINTS, strike.size)))
        rig.seen["hints.held_back"] += len(taken)
        await asyncio.sleep(between(STALL_S, strike.size))
        chance.shuffle(taken)
        with suppress(*LOST):
            await put_back(rig, admin, taken, chance)


async def put_back(
    rig: Rig, admin: AbstractChannel, taken: Sequence[AbstractIncomingMessage], chance: random.Random
) -> None:
    exchange = await admin.get_exchange(topology(rig).work)
    for message in taken:
        for _ in range(chance.choice((1, 1, 2))):
            await exchange.publish(persistent(message.body), "default", timeout=30)
        await message.ack()


async def take(admin: AbstractChannel, name: str, wanted: int) -> list[AbstractIncomingMessage]:
    """The next hints of a queue, so many; or as many as come within a while."""
    taken: list[AbstractIncomingMessage] = []

    async def keep(message: AbstractIncomingMessage) -> None:
        taken.append(message)

    await admin.set_qos(prefetch_count=wanted)
    queue = await admin.get_queue(name)
    tag = await queue.consume(keep, arguments=dict(FIRST))
    for _ in range(LOOKS):
        await asyncio.sleep(TAKING_S / LOOKS)
        if len(taken) >= wanted:
            break
    await queue.cancel(tag)
    return taken


async def duplicates(rig: Rig, strike: Strike) -> None:
    """Hints of executions that have one already, had one long ago, or are over: several of each, in any order."""
    chance = random.Random(strike.size)
    records = await some(rig, chance, round(between(HINTS, strike.size)))
    hints = [hint(one, chance.randint(0, one.seq)) for one in records for _ in range(chance.randrange(1, 6))]
    chance.shuffle(hints)
    rig.seen["hints.duplicated"] += await publish(rig, hints)


async def forged(rig: Rig, strike: Strike) -> None:
    """Hints of executions that nobody has started, of workflows that nobody knows, and of wake-ups that never were."""
    chance = random.Random(strike.size)
    count = round(between(HINTS, strike.size))
    unknown = [Hint(f"nobody-{strike.place}-{n}", ("order", "unheard-of")[n % 2], 1, 1) for n in range(count)]
    records = await some(rig, chance, count)
    ahead = [hint(one, one.seq + chance.choice(BELIEVED)) for one in records]
    absurd = [hint(one, chance.choice((one.seq + chance.choice(BEYOND_BELIEF), LARGEST_SEQ))) for one in records]
    # Counted before: what the broker takes and does not confirm is there as well.
    rig.seen["hints.unknown"] += len(unknown)
    rig.seen["hints.ahead"] += len(ahead)
    rig.seen["hints.absurd"] += len(absurd)
    hints = [*unknown, *ahead, *absurd]
    chance.shuffle(hints)
    await publish(rig, hints)


async def garbage(rig: Rig, strike: Strike) -> None:
    """What is no hint at all."""
    rig.seen["hints.broken"] += await publish(rig, GARBAGE)


async def some(rig: Rig, chance: random.Random, count: int) -> list[Execution]:
    """Executions by chance, some of them more than once; fewer while the store is away."""
    started = rig.progress.started
    read: list[Execution] = []
    with suppress(InfrastructureError):
        for id in [chance.choice(started) for _ in range(count)] if started else []:
            record = await rig.client.store.record(id)
            read += [record] if record is not None else []
    return read


def hint(record: Execution, seq: int) -> Hint:
    return Hint(record.id, record.workflow, record.version, seq)


async def publish(rig: Rig, hints: Sequence[Hint | bytes]) -> int:
    """How many of them the broker has taken."""
    async with rig.alone("rabbit"), channel(rig) as admin:
        exchange = await admin.get_exchange(topology(rig).work)
        for one in hints:
            body = one.encode() if isinstance(one, Hint) else one
            await exchange.publish(persistent(body), "default", timeout=30)
    return len(hints)


def persistent(body: bytes) -> aio_pika.Message:
    return aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


@asynccontextmanager
async def channel(rig: Rig) -> AsyncIterator[AbstractChannel]:
    connection: Any = await aio_pika.connect(rig.rabbit.url, timeout=30)
    async with connection:
        yield await connection.channel()


def topology(rig: Rig) -> Topology:
    return Topology(rig.system.namespace)
