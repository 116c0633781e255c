"""A whole system in one process, on either pair of backends: SQLite with the memory broker, Redis with RabbitMQ."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner import App, Client
from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store import Store
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions


@dataclass
class Backend:
    """Where a test's store and broker are, and how to reach them."""

    store_url: str
    broker_url: str
    shared_broker: Broker | None = None

    def store(self, namespace: str) -> Store:
        return open_store(self.store_url, namespace=namespace)

    def broker(self, namespace: str) -> Broker:
        if self.broker_url.startswith("memory"):
            self.shared_broker = self.shared_broker or open_broker(self.broker_url, namespace=namespace)
            return self.shared_broker
        return open_broker(self.broker_url, namespace=namespace)


@dataclass
class Fleet:
    """Everything that runs, to be looked at and broken."""

    client: Client
    store: Store
    broker: Broker
    scheduler: Scheduler | None
    add_worker: Callable[[], Awaitable[Worker]]
    workers: list[Worker] = field(default_factory=list)


@pytest.fixture(params=["sqlite", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "sqlite":
        return Backend(f"sqlite:///{tmp_path}/state.db", "memory://")
    return Backend(request.getfixturevalue("redis_url"), request.getfixturevalue("rabbit_url"))


Run = Callable[..., Any]


@pytest.fixture
def run(backend: Backend) -> Run:
    """``async with run(app) as fleet``: client, workers and a scheduler on this test's backend."""

    @asynccontextmanager
    async def running(
        app: App,
        *,
        workers: int = 1,
        scheduler: bool = True,
        lease_s: float = 10.0,
        grace_s: float = 5.0,
        concurrency: int = 50,
    ) -> AsyncIterator[Fleet]:
        async with AsyncExitStack() as stack:
            store = backend.store(app.name)
            await store.open()
            stack.push_async_callback(store.close)
            broker = backend.broker(app.name)
            await broker.open(["default"])
            stack.push_async_callback(broker.close)
            leads = None
            if scheduler:
                leads = await stack.enter_async_context(
                    Scheduler(store, broker, SchedulerOptions(leader_ttl_s=1.0, lease_s=lease_s))
                )
            client = await stack.enter_async_context(Client(app, store, broker))

            async def add_worker() -> Worker:
                options = WorkerOptions(lease_s=lease_s, grace_s=grace_s, concurrency=concurrency, watch_loop=False)
                fleet.workers.append(await stack.enter_async_context(Worker(app, store, broker, options)))
                return fleet.workers[-1]

            fleet = Fleet(client, store, broker, leads, add_worker)
            for _ in range(workers):
                await add_worker()
            yield fleet

    return running


@pytest.fixture
def app(namespace: str) -> App:
    return App(namespace)
