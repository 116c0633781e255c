"""Hundreds of times each, with Redis a thousand: two ends at once, one outcome, and nothing stuck."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from runner import App, Context, Handle, Signal, Status, TimedOut
from tests.integration.conftest import Backend, Fleet, Run
from tests.scenarios.kit import answered, nothing_left, outcome_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
go = Signal[str]("go")
#: With Redis there are more processes and clocks to race with.
TIMES = {"sqlite": 200, "redis": 1_000}
BATCH = 100


@pytest.fixture
def times(backend: Backend) -> int:
    return TIMES[backend.store_url.partition(":")[0]]


#: Does something to an execution.
Disturb = Callable[[Handle[Any]], Awaitable[None]]


class Racing:
    """Executions that end, some of them disturbed at moments of their own.

    The moments are spread over the time that the half of those before took, so that slow machines are raced slowly.
    """

    def __init__(self, fleet: Fleet, workflow: Any, disturb: Disturb | None) -> None:
        self._fleet = fleet
        self._workflow = workflow
        self._disturb = disturb
        self._chance = random.Random(7)
        self._span_s = 0.0
        self.outcomes: dict[str, Any] = {}

    async def batch(self) -> None:
        self._span_s = statistics.median(await asyncio.gather(*(self._one() for _ in range(BATCH))))

    async def _one(self) -> float:
        handle = await answered(partial(self._fleet.client.start, self._workflow))
        begun = time.monotonic()
        disturbing = asyncio.create_task(self._after(self._chance.uniform(0, 1.5 * self._span_s), handle))
        self.outcomes[handle.id] = await outcome_of(handle)
        took = time.monotonic() - begun
        await disturbing
        return took

    async def _after(self, moment_s: float, handle: Handle[Any]) -> None:
        if self._disturb is not None and self._span_s:
            await asyncio.sleep(moment_s)
            await self._disturb(handle)


async def raced(fleet: Fleet, workflow: Any, times: int, disturb: Disturb | None = None) -> dict[str, Any]:
    """Outcomes of so many executions by id; those of the first batch are left alone."""
    racing = Racing(fleet, workflow, disturb)
    for _ in range(times // BATCH):
        await racing.batch()
    await nothing_left(fleet)
    return racing.outcomes


async def test_a_signal_against_its_waits_timeout(app: App, run: Run, times: int):
    """The signal or the time-out, as the journal says; a signal that came too late is still there, unread."""
    sent: dict[str, bool] = {}

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        match await ctx.wait_for_signal(go, timeout=0.15):
            case TimedOut():
                return "timed out"
            case word:
                return word

    async def disturb(handle: Handle[Any]) -> None:
        sent[handle.id] = await answered(lambda: handle.signal(go, "signal", dedup_id="once"))

    async with run(app, concurrency=100) as fleet:
        outcomes = await raced(fleet, flow, times, disturb)
        told = Counter(outcomes.values())
        for id, outcome in outcomes.items():
            history = await fleet.client.history(id)
            (entry,) = history.entries
            assert entry.outcome == ("ok" if outcome == "signal" else "timed_out"), id
            assert len(history.inbox) == sent.get(id, False)
            # What was acknowledged before the deadline was not overlooked.
            assert outcome != "signal" or sent[id]
            assert history.waits == ()
    assert set(told) == {"signal", "timed out"} and told.total() == times, told


async def test_a_cancel_against_a_completion(app: App, run: Run, times: int):
    taken: dict[str, bool] = {}

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.step("a", str)
        await ctx.sleep(0.1)
        return "completed"

    async def disturb(handle: Handle[Any]) -> None:
        taken[handle.id] = await answered(handle.cancel)

    async with run(app, concurrency=100) as fleet:
        outcomes = await raced(fleet, flow, times, disturb)
        told = Counter(outcomes.values())
        for id, outcome in outcomes.items():
            lines = await fleet.client.audit(id)
            ends = [line.fields["to"] for line in lines if line.kind == "status" and Status(line.fields["to"]).terminal]
            assert len(ends) == 1
            assert ends == ["completed" if outcome == "completed" else "cancelled"], (id, outcome)
            assert outcome == "completed" or taken[id]
    assert set(told) == {"completed", "ExecutionCancelled"} and told.total() == times, told


async def test_the_end_of_a_child_against_its_parents_wait(app: App, run: Run, times: int):
    """Before, while and after the parent gets to its wait, and against that wait's own time-out."""

    @app.workflow("child")
    async def child(ctx: Context) -> str:
        return "ended"

    @app.workflow("flow")
    async def flow(ctx: Context) -> tuple[str, str]:
        started = await ctx.start_child("child", child)
        await ctx.sleep(ctx.random() * 0.05)
        first = await started.result(timeout=ctx.random() * 0.05)
        return ("timed out" if isinstance(first, TimedOut) else first, await started.result())

    async with run(app, concurrency=100) as fleet:
        outcomes = await raced(fleet, flow, times)
    told = Counter(outcomes.values())
    assert set(told) <= {("ended", "ended"), ("timed out", "ended")} and told.total() == times, told
