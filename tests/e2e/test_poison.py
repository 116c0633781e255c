"""What takes its worker with it is given up after its bound, with a clear error, and harms no other execution."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runner import App, Client, ExecutionFailed
from runner.loopwatch import EXIT_STALLED
from runner.records import Cause
from tests.e2e.processes import Launcher, launcher

CRASHES = 3
LIMIT = ("--lease", "1.5", "--max-crashes", str(CRASHES))


@pytest.fixture
def system(redis_url: str, rabbit_url: str, namespace: str, tmp_path: Path) -> Iterator[Launcher]:
    with launcher(redis_url, rabbit_url, namespace, tmp_path, "tests.e2e.poisons:app") as one:
        yield one


@contextlib.asynccontextmanager
async def supervised(system: Launcher) -> AsyncIterator[list[int]]:
    """One worker that is started again whenever it ends; yields the exit codes so far."""
    codes: list[int] = []

    async def keep() -> None:
        while True:
            one = system.worker(*LIMIT, "--stall", "2", "--queues", "default")
            codes.append(await asyncio.to_thread(one.wait))

    keeper = asyncio.create_task(keep())
    try:
        yield codes
    finally:
        keeper.cancel()
        for process in system.started:
            process.kill()
        await asyncio.wait({keeper})


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_what_ends_its_process_is_given_up_and_the_innocent_beside_it_are_not(system: Launcher) -> None:
    """In one process: without suspects, all would lose every worker together, and be given up together."""
    system.scheduler(*LIMIT)
    async with (
        supervised(system) as codes,
        Client(App(system.namespace), system.store_url, system.broker_url) as client,
    ):
        await asyncio.to_thread(system.until_said, "worker.ready", 1, 90)
        try:
            deadly = await client.start("poison", None)
            innocent = await client.start_many("innocent", list(range(5)))
            assert await asyncio.gather(*(one.result(timeout=150) for one in innocent)) == [0, 2, 4, 6, 8]
            with pytest.raises(ExecutionFailed, match=r"lost its worker 3 times in a row .* Mend it"):
                await deadly.result(timeout=150)
        except TimeoutError:
            pytest.fail(system.logs())
        ended = await deadly.execution()
        assert (ended.cause, ended.crashes) == (Cause.POISONED, CRASHES)
    assert codes[:CRASHES] == [3, -signal.SIGKILL, EXIT_STALLED]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_what_python_contains_fails_its_execution_and_its_worker_goes_on(system: Launcher) -> None:
    system.scheduler(*LIMIT)
    only = system.worker("--queues", "default")
    await asyncio.to_thread(system.until_said, "worker.ready", 1, 90)
    async with Client(App(system.namespace), system.store_url, system.broker_url) as client:
        beside = await client.start("innocent", 1)
        for what, said in (
            ("recursion in code", r"RecursionError.* in workflow code at \S+poisons.py:\d+"),
            ("recursion in a step", "RecursionError"),
            ("a flood", "JournalTooLarge"),
            ("memory", "MemoryError"),
        ):
            with pytest.raises(ExecutionFailed, match=said):
                await (await client.start("bounded", what)).result(timeout=90)
        assert await beside.result(timeout=30) == 2
        assert await (await client.start("innocent", 2)).result(timeout=30) == 4
    assert only.poll() is None
