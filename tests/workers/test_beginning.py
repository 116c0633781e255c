"""A worker that cannot begin leaves nothing running behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from runner import App
from runner.broker.memory import MemoryBroker
from runner.errors import BrokerUnavailable
from runner.store.sqlite import SqliteStore
from runner.workers import Worker, WorkerOptions


class AwayForConsumers(MemoryBroker):
    async def consume(self, *_: object) -> None:  # type: ignore[override]
        raise BrokerUnavailable("nobody is there")


async def test_neither_threads_nor_listeners_stay_when_the_broker_is_away() -> None:
    app = App("begins")
    store, broker = SqliteStore(None, namespace=app.name), AwayForConsumers(app.name)
    await store.open()
    await broker.open(["default"])
    before = set(threading.enumerate())
    with pytest.raises(BrokerUnavailable):
        await Worker(app, store, broker, WorkerOptions(watch_loop=False)).__aenter__()
    async with asyncio.timeout(10):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0)
    # The loop's own pool of threads stays with the loop.
    assert {one.name for one in set(threading.enumerate()) - before if not one.name.startswith("asyncio_")} == set()
    await store.close()
    await broker.close()
