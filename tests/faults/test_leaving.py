"""A worker that leaves goes through all its phases whatever hangs, and what it could not hand back goes on elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from structlog.testing import capture_logs

from runner import App, Client, Context
from runner.broker.factory import open_broker
from runner.events import Draining
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions
from runner.workers.drain import PHASES
from tests.faults.proxy import Proxy

NAMES = [phase.name for phase in PHASES]


@asynccontextmanager
async def through(app: App, store_url: str, broker_url: str) -> AsyncIterator[Worker]:
    """A worker that is drained by the test."""
    async with AsyncExitStack() as stack:
        store, broker = open_store(store_url, namespace=app.name), open_broker(broker_url, namespace=app.name)
        stack.push_async_callback(store.close)
        await store.open()
        stack.push_async_callback(broker.close)
        await broker.open(["default"])
        yield await stack.enter_async_context(Worker(app, store, broker, WorkerOptions(grace_s=1.0, watch_loop=False)))


@pytest.mark.parametrize("hanging", ["store", "broker", "step", "observer"])
async def test_all_phases_are_gone_through_whatever_hangs(
    redis_url: str, rabbit_url: str, namespace: str, hanging: str
) -> None:
    app = App(namespace)
    running, let_go = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        running.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                if hanging != "step":
                    raise

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        await ctx.step("stubborn", stubborn)

    @app.on(Draining)
    async def watching(_: Draining) -> None:
        if hanging == "observer":
            await let_go.wait()

    async with (
        Proxy(redis_url) as to_store,
        Proxy(rabbit_url) as to_broker,
        Client(app, redis_url, rabbit_url) as client,
        through(app, to_store.url, to_broker.url) as worker,
    ):
        await client.start(flow)
        async with asyncio.timeout(30):
            await running.wait()
        if hanging == "store":
            to_store.stall()
        if hanging == "broker":
            to_broker.stall()
        with capture_logs() as logs:
            async with asyncio.timeout(30):
                await worker.drain()
        to_store.heal()
        to_broker.heal()
        let_go.set()
    assert [log["phase"] for log in logs if log["event"].startswith("worker.drain_phase")] == NAMES
    over = {log["phase"] for log in logs if log["event"] == "worker.drain_phase_over_budget"}
    assert "finish" in over  # the step was under way
    assert {"store": "hand back", "broker": "intake", "step": "hand back", "observer": "observers"}[hanging] in over
