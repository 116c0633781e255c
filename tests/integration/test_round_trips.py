"""How often an execution talks to Redis, counted at the server."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import fields
from typing import Self

from redis import Redis

from runner import App, Client, Context
from runner.broker.memory import MemoryBroker
from runner.scheduler import Scheduler
from runner.store.redis import RedisStore
from runner.store.redis.scripts import scripts
from runner.workers import Worker, WorkerOptions
from tests.servers import RedisServer


class Monitor:
    """Everything the server was asked to run, by script."""

    def __init__(self, url: str) -> None:
        loaded = scripts()
        self._names = {getattr(loaded, field.name).sha: field.name for field in fields(loaded)}
        self._monitor = Redis.from_url(url).monitor()

    def __enter__(self) -> Self:
        self._monitor.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._monitor.__exit__(*exc)

    def count(self, until: str) -> Counter[str]:
        """Script calls up to the ECHO of ``until``."""
        counted: Counter[str] = Counter()
        while True:
            words = self._monitor.next_command()["command"].split()
            if words[:2] == ["ECHO", until]:
                return counted
            if words[0] == "EVALSHA":
                counted[self._names[words[1]]] += 1


async def test_round_trips_of_an_execution(own_redis: RedisServer, namespace: str) -> None:
    app = App(namespace)

    async def work() -> int:
        return 1

    @app.workflow("plain")
    async def plain(ctx: Context) -> int:
        return sum([await ctx.step(f"s{number}", work) for number in range(5)])

    @app.workflow("waiting")
    async def waiting(ctx: Context) -> int:
        await ctx.sleep(0.3)
        return await ctx.step("last", work)

    async with AsyncExitStack() as stack:
        store = RedisStore(own_redis.url, namespace=namespace)
        await store.open()
        stack.push_async_callback(store.close)
        broker = MemoryBroker(namespace)
        await broker.open()
        stack.push_async_callback(broker.close)
        await stack.enter_async_context(Scheduler(store, broker))
        # A lease that is not renewed within this test: renewals are per process, not per execution.
        options = WorkerOptions(watch_loop=False, lease_s=300, grace_s=2)
        await stack.enter_async_context(Worker(app, store, broker, options))
        client = await stack.enter_async_context(Client(app, store, broker))
        await client.start_and_wait(plain, wait_timeout=20)  # loads the scripts
        echo = Redis.from_url(own_redis.url)

        with Monitor(own_redis.url) as monitor:
            handle = await client.start(plain)
            assert await handle.result(timeout=20) == 5
            await asyncio.to_thread(echo.echo, "plain-done")
            seen = await asyncio.to_thread(monitor.count, "plain-done")
        # start, one claim with the whole history, one commit a step; the last one carries the end.
        assert {name: seen[name] for name in ("start", "claim", "commit")} == {"start": 1, "claim": 1, "commit": 5}

        with Monitor(own_redis.url) as monitor:
            handle = await client.start(waiting)
            assert await handle.result(timeout=20) == 1
            await asyncio.to_thread(echo.echo, "waiting-done")
            seen = await asyncio.to_thread(monitor.count, "waiting-done")
        # Two turns: the first suspends in one commit; the second commits what it has heard before it calls the
        # step, and the step's result together with the end.
        assert {name: seen[name] for name in ("start", "claim", "commit")} == {"start": 1, "claim": 2, "commit": 3}
        echo.close()
