"""Scenario 80: at the store's limit new work is refused by name, and what runs comes to its end, children included."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import Redis

from runner import App, Client, Context, Overloaded, Signal, Status
from runner.broker.memory import MemoryBroker
from runner.scheduler import Scheduler
from runner.store.redis import RedisStore
from runner.workers import Worker, WorkerOptions
from tests.contract.redis_kit import fill
from tests.servers import RedisServer

go = Signal[str]("go")


async def test_a_full_redis_refuses_new_work_and_running_executions_and_their_children_complete(
    app: App, own_redis: RedisServer
):
    running, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        running.set()
        await go_on.wait()
        return "worked"

    @app.workflow("child")
    async def child(ctx: Context, word: str) -> str:
        await ctx.sleep(0.01)
        return word + "!"

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[Any]:
        done = await ctx.step("work", work)
        first = await ctx.start_child("first", child, "a")
        return [done, await ctx.run_child("second", child, "b"), await first.result()]

    @app.workflow("waiting")
    async def waiting(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    store, broker = RedisStore(own_redis.url, namespace=app.name), MemoryBroker(app.name)
    await store.open()
    await broker.open()
    async with (
        Scheduler(store, broker),
        Client(app, store, broker) as client,
        Worker(app, store, broker, WorkerOptions(watch_loop=False, grace_s=2)),
    ):
        handle = await client.start(flow)
        other = await client.start(waiting)
        async with asyncio.timeout(20):
            await running.wait()
            while await other.status() is not Status.SLEEPING:
                await asyncio.sleep(0.01)
        with Redis.from_url(own_redis.url) as admin:
            fill(admin)
            for refused in (client.start(flow), other.signal(go, "on")):
                with pytest.raises(Overloaded, match="memory limit"):
                    await refused
            go_on.set()
            assert await handle.result(timeout=20) == ["worked", "b!", "a!"]
            await other.cancel()
            async with asyncio.timeout(20):
                while await other.status() is not Status.CANCELLED:
                    await asyncio.sleep(0.01)
            admin.config_set("maxmemory", "0")
        later = await client.start(waiting)
        assert await later.signal(go, "on") and await later.result(timeout=20) == "on"
    await broker.close()
    await store.close()
