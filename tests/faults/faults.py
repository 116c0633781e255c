"""The catalogue: one small function a fault. Each is over when it returns, and has healed what it broke.

A strike's ``place`` chooses the victim, its ``size`` how long it lasts or how much of it there is.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import aio_pika
from redis import Redis

from tests.faults import program
from tests.faults.hints import channel, duplicates, forged, garbage, held, topology
from tests.faults.plan import STALL_S, Strike, between
from tests.faults.proxy import Proxy, Way
from tests.faults.rig import ROLES, SERVERS, Member, Rig
from tests.servers import HOST, QUEUE_ON_DISK_S

Fault = Callable[[Rig, Strike], Awaitable[None]]

#: A process is stopped for this part of a lease at least, and at most.
STOP_LEASES = (0.3, 2.0)
#: Steps after which the turn goes on, and how long a worker that is to be killed may take to call one, in seconds.
TURN_GOES_ON, AT_WORK_S = ("reserve", "ship"), 3.0
LATENCY_S = (0.005, 0.1)


# -- processes ------------------------------------------------------------------------------------


async def end(rig: Rig, strike: Strike, *, role: str, number: signal.Signals) -> None:
    async with rig.alone(role):
        rig.end(await rig.victim(role, strike.place), number)


async def kill_at_work(rig: Rig, strike: Strike) -> None:
    """In the body of a step, or between its effect and its commit: another step of its turn would have followed."""
    async with rig.alone("worker"):
        member = await rig.victim("worker", strike.place)
        await until_at_work(rig, member, "called")
        await asyncio.sleep(program.BODY_S * strike.size)
        rig.end(member, signal.SIGKILL)


async def stop(rig: Rig, strike: Strike, *, role: str) -> None:
    """It stands still, its connections stay open; when it goes on its leases may be somebody else's."""
    async with rig.alone(role):
        member = await rig.victim(role, strike.place)
        rig.stop(member)
    await asyncio.sleep(rig.setup.lease_s * between(STOP_LEASES, strike.size))
    rig.go_on(member)


async def stop_at_work(rig: Rig, strike: Strike) -> None:
    """While a commit is on its way, for longer than the lease: the answer lies there when it goes on, and is old."""
    async with rig.alone("worker"):
        member = await rig.victim("worker", strike.place)
        await until_at_work(rig, member, "effect")
        rig.stop(member)
    await asyncio.sleep(rig.setup.lease_s * STOP_LEASES[1])
    rig.go_on(member)


async def until_at_work(rig: Rig, member: Member, kind: str) -> None:
    """Until it says this of a step in the middle of a turn, if it soon does."""

    def said() -> int:
        rig.progress.look()
        return sum(rig.progress.steps[member.process.pid, kind, step] for step in TURN_GOES_ON)

    before = said()
    with suppress(TimeoutError):
        async with asyncio.timeout(AT_WORK_S):
            while said() == before:
                await asyncio.sleep(0.002)


# -- redis ----------------------------------------------------------------------------------------


async def redis_kill(rig: Rig, strike: Strike) -> None:
    async with rig.alone("redis"):
        await asyncio.to_thread(rig.redis.kill)
        await asyncio.sleep(between((0, 1), strike.size))
        await asyncio.to_thread(rig.redis.start)


async def redis_stall(rig: Rig, strike: Strike) -> None:
    async with rig.alone("redis"):
        rig.redis.pause()
        await asyncio.sleep(between(STALL_S, strike.size))
        rig.redis.resume()


async def redis_ask(rig: Rig, strike: Strike, *, command: str) -> None:
    async with rig.alone("redis"):
        await asyncio.to_thread(ask_redis, rig, command)


async def redis_while(rig: Rig, strike: Strike, *, command: str, back: str) -> None:
    """It is made to refuse something, by one command, for a while."""
    async with rig.alone("redis"):
        await asyncio.to_thread(ask_redis, rig, command)
        await asyncio.sleep(between(STALL_S, strike.size))
        await asyncio.to_thread(ask_redis, rig, back)


def ask_redis(rig: Rig, command: str) -> None:
    with Redis.from_url(rig.redis.url) as admin:
        admin.execute_command(*command.split())  # type: ignore[no-untyped-call]


# -- rabbitmq -------------------------------------------------------------------------------------


async def rabbit_kill(rig: Rig, strike: Strike) -> None:
    async with rig.alone("rabbit"):
        await asyncio.sleep(QUEUE_ON_DISK_S)
        await asyncio.to_thread(rig.rabbit.kill)
        await asyncio.to_thread(rig.rabbit.start)
        await queue_is_there(rig)


async def rabbit_alarm(rig: Rig, strike: Strike) -> None:
    """Out of memory, it says, and reads nothing from whoever publishes."""
    async with rig.alone("rabbit"):
        await asyncio.to_thread(rig.rabbit.alarm, on=True)
        await asyncio.sleep(between(STALL_S, strike.size))
        await asyncio.to_thread(rig.rabbit.alarm, on=False)


