"""A tick of 1,000 schedules at once, among 10,000: how long until all are started, what is asked of the store, what memory
grows. Against servers the executions are run by a worker process of its own.

Run: python -m tests.setup.with_servers python benchmarks/schedules.py
     python benchmarks/schedules.py            (embedded, in memory; without the server's own count)
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from redis.asyncio import Redis

from runner import App, Client, Context
from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.records import Schedule
from runner.scheduler import Scheduler
from runner.store import Store
from runner.store.factory import open_store
from runner.workers import Worker

SCHEDULES, DUE = 10_000, 1_000
BATCH = 500
TICKS = 3
URL = os.environ.get("RUNNER_STORE_URL", "sqlite://")
NAMESPACE = "RUNNER_BENCH_NAMESPACE"
app = App(os.environ.setdefault(NAMESPACE, f"bench{os.getpid()}"))


@app.workflow("beat")
async def beat(ctx: Context) -> None:
    pass


async def kept(client: Client, count: int) -> None:
    """``count`` schedules that are due in a year, copied from one that a client has made."""
    model = await client.ensure_schedule(
        beat, id="model", interval=timedelta(days=365), start_at=datetime.now(UTC) + timedelta(days=365)
    )
    await put(client.store, [replace(model, id=f"far-{number}") for number in range(count)])


async def put(store: Store, schedules: list[Schedule]) -> None:
    for first in range(0, len(schedules), BATCH):
        assert all(await store.put_schedules(schedules[first : first + BATCH]))


async def due(client: Client, count: int, lead_ms: int) -> int:
    """``count`` schedules that are all due at one moment, and have one tick; returns the moment."""
    now = await client.store.now()
    model = await client.get_schedule("model")
    tick = now + lead_ms
    ones = [
        replace(model, id=f"due-{tick}-{number}", start_at=tick, end_at=tick, grid_from=tick - 1, due_at=tick)
        for number in range(count)
    ]
    await put(client.store, ones)
    return tick


async def until_started(client: Client, tick: int, count: int) -> int:
    """How long after the tick the last of them was started, in ms by the store's clock."""
    while True:
        page = await client.store.schedules(count, f"due-{tick}-")
        ran = [one for one in page if one.id.startswith(f"due-{tick}-") and one.runs == 1 and one.pending is None]
        if len(ran) == count:
            return max(one.last_started_at or 0 for one in ran) - tick
        await asyncio.sleep(0.25)


async def commands() -> Counter[str]:
    """What the server has carried out since its start, by command; nothing for an embedded store."""
    if not URL.startswith("redis"):
        return Counter()
    async with Redis.from_url(URL) as redis:
        stats = await redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()})


def memory_mib() -> float:
    """What this process holds now: store, broker and scheduler of it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def measure(client: Client) -> None:
    for number in range(1, TICKS + 1):
        tick = await due(client, DUE, lead_ms=5_000)
        await asyncio.sleep(max(tick - 200 - await client.store.now(), 0) / 1000)
        before, cpu = await commands(), time.process_time()
        late_ms = await until_started(client, tick, DUE)
        spent = await commands() - before
        print(
            f"tick {number}: {DUE} of {SCHEDULES} started within {late_ms} ms, {time.process_time() - cpu:.1f} s of "
            f"processor, {spent['evalsha'] / DUE:.1f} scripts and {spent.total() / DUE:.0f} commands each (with those "
            f"of their executions), {memory_mib():.0f} MiB"
        )


async def idle(seconds: float = 5) -> None:
    before = await commands()
    await asyncio.sleep(seconds)
    spent = (await commands())["evalsha"] - before["evalsha"]
    print(f"{SCHEDULES - DUE} schedules, none due: {spent / seconds:.0f} scripts a second, {memory_mib():.0f} MiB")


@asynccontextmanager
async def working(store: Store, broker: Broker) -> AsyncIterator[None]:
    if not URL.startswith("redis"):
        async with Worker(app, store, broker):
            yield
        return
    command = [sys.executable, "-m", "runner", "worker", "--app", "schedules:app", "--log-level", "error"]
    arrived = await store.subscribe("workers")
    worker = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parent)
    try:
        await arrived.next(30)
        await arrived.close()
        yield
    finally:
        worker.terminate()
        await worker.wait()


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    store = open_store(URL, namespace=app.name)
    broker = open_broker(os.environ.get("RUNNER_BROKER_URL", "memory://"), namespace=app.name)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        await store.open()
        stack.push_async_callback(broker.close)
        await broker.open(["default"])
        client = await stack.enter_async_context(Client(app, store, broker))
        await kept(client, SCHEDULES - DUE)
        await stack.enter_async_context(working(store, broker))
        await stack.enter_async_context(Scheduler(store, broker))
        await idle()
        await measure(client)


if __name__ == "__main__":
    asyncio.run(main())
