"""The app whose schedules these tests watch, and what must be true of their ticks, whatever died meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Self

from runner import App, CatchUp, Client, Context
from runner.core.grid import execution_id
from runner.records import Execution, Overlap, Schedule
from runner.step import current_step
from tests.e2e import ledger
from tests.e2e.processes import Launcher

app = App(os.environ.get("RUNNER_TEST_NAMESPACE", "ticks"))
LEDGER = os.environ.get("RUNNER_TEST_LEDGER", "/dev/null")

#: An execution of ``hold`` outlasts the tick after its own, and most of the one after that.
HOLD_S = 1.7
EVERY = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def beat() -> None:
    step = current_step()
    ledger.write(LEDGER, kind="called", execution=step.execution_id, step=step.id)


async def hold() -> None:
    await beat()
    await asyncio.sleep(HOLD_S)


@app.workflow("beat")
async def beating(ctx: Context) -> None:
    await ctx.step("beat", beat)


@app.workflow("hold")
async def holding(ctx: Context) -> None:
    await ctx.step("hold", hold)


@dataclass(frozen=True)
class Wanted:
    """A schedule of the test: one tick a second."""

    id: str
    workflow: str
    overlap: Overlap = Overlap.ALLOW
    catch_up: CatchUp = field(default_factory=CatchUp)

    @property
    def runs_all(self) -> bool:
        """Every tick that is decided in time starts an execution."""
        return self.overlap in (Overlap.ALLOW, Overlap.CANCEL_OTHER)


TEN = [Wanted(f"beat-{number}", "beat") for number in range(10)]
OVERLAPPING = [
    Wanted("skips", "hold", Overlap.SKIP),
    Wanted("skips-too", "hold", Overlap.SKIP),
    Wanted("buffers", "hold", Overlap.BUFFER_ONE),
    Wanted("buffers-too", "hold", Overlap.BUFFER_ONE),
    Wanted("cancels", "hold", Overlap.CANCEL_OTHER),
]


class Watched:
    """Schedules with the same ticks, from ``first`` to ``last`` (ms), and what became of them."""

    def __init__(self, client: Client, wanted: Sequence[Wanted], first: int, last: int) -> None:
        self.client = client
        self.wanted = wanted
        self.ticks = range(first, last + 1, 1_000)
        self.kept: Mapping[str, Schedule] = {}
        self.ran: Mapping[str, list[Execution]] = {}

    @classmethod
    async def ensure(cls, client: Client, wanted: Sequence[Wanted], *, seconds: int, lead_s: float = 2) -> Self:
        """Have them tick for so many seconds, beginning in ``lead_s``."""
        first = await client.store.now() + round(lead_s * 1000)
        watched = cls(client, wanted, first, first + seconds * 1_000)
        for one in wanted:
            await client.ensure_schedule(
                one.workflow,
                id=one.id,
                interval=EVERY,
                overlap=one.overlap,
                catch_up=one.catch_up,
                start_at=_EPOCH + timedelta(milliseconds=watched.ticks[0]),
                end_at=_EPOCH + timedelta(milliseconds=watched.ticks[-1]),
            )
        return watched

    async def until_over(self, system: Launcher, timeout: float) -> None:
        """Until each tick has its fate, and what it started has ended."""
        await until(lambda: time.time() * 1000 > self.ticks[-1], len(self.ticks) + 30, lambda: "the ticks do not end")
        deadline = time.monotonic() + timeout
        while not await self._is_over():
            assert time.monotonic() < deadline, f"{self.kept}\n{system.logs()}"
            await asyncio.sleep(0.2)

    async def _is_over(self) -> bool:
        self.kept = {one.id: await self.client.get_schedule(one.id) for one in self.wanted}
        if any(one.due_at is not None or one.buffered is not None for one in self.kept.values()):
            return False
        found = await self._executions()
        self.ran = {id: [one for one in found if one.id.startswith(f"{id}@")] for id in self.kept}
        return all(one.status.terminal for one in found)

    async def _executions(self) -> list[Execution]:
        found: list[Execution] = []
        cursor = None
        while True:
            page = await self.client.executions(limit=1_000, cursor=cursor)
            found += page.executions
            if (cursor := page.cursor) is None:
                return sorted(found, key=lambda one: (one.created_at, one.id))

    # -- what must be true ------------------------------------------------------------------------

    def check(self, *, may_miss: Collection[int] = ()) -> None:
        """Each tick has one fate; those of schedules that run all have run, but for what was too late to."""
        for one in self.wanted:
            kept, ran = self.kept[one.id], self.ran[one.id]
            by_tick = {execution_id(one.id, tick): tick for tick in self.ticks}
            ids = [execution.id for execution in ran]
            assert set(ids) <= set(by_tick), f"{one.id}: off its grid"
            assert len(set(ids)) == len(ids) == kept.runs, f"{one.id}: what is counted was started, once"
            assert kept.runs + kept.skipped == len(self.ticks), f"{one.id}: a tick both run and skipped, or neither"
            assert (kept.pending, kept.error, kept.failures) == (None, "", 0)
            if one.runs_all:
                missing = {tick for id, tick in by_tick.items() if id not in set(ids)}
                assert missing <= set(may_miss), f"{one.id}: ticks without an execution"
            else:
                assert 0 < kept.skipped < len(self.ticks)
                self._check_alone(ran)

    @staticmethod
    def _check_alone(ran: Sequence[Execution]) -> None:
        for earlier, later in pairwise(ran):
            assert earlier.ended_at is not None
            assert earlier.ended_at <= later.created_at, f"{earlier.id} and {later.id} overlap"

    def check_ledger(self, system: Launcher, most: int = 1) -> None:
        """Every execution that was not cancelled called its step, ``most`` times at most."""
        called = ledger.counts(system.ledger, "called")
        by_execution = {execution: count for (execution, _), count in called.items()}
        ended = {one.id: str(one.status) for ran in self.ran.values() for one in ran}
        assert set(by_execution) <= set(ended), "steps of executions that nobody started"
        assert {id for id, status in ended.items() if status == "completed"} <= set(by_execution)
        assert max(by_execution.values()) <= most
        assert set(ended.values()) <= {"completed", "cancelled"}

    def skipped(self, id: str) -> set[int]:
        ran = {one.id for one in self.ran[id]}
        return {tick for tick in self.ticks if execution_id(id, tick) not in ran}

    def lateness(self) -> dict[str, int]:
        """How long after their ticks executions were started, in ms."""
        moments = {execution_id(one.id, tick): tick for one in self.wanted if one.runs_all for tick in self.ticks}
        late = sorted(one.created_at - moments[one.id] for ran in self.ran.values() for one in ran if one.id in moments)
        assert late[0] >= 0, "before its time"
        return {
            "started": len(late),
            "median": late[len(late) // 2],
            "p99": late[len(late) * 99 // 100],
            "max": late[-1],
        }


async def until(met: Callable[[], Any], timeout: float, otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < deadline, otherwise()
        await asyncio.sleep(0.02)


async def opened(stack: AsyncExitStack, system: Launcher) -> Client:
    """A client of the app, under the namespace of the test."""
    here = App(system.namespace)
    for workflow in app.workflows():
        here._workflows[workflow.name, workflow.version] = workflow
    return await stack.enter_async_context(Client(here, system.store_url, system.broker_url))
