"""Executions a second: three steps each, one worker, against the same steps called without durability.

Run: python benchmarks/throughput.py            (embedded, in memory)
     RUNNER_STORE_URL=redis://… RUNNER_BROKER_URL=amqp://… python benchmarks/throughput.py
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import asynccontextmanager
from typing import Any

import structlog

from runner import App, Client, Context
from runner.broker.factory import open_broker
from runner.scheduler import Scheduler
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions

EXECUTIONS = 1_000
app = App(f"bench{os.getpid()}")


async def work(number: int) -> int:
    return number + 1


@app.workflow("three")
async def three(ctx: Context, number: int) -> int:
    for name in "abc":
        number = await ctx.step(name, work, number)
    return number


@asynccontextmanager
async def fleet() -> Any:
    store = open_store(os.environ.get("RUNNER_STORE_URL", "sqlite://"), namespace=app.name)
    broker = open_broker(os.environ.get("RUNNER_BROKER_URL", "memory://"), namespace=app.name)
    await store.open()
    await broker.open(["default"])
    async with Scheduler(store, broker), Worker(app, store, broker, WorkerOptions()), Client(app, store, broker) as one:
        yield one
    await broker.close()
    await store.close()


async def plain() -> float:
    begun = time.perf_counter()
    for number in range(EXECUTIONS):
        for _ in "abc":
            number = await work(number)  # noqa: PLW2901
    return time.perf_counter() - begun


async def durable(client: Client) -> float:
    begun = time.perf_counter()
    handles = await client.start_many(three, range(EXECUTIONS))
    await asyncio.gather(*(handle.result(timeout=120) for handle in handles))
    return time.perf_counter() - begun


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with fleet() as client:
        seconds, bare = await durable(client), await plain()
    print(f"{EXECUTIONS} executions of 3 steps: {seconds:.2f} s, {EXECUTIONS / seconds:.0f} a second")
    print(f"ratio to the bare calls: {seconds / bare:.0f}")


if __name__ == "__main__":
    asyncio.run(main())
