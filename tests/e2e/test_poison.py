"""What takes its worker with it is given up after its bound, with a clear error, and harms no other execution."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runner import App, Client, ExecutionFailed
from runner.records import Cause
from tests.e2e import ledger
from tests.e2e.processes import Launcher, launcher

CRASHES = 4
LIMIT = ("--lease", "1.5", "--max-crashes", str(CRASHES))
STRIKES = ("exit", "kill", "block")


@pytest.fixture
def system(redis_url: str, rabbit_url: str, namespace: str, tmp_path: Path) -> Iterator[Launcher]:
    with launcher(redis_url, rabbit_url, namespace, tmp_path, "tests.e2e.poisons:app") as one:
        yield one


def worker(system: Launcher) -> subprocess.Popen[bytes]:
    return system.worker(*LIMIT, "--stall", "3", "--queues", "default")


@contextlib.asynccontextmanager
async def supervised(system: Launcher, places: int = 2) -> AsyncIterator[list[int]]:
    """Workers that are started again when they end; yields the exit codes so far."""
    codes: list[int] = []

    async def keep() -> None:
        while True:
            code = await asyncio.to_thread(worker(system).wait)
            codes.append(code)

    keepers = [asyncio.create_task(keep()) for _ in range(places)]
    try:
        yield codes
    finally:
        for keeper in keepers:
            keeper.cancel()
        for process in system.started:
            process.kill()
        await asyncio.wait(keepers)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_what_ends_its_process_is_given_up_and_the_innocent_beside_it_are_not(system: Launcher) -> None:
    system.scheduler(*LIMIT)
    async with (
        supervised(system) as codes,
        Client(App(system.namespace), system.store_url, system.broker_url) as client,
    ):
        await asyncio.to_thread(system.until_said, "worker.ready", 2)
        deadly = [await client.start("poison", how) for how in STRIKES]
        deadly.append(await client.start("endless", ""))
        innocent = await client.start_many("innocent", list(range(8)))
        try:
            results = await asyncio.gather(*(one.result(timeout=200) for one in innocent))
            for handle in deadly:
                with pytest.raises(ExecutionFailed, match=r"lost its worker 4 times in a row .* Mend it"):
                    await handle.result(timeout=200)
        except TimeoutError:
            pytest.fail(system.logs())
        assert results == [2 * number for number in range(8)]
        ends = [await client.execution(handle.id) for handle in deadly]
        assert {(one.cause, one.crashes) for one in ends} == {(Cause.POISONED, CRASHES)}
    assert set(ledger.counts(system.ledger, "struck").values()) == {CRASHES}
    assert 70 in codes  # the loop that hung


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_what_python_contains_fails_its_execution_and_its_worker_goes_on(system: Launcher) -> None:
    system.scheduler(*LIMIT)
    only = system.worker("--queues", "default")
    async with Client(App(system.namespace), system.store_url, system.broker_url) as client:
        beside = await client.start("innocent", 1)
        for what, said in (
            ("recursion in code", "RecursionError"),
            ("recursion in a step", "RecursionError"),
            ("memory", "MemoryError"),
        ):
            with pytest.raises(ExecutionFailed, match=said):
                await (await client.start("bounded", what)).result(timeout=90)
        assert await beside.result(timeout=30) == 2
        assert await (await client.start("innocent", 2)).result(timeout=30) == 4
    assert only.poll() is None
