"""Everything in one process: a composition root, for scripts, notebooks, tests and ``runner dev``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from runner.app import App
from runner.broker.memory import MemoryBroker
from runner.client import Client
from runner.scheduler import Scheduler
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions


@asynccontextmanager
async def embedded(app: App, store: str = "sqlite://", *, concurrency: int = 100) -> AsyncGenerator[Client]:
    """A client whose worker and scheduler run beside it on this event loop.

    Leaving drains the worker. With a file, what was not finished goes on the next time.
    """
    async with AsyncExitStack() as stack:
        opened = open_store(store, namespace=app.name)
        await opened.open()
        stack.push_async_callback(opened.close)
        broker = MemoryBroker(app.name)
        await broker.open()
        stack.push_async_callback(broker.close)
        queues = tuple(sorted({workflow.queue for workflow in app.workflows()} or {"default"}))
        options = WorkerOptions(queues=queues, concurrency=concurrency, grace_s=5.0, watch_loop=False)
        await stack.enter_async_context(Scheduler(opened, broker, hooks=app.hooks))
        await stack.enter_async_context(Worker(app, opened, broker, options))
        yield await stack.enter_async_context(Client(app, opened, broker))
