"""A leader that waits in vain gives its seat up: what hangs in one process must not keep the others from leading."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from runner.broker.memory import MemoryBroker
from runner.loopwatch import EXIT_STALLED
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store.sqlite import SqliteStore
from runner.transactions import Start
from tests.e2e.processes import ROOT

#: The seat would stay taken for a minute, if it were not given up.
PATIENT = SchedulerOptions(leader_ttl_s=60, patience_s=0.5)


class Hanging:
    """A store one of whose methods never comes back, whatever is done to it."""

    def __init__(self, store: SqliteStore, method: str, let_go: asyncio.Event) -> None:
        self._store = store
        self._method = method
        self._let_go = let_go
        self.asked = asyncio.Event()
        self.healed = False

    def __getattr__(self, name: str) -> Any:
        return self._hang if name == self._method and not self.healed else getattr(self._store, name)

    async def _hang(self, *_: object) -> None:
        self.asked.set()
        while not self._let_go.is_set():
            with suppress(asyncio.CancelledError):
                await self._let_go.wait()
        raise ZeroDivisionError("late, and of no interest")


@pytest.fixture
async def store(namespace: str) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None, namespace=namespace)
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize("method", ["due", "next_due", "due_schedules"])
async def test_a_leader_that_hangs_is_followed_by_another(store: SqliteStore, namespace: str, method: str) -> None:
    broker, let_go = MemoryBroker(namespace), asyncio.Event()
    await broker.open(["default"])
    start = Start(id="x", request="x", workflow="w", version=1, queue="default", input=b"", digest="x", delay_ms=1)
    await store.start([start])
    sick: Any = Hanging(store, method, let_go)
    try:  # what hangs must end with the test, whatever comes: the event loop would wait for it
        with capture_logs() as logs:
            async with Scheduler(sick, broker, PATIENT) as first, asyncio.timeout(30):
                await sick.asked.wait()
                assert first.leading
                async with Scheduler(store, broker, PATIENT) as second:
                    while not (second.leading and await broker.depth("default")):
                        await asyncio.sleep(0.01)
                    assert not first.leading
                let_go.set()
    finally:
        let_go.set()
    assert "has not come back for 0.5 s" in next(log["error"] for log in logs if log["event"] == "scheduler.hung")
    await broker.close()


async def test_a_leader_that_hung_leads_again_when_nobody_else_does(store: SqliteStore, namespace: str) -> None:
    let_go = asyncio.Event()
    sick: Any = Hanging(store, "next_due", let_go)
    options = SchedulerOptions(leader_ttl_s=0.5, patience_s=0.2)
    try:
        async with Scheduler(sick, MemoryBroker(namespace), options) as only, asyncio.timeout(30):
            await sick.asked.wait()
            while only.leading:
                await asyncio.sleep(0.01)
            let_go.set()
            sick.healed = True
            while not only.leading:
                await asyncio.sleep(0.01)
    finally:
        let_go.set()


#: A scheduler whose loop never comes back from a question to the store.
BLOCKED = """
import asyncio
from runner.broker.memory import MemoryBroker
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store.sqlite import SqliteStore

class Blocking(SqliteStore):
    async def next_due(self, partition):
        while True:
            pass

async def main():
    store = Blocking(None, namespace="n")
    await store.open()
    async with Scheduler(store, MemoryBroker("n"), SchedulerOptions(stall_s=1.2, watch_loop=True)):
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_scheduler_whose_loop_is_blocked_says_where_and_makes_room_for_another() -> None:
    """It renews no seat, and gives none back: a standby leads when its time is over, and a supervisor starts this one anew."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BLOCKED, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = (await asyncio.wait_for(process.communicate(), 60))[0].decode()
    assert process.returncode == EXIT_STALLED, said
    assert "loop.blocked" in said
    assert "nothing in a scheduler may block" in said
    assert "in next_due" in said