async def rabbit_close(rig: Rig, strike: Strike) -> None:
    async with rig.alone("rabbit"):
        await asyncio.to_thread(rig.rabbit.close_connections)


async def rabbit_purge(rig: Rig, strike: Strike) -> None:
    async with rig.alone("rabbit"), channel(rig) as admin:
        queue = await admin.get_queue(topology(rig).queue("default"))
        await queue.purge()


async def rabbit_delete(rig: Rig, strike: Strike) -> None:
    """The queue is gone, with all that was in it and all who consumed from it, until somebody misses it."""
    async with rig.alone("rabbit"):
        async with channel(rig) as admin:
            await admin.queue_delete(topology(rig).queue("default"))
        await queue_is_there(rig)


async def queue_is_there(rig: Rig) -> None:
    """And on disk: what strikes next may be a kill."""
    while True:
        with suppress(aio_pika.exceptions.AMQPError, OSError):
            async with channel(rig) as admin:
                await admin.get_queue(topology(rig).queue("default"))
                break
        await asyncio.sleep(0.2)
    await asyncio.sleep(QUEUE_ON_DISK_S)


# -- the ways between them ------------------------------------------------------------------------


@asynccontextmanager
async def way(rig: Rig, strike: Strike) -> AsyncIterator[Proxy]:
    """The way between one kind of process and one server."""
    ways = [(role, server) for role in ROLES for server in SERVERS]
    one = rig.ways[ways[strike.place % len(ways)]]
    async with rig.alone(one.name):
        yield one
        share = one.lose_share  # a run may lose replies all the time
        one.heal()
        one.lose_replies(share=share)


async def lose_replies(rig: Rig, strike: Strike) -> None:
    """The next few, one connection after the other: each time it was done, and nobody heard."""
    async with way(rig, strike) as one:
        before, wanted = one.lost, round(between((1, 8), strike.size))
        one.lose_replies(wanted, share=one.lose_share)
        with suppress(TimeoutError):
            async with asyncio.timeout(STALL_S[1]):
                while one.lost < before + wanted:
                    await asyncio.sleep(0.02)


async def cut(rig: Rig, strike: Strike) -> None:
    async with way(rig, strike) as one:
        one.cut()


async def refuse(rig: Rig, strike: Strike) -> None:
    async with way(rig, strike) as one:
        one.refuse()
        await asyncio.sleep(between(STALL_S, strike.size))


async def stall(rig: Rig, strike: Strike, *, ways: tuple[Way, ...] = ()) -> None:
    async with way(rig, strike) as one:
        one.stall(*ways)
        await asyncio.sleep(between(STALL_S, strike.size))


async def slow(rig: Rig, strike: Strike) -> None:
    async with way(rig, strike) as one:
        latency_s = between(LATENCY_S, strike.size)
        one.slow(latency_s, latency_s / 2, 256 * 1024)
        await asyncio.sleep(STALL_S[1])


FAULTS: dict[str, Fault] = {
    **{f"{role}.kill": partial(end, role=role, number=signal.SIGKILL) for role in ROLES},
    **{f"{role}.stop": partial(stop, role=role) for role in ROLES},
    "worker.kill_at_work": kill_at_work,
    "worker.stop_at_work": stop_at_work,
    "worker.leave": partial(end, role="worker", number=signal.SIGTERM),
    "scheduler.leave": partial(end, role="scheduler", number=signal.SIGTERM),
    "redis.kill": redis_kill,
    "redis.stall": redis_stall,
    "redis.forget_scripts": partial(redis_ask, command="SCRIPT FLUSH"),
    "redis.full": partial(redis_while, command="CONFIG SET maxmemory 1", back="CONFIG SET maxmemory 0"),
    "redis.replica": partial(redis_while, command=f"REPLICAOF {HOST} 1", back="REPLICAOF NO ONE"),
    "redis.drop_clients": partial(redis_ask, command="CLIENT KILL TYPE normal SKIPME yes"),
    "redis.drop_listeners": partial(redis_ask, command="CLIENT KILL TYPE pubsub"),
    "rabbit.kill": rabbit_kill,
    "rabbit.alarm": rabbit_alarm,
    "rabbit.close": rabbit_close,
    "rabbit.purge": rabbit_purge,
    "rabbit.delete": rabbit_delete,
    "way.lose_replies": lose_replies,
    "way.cut": cut,
    "way.refuse": refuse,
    "way.stall": stall,
    "way.deafen": partial(stall, ways=(Way.DOWN,)),
    "way.mute": partial(stall, ways=(Way.UP,)),
    "way.slow": slow,
    "hints.held": held,
    "hints.duplicates": duplicates,
    "hints.forged": forged,
    "hints.garbage": garbage,
}
