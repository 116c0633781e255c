"""A thousand times each: two ends at once, one outcome, and nothing stuck."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runner import App, Context, Handle, Signal, Status, TimedOut
from tests.integration.conftest import Fleet, Run
from tests.scenarios.kit import nothing_left, outcome_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
go = Signal[str]("go")
TIMES, BATCH = 1_000, 200


#: Does something to an execution after so many seconds.
Disturb = Callable[[Handle[Any], float], Awaitable[None]]


async def raced(fleet: Fleet, workflow: Any, disturb: Disturb | None = None) -> dict[str, Any]:
    """Outcomes of a thousand executions by id, each disturbed at a moment of its own.

    The moments are spread over the time in which a batch ends by itself, which the first batch shows: slow machines
    are raced slowly.
    """
    chance = random.Random(7)
    outcomes: dict[str, Any] = {}
    span_s = 0.0
    for _ in range(TIMES // BATCH):
        begun = time.monotonic()
        handles = await fleet.client.start_many(workflow, [None] * BATCH)
        moments = [chance.uniform(0, span_s) for _ in handles] if disturb is not None and span_s else []
        ends = await asyncio.gather(
            *(outcome_of(handle) for handle in handles),
            *(disturb(handle, moment) for handle, moment in zip(handles, moments, strict=False) if disturb),
        )
        span_s = span_s or time.monotonic() - begun
        outcomes |= dict(zip((handle.id for handle in handles), ends, strict=False))
    await nothing_left(fleet)
    return outcomes


async def test_a_signal_against_its_waits_timeout(app: App, run: Run):
    """The signal or the time-out, as the journal says; a signal that came too late is still there, unread."""
    sent: dict[str, bool] = {}

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        match await ctx.wait_for_signal(go, timeout=0.15):
            case TimedOut():
                return "timed out"
            case word:
                return word

    async def disturb(handle: Handle[Any], moment: float) -> None:
        await asyncio.sleep(moment)
        sent[handle.id] = await handle.signal(go, "signal")

    async with run(app, concurrency=100) as fleet:
        outcomes = await raced(fleet, flow, disturb)
        told = Counter(outcomes.values())
        for id, outcome in outcomes.items():
            history = await fleet.client.history(id)
            (entry,) = history.entries
            assert entry.outcome == ("ok" if outcome == "signal" else "timed_out"), id
            assert len(history.inbox) == sent.get(id, False)
            # What was acknowledged before the deadline was not overlooked.
            assert outcome != "signal" or sent[id]
            assert history.waits == ()
    assert set(told) == {"signal", "timed out"} and told.total() == TIMES, told


async def test_a_cancel_against_a_completion(app: App, run: Run):
    taken: dict[str, bool] = {}

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.step("a", str)
        await ctx.sleep(0.1)
        return "completed"

    async def disturb(handle: Handle[Any], moment: float) -> None:
        await asyncio.sleep(moment)
        taken[handle.id] = await handle.cancel()

    async with run(app, concurrency=100) as fleet:
        outcomes = await raced(fleet, flow, disturb)
        told = Counter(outcomes.values())
        for id, outcome in outcomes.items():
            lines = await fleet.client.audit(id)
            ends = [line.fields["to"] for line in lines if line.kind == "status" and Status(line.fields["to"]).terminal]
            assert len(ends) == 1
            assert ends == ["completed" if outcome == "completed" else "cancelled"], (id, outcome)
            assert outcome == "completed" or taken[id]
    assert set(told) == {"completed", "ExecutionCancelled"} and told.total() == TIMES, told


async def test_the_end_of_a_child_against_its_parents_wait(app: App, run: Run):
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
        outcomes = await raced(fleet, flow)
    told = Counter(outcomes.values())
    assert set(told) <= {("ended", "ended"), ("timed out", "ended")} and told.total() == TIMES, told
