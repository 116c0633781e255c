"""A whole fleet replaced process by process, twice, under load: nobody waits for it, and nothing runs twice."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner import App, Client
from runner.handle import Handle
from tests.e2e import ledger
from tests.e2e.orders import approved, expected
from tests.e2e.processes import Launcher, launcher

Launch = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def system(redis_url: str, rabbit_url: str, namespace: str, tmp_path: Path) -> Iterator[Launcher]:
    with launcher(redis_url, rabbit_url, namespace, tmp_path) as one:
        yield one


async def replaced(system: Launcher, old: subprocess.Popen[bytes], launch: Launch, ready: str) -> None:
    """The new one first, then SIGTERM for the old one, as a deployment does it."""
    before = system.said(ready)
    launch()
    await asyncio.to_thread(system.until_said, ready, before + 1, 90)
    old.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(old.wait, 60) == 0, system.logs()


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_fleet_is_replaced_twice_under_load_and_no_step_is_called_twice(system: Launcher) -> None:
    for launch in (system.worker, system.worker, system.scheduler, system.scheduler):
        launch()
    # A process that is still starting knows no signal yet: it ends by it.
    for ready in ("worker.ready", "scheduler.ready"):
        await asyncio.to_thread(system.until_said, ready, 2, 90)
    over = asyncio.Event()
    handles: list[Handle[object]] = []

    async def load(client: Client) -> None:
        while not over.is_set():
            handles.append(await client.start("order", {"number": len(handles)}))
            await client.signal(handles[-1].id, approved, "ann")
            await asyncio.sleep(0.05)

    async with Client(App(system.namespace), system.store_url, system.broker_url) as client:
        loading = asyncio.create_task(load(client))
        try:
            for _ in range(2):
                for worker, scheduler in zip(running(system, "worker"), running(system, "scheduler"), strict=True):
                    await asyncio.gather(
                        replaced(system, worker, system.worker, "worker.ready"),
                        replaced(system, scheduler, system.scheduler, "scheduler.ready"),
                    )
        finally:
            over.set()
            await loading
        results = await asyncio.gather(*(handle.result(timeout=90) for handle in handles))
        ended = [await handle.execution() for handle in handles]
    assert results == [expected(number, "ann") for number in range(len(handles))]
    assert {one.crashes for one in ended} == {0}
    assert set(ledger.counts(system.ledger, "called").values()) == {1}
    assert len(ledger.counts(system.ledger, "called")) == 5 * len(handles)


def running(system: Launcher, kind: str) -> list[subprocess.Popen[bytes]]:
    return [one for one in system.started if one.poll() is None and system.logs_of[one.pid].name.startswith(f"{kind}-")]
