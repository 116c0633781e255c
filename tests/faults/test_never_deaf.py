"""Worker, scheduler and client, each cut off from each server in every way: afterwards all of them go on by themselves."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from runner import App, Client, Context, current_step
from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.errors import InfrastructureError
from runner.handle import Handle
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store import Store
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions
from runner.workers.unwell import EXIT_DEAF
from tests.e2e.processes import ROOT, launcher
from tests.faults.frames import Undelivered
from tests.faults.proxy import Proxy, Way

LEASE_S = 3.0
PARTS = ("worker", "scheduler", "client")


@asynccontextmanager
async def backends(app: App, to_store: Proxy, to_broker: Proxy) -> AsyncIterator[tuple[Store, Broker]]:
    async with AsyncExitStack() as stack:
        store = open_store(to_store.url, namespace=app.name)
        broker = open_broker(to_broker.url, namespace=app.name)
        stack.push_async_callback(store.close)
        await store.open()
        stack.push_async_callback(broker.close)
        await broker.open(["default"])
        yield store, broker


#: In which directions nothing passes, and for how long; (): all connections break. Short ones and a long one go side by side.
WAYS = ((((), 0.0), ((Way.UP,), 4.0), ((Way.DOWN,), 4.0)), (((Way.UP, Way.DOWN), 8.0),))


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_after_every_way_of_being_cut_off_all_go_on_by_themselves(
    redis_url: str, rabbit_url: str, namespace: str
) -> None:
    async with asyncio.TaskGroup() as systems:
        for place, ways in enumerate(WAYS):
            systems.create_task(cut_off(redis_url, rabbit_url, f"{namespace}-{place}", ways))


async def cut_off(
    redis_url: str, rabbit_url: str, namespace: str, all_ways: Sequence[tuple[tuple[Way, ...], float]]
) -> None:
    app, calls = App(namespace), Counter[str]()

    def work() -> None:
        calls[current_step().execution_id] += 1

    @app.workflow("flow")
    async def flow(ctx: Context, number: int) -> int:
        await ctx.step("first", work)
        await ctx.sleep(0.2)
        await ctx.step("second", work)
        return number

    async with AsyncExitStack() as stack:
        proxies = {
            (part, server): await stack.enter_async_context(Proxy(url, name=f"{part} to {server}"))
            for part in PARTS
            for server, url in (("store", redis_url), ("broker", rabbit_url))
        }
        ends = {
            part: await stack.enter_async_context(backends(app, proxies[part, "store"], proxies[part, "broker"]))
            for part in PARTS
        }
        worker = WorkerOptions(lease_s=LEASE_S, grace_s=2.0, watch_loop=False)
        await stack.enter_async_context(Worker(app, *ends["worker"], worker))
        scheduler = SchedulerOptions(lease_s=LEASE_S, leader_ttl_s=1.0)
        await stack.enter_async_context(Scheduler(*ends["scheduler"], scheduler))
        client = await stack.enter_async_context(Client(app, *ends["client"]))
        all = tuple(proxies.values())

        handles: list[Handle[int]] = []

        async def start() -> None:
            """What a producer does that gets no answer: ask again under the same key."""
            number = len(handles)
            while len(handles) == number:
                try:
                    handles.append(await client.start(flow, number, idempotency_key=f"key-{number}"))
                except InfrastructureError:
                    await asyncio.sleep(0.1)

        async def goes_on() -> None:
            async with asyncio.timeout(60):
                await start()
                await handles[-1].result(timeout=60)

        await goes_on()
        for ways, seconds in all_ways:
            for proxy in all:
                proxy.stall(*ways) if ways else proxy.cut()
            starting = asyncio.create_task(start())
            await asyncio.sleep(seconds)
            for proxy in all:
                proxy.heal()
            async with asyncio.timeout(60):
                await starting
            await goes_on()
        for number, handle in enumerate(handles):
            assert await handle.result(timeout=60) == number
            recorded = [entry.id for entry in (await client.history(handle.id)).entries if entry.kind == "step"]
            assert recorded == ["first", "second"]
    assert set(calls) == {handle.id for handle in handles}


#: A program, and a worker as it is launched but for the time between two looks.
OFTEN = """
import os
from runner import App
from runner.cli import main
from runner.workers.hearing import Hearing

app = App(os.environ["RUNNER_TEST_NAMESPACE"])

@app.workflow("flow")
async def flow(ctx, number: int) -> int:
    return number

if __name__ == "__main__":
    Hearing.__init__.__kwdefaults__["every_s"] = 0.3
    main()
"""


@pytest.mark.timeout(120)
async def test_a_process_that_is_delivered_nothing_over_a_connection_in_good_health_leaves_for_another(
    redis_url: str, rabbit_url: str, namespace: str, tmp_path: Path
) -> None:
    """Heartbeats come, whatever is asked is answered: nobody but the worker itself can find out that it is deaf."""
    app = App(namespace)

    @app.workflow("flow")
    async def flow(ctx: Context, number: int) -> int:
        return number

    (tmp_path / "often.py").write_text(OFTEN)
    path = {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    options = ("worker", "--app", "often:app", "--concurrency", "1", "--grace", "2")
    with launcher(redis_url, rabbit_url, namespace, tmp_path) as system:
        async with Proxy(rabbit_url) as proxy, Client(app, redis_url, rabbit_url) as client:
            proxy.filtered(Undelivered)
            deaf = system.launch(*options, module="often", environment=path | {"RUNNER_BROKER_URL": proxy.url})
            await asyncio.to_thread(system.until_said, "worker.ready", 1, 60)
            handles = await client.start_many(flow, list(range(4)))
            assert await asyncio.to_thread(deaf.wait, 60) == EXIT_DEAF, system.logs()
            assert system.said("worker.deaf") >= 6
            assert proxy.accepted >= 3, "two new sessions came before it left"
            system.launch(*options, module="often", environment=path)
            assert [await handle.result(timeout=60) for handle in handles] == list(range(4))
