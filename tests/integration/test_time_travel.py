"""A Redis that went back in time: the tail of its log is cut off, as a power loss with `everysec` does it.

The broker is this process's, so its hints outlive what they are for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from runner import App, Client, Context, Signal
from runner.broker.memory import MemoryBroker
from runner.records import Status
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store import Store
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions
from tests.servers import RedisServer

approved = Signal[str]("approved")


def the_log(server: RedisServer) -> Path:
    """The file that Redis appends to."""
    (log,) = (server.home / "appendonlydir").glob("*.incr.aof")
    return log


@asynccontextmanager
async def running(app: App, store: Store, broker: MemoryBroker) -> AsyncIterator[None]:
    options = WorkerOptions(watch_loop=False, grace_s=2.0)
    async with Scheduler(store, broker, SchedulerOptions(leader_ttl_s=1.0)), Worker(app, store, broker, options):
        yield


async def test_what_went_back_in_time_is_found_told_and_goes_on(own_redis: RedisServer, app: App) -> None:
    @app.workflow("approve")
    async def approve(ctx: Context) -> str:
        return await ctx.wait_for_signal(approved)

    @app.workflow("plain")
    async def plain(ctx: Context) -> str:
        return await ctx.step("work", work)

    async def work() -> str:
        return "worked"

    store, broker = open_store(own_redis.url, namespace=app.name), MemoryBroker(app.name)
    await store.open()
    await broker.open(["default"])
    client = Client(app, store, broker)
    waits = await client.start(approve)
    async with running(app, store, broker):
        await until(status_is(client, waits.id, Status.SLEEPING))
    early = await client.start(plain)

    size = the_log(own_redis).stat().st_size
    await waits.signal(approved, "lost")
    lost = await client.start(plain)
    own_redis.kill()
    os.truncate(the_log(own_redis), size)
    own_redis.start()

    with structlog.testing.capture_logs() as logs:
        async with running(app, store, broker):
            assert await early.result(timeout=60) == "worked"
            await until(counted(store))
            assert await broker.orphans() == 1
            assert await waits.status() is Status.SLEEPING, "its signal is gone"
            await waits.signal(approved, "again")
            assert await waits.result(timeout=60) == "again"
            assert await (await client.start(plain, id=lost.id)).result(timeout=60) == "worked"
    found = await store.losses()
    assert (found.rewound_ids, found.orphaned_ids) == ((waits.id,), (lost.id,))
    assert [row.fields for row in await store.audit(waits.id) if row.kind == "rewound"] == [{"seq": 1, "hint": 2}]
    assert [entry["execution_id"] for entry in logs if entry["event"] == "hint.orphaned"] == [lost.id]
    await store.close()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await true():
            await asyncio.sleep(0.02)


def status_is(client: Client, id: str, status: Status) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return (await client.execution(id)).status is status

    return holds


def counted(store: Store) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        found = await store.losses()
        return (found.rewound, found.orphaned) == (1, 1)

    return holds
