"""Processes that are killed: nothing is lost, and nothing recorded runs twice."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import Client
from runner.app import App
from tests.e2e import ledger
from tests.e2e.orders import approved, expected
from tests.e2e.processes import Launcher, launcher
from tests.servers import RabbitServer


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


async def killing(system: Launcher, workers: list[subprocess.Popen[bytes]], kills: list[int]) -> None:
    """One worker a second, each replaced at once; never the only one that is up, or nothing could ever end."""
    while True:
        await asyncio.sleep(1.0)
        up = [worker for worker in workers if system.has_said(worker, "worker.ready")]
        if len(up) == len(workers):
            victim = up[len(kills) % 2]
            victim.kill()
            victim.wait()
            workers[workers.index(victim)] = system.worker("--lease", "3", "--concurrency", "20")
            kills.append(victim.pid)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_three_hundred_orders_survive_a_kill_every_second(system: Launcher) -> None:
    workers = [system.worker("--lease", "3", "--concurrency", "20") for _ in range(2)]
    system.scheduler()
    system.until_said("worker.ready", 2)
    kills: list[int] = []
    killer = asyncio.create_task(killing(system, workers, kills))
    async with client(system) as producer:
        handles = []
        for number in range(300):
            handles.append(await producer.start("order", {"number": number}))
            await producer.signal(handles[-1].id, approved, f"ann{number}")
            while len(kills) < number // 30:  # work in flight at every kill, on a slow machine too
                await asyncio.sleep(0.05)
        try:
            results = await asyncio.gather(*(handle.result(timeout=90) for handle in handles))
        except TimeoutError:
            pytest.fail(system.logs())
        finally:
            killer.cancel()
        killed = len(kills)
        assert results == [expected(number, f"ann{number}") for number in range(300)]
        called = ledger.counts(system.ledger, "called")
        assert set(called) == {
            (handle.id, step) for handle in handles for step in ("reserve", "charge", "pack", "ship", "invoice")
        }
        again = sum(count - 1 for count in called.values())
        assert killed >= 9
        # Only what was in flight when a worker died runs again: at most its slots.
        assert again <= killed * 20, (again, killed)
        for handle in handles:
            history = await producer.history(handle.id)
            recorded = [entry.id for entry in history.entries if entry.kind == "step"]
            assert recorded == ["reserve", "charge", "pack", "ship", "invoice"]


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


async def test_a_standby_takes_over_within_five_seconds(system: Launcher) -> None:
    schedulers = [system.scheduler(), system.scheduler()]
    system.worker()
    system.until_said("worker.ready")
    system.until_said("leader.elected")
    async with client(system) as producer:
        handle = await producer.start("timer", 2.0)
        await asyncio.sleep(0.5)
        logs = sorted(system.folder.glob("scheduler-*.log"))
        leader = next(i for i, log in enumerate(logs) if "leader.elected" in log.read_text())
        schedulers[leader].kill()
        killed = time.monotonic()
        system.until_said("leader.elected", 2, timeout=5)
        assert time.monotonic() - killed < 5
        assert await handle.result(timeout=10) >= 2.0


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


@pytest.mark.parametrize("grace", ["10"])
async def test_sigterm_drains_and_exits_zero(system: Launcher, grace: str) -> None:
    system.scheduler()
    worker = system.worker("--grace", grace)
    system.until_said("worker.ready")
    async with client(system) as producer:
        handles = await producer.start_many("order", [{"number": number} for number in range(20)])
        async with asyncio.timeout(20):
            while not ledger.counts(system.ledger, "called"):
                await asyncio.sleep(0.005)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 15) == 0
        system.worker()
        for handle in handles:
            await producer.signal(handle.id, approved, "ann")
        await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
        assert {(await producer.execution(handle.id)).crashes for handle in handles} == {0}
    assert set(ledger.counts(system.ledger, "called").values()) == {1}


@pytest.mark.slow
async def test_a_worker_that_was_stopped_past_its_lease_writes_nothing(system: Launcher) -> None:
    system.scheduler()
    first = system.worker("--lease", "2")
    system.until_said("worker.ready")
    async with client(system) as producer:
        handles = await producer.start_many("order", [{"number": number} for number in range(10)])
        async with asyncio.timeout(20):
            while len(ledger.read(system.ledger)) < 5:
                await asyncio.sleep(0.002)
        os.kill(first.pid, signal.SIGSTOP)
        system.worker("--lease", "2")
        await asyncio.sleep(5)
        os.kill(first.pid, signal.SIGCONT)
        for handle in handles:
            await producer.signal(handle.id, approved, "ann")
        results: list[Any] = await asyncio.gather(*(handle.result(timeout=40) for handle in handles))
        assert results == [expected(number, "ann") for number in range(10)]
        assert first.poll() is None


@pytest.mark.slow
async def test_all_queues_lost_and_everything_still_completes(
    redis_url: str, own_rabbit: RabbitServer, namespace: str, tmp_path: Path
) -> None:
    with launcher(redis_url, own_rabbit.url, namespace, tmp_path) as system:
        system.scheduler()
        system.worker()
        system.until_said("worker.ready")
        system.until_said("leader.elected")
        async with client(system) as producer:
            handles = await producer.start_many("order", [{"number": number} for number in range(30)])
            await asyncio.sleep(0.3)
            await asyncio.to_thread(own_rabbit.wipe)
            for handle in handles:
                await producer.signal(handle.id, approved, "ann")
            late = await producer.start("order", {"number": 99})
            await producer.signal(late.id, approved, "bob")
            try:
                results = await asyncio.gather(*(handle.result(timeout=60) for handle in [*handles, late]))
            except TimeoutError:
                pytest.fail(system.logs())
        assert results[-1] == expected(99, "bob")
