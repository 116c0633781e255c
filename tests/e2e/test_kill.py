"""Processes that are killed: nothing is lost, and nothing recorded runs twice."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import Client
from runner.app import App
from tests.e2e import ledger
from tests.e2e.orders import approved, expected
from tests.e2e.processes import Launcher, launcher


@pytest.fixture
def system(redis_url: str, rabbit_url: str, namespace: str, tmp_path: Path) -> Iterator[Launcher]:
    with launcher(redis_url, rabbit_url, namespace, tmp_path) as one:
        yield one


def client(system: Launcher) -> Client:
    app = App(system.namespace)
    orders = importlib.import_module("tests.e2e.orders")
    for workflow in orders.app.workflows():
        app._workflows[workflow.name, workflow.version] = workflow
    return Client(app, system.store_url, system.broker_url)


async def test_a_killed_workers_order_goes_on_elsewhere(system: Launcher) -> None:
    system.scheduler()
    first = system.worker("--lease", "2")
    system.until_said("worker.ready")
    async with client(system) as producer:
        handle = await producer.start("order", {"number": 1})
        async with asyncio.timeout(20):
            while not ledger.counts(system.ledger, "called"):
                await asyncio.sleep(0.005)
        first.kill()
        system.worker("--lease", "2")
        await producer.signal(handle.id, approved, "ann")
        assert await handle.result(timeout=30) == expected(1, "ann")
        called = ledger.counts(system.ledger, "called")
    assert set(called.values()) <= {1, 2}
    assert sum(called.values()) in (5, 6)  # what was in flight at the kill was called again, and nothing else


async def test_two_workers_share_the_work(system: Launcher) -> None:
    system.scheduler()
    for _ in range(2):
        system.worker("--concurrency", "5")
    system.until_said("worker.ready", 2)
    async with client(system) as producer:
        handles = await producer.start_many("order", [{"number": number} for number in range(60)])
        for handle in handles:
            await producer.signal(handle.id, approved, "ann")
        await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
    share = [line["worker"] for line in ledger.read(system.ledger)]
    by_worker = sorted(share.count(worker) for worker in set(share))
    assert len(by_worker) == 2 and by_worker[0] > len(share) * 0.2, by_worker


async def test_without_a_scheduler_timers_are_late_and_none_is_lost(system: Launcher) -> None:
    only = system.scheduler()
    system.worker()
    system.until_said("worker.ready")
    system.until_said("leader.elected")
    async with client(system) as producer:
        handles = await producer.start_many("timer", [0.5] * 20)
        await asyncio.sleep(0.3)
        only.kill()
        await asyncio.sleep(2)
        assert {await handle.status() for handle in handles} <= {"sleeping", "pending", "running", "completed"}
        system.scheduler()
        results = await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
        assert all(result >= 0.5 for result in results)
