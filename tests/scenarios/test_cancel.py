"""Scenarios 48-50: a cancel ends an execution once, with its first reason, or finds it at its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner import App, Cancelled, Context, ExecutionCancelled, Retry, Signal, Status, current_step
from runner.transactions import Open, Suspend
from tests.integration.by_hand import claimed
from tests.integration.conftest import Run
from tests.scenarios.kit import happened, nothing_left, until

go = Signal[str]("go")


async def test_a_cancel_finds_the_step_the_wait_and_the_pause_at_once_and_its_first_reason_stays(app: App, run: Run):
    seen: list[str] = []

    @app.step(retry=Retry(max_attempts=5, initial=0.01))
    async def deaf() -> None:
        seen.append("began")
        token = current_step().cancelled
        try:
            await asyncio.sleep(30)
        finally:
            seen.append(f"token {token.is_set()}")

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        await ctx.step("deaf", deaf)

    async with run(app, workers=2) as fleet:
        handle = await fleet.client.start(flow)
        await happened(lambda: seen)
        begun = asyncio.get_running_loop().time()
        assert await handle.cancel("first") is True
        await handle.cancel("second")
        with pytest.raises(ExecutionCancelled, match="first"):
            await handle.result(timeout=20)
        took = asyncio.get_running_loop().time() - begun
        history = await fleet.client.history(handle.id)
        assert [(entry.kind, entry.id) for entry in history.entries] == [("cancel", "__cancel")]
        assert await handle.signal(go, "late") is False
        assert await handle.cancel("late") is False
        await nothing_left(fleet)
    assert seen == ["began", "token True"]
    assert took < 5  # well under a second on a machine that does nothing else


async def test_code_that_is_at_its_end_before_it_hears_of_a_cancel_has_completed(app: App, run: Run):
    """The timer came first, the cancel after it, and one turn finds both."""

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.sleep(0.001, id="nap")
        return "completed"

    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start(flow)
        turn = await claimed(fleet.store, handle.id)
        committed = await turn.commit(opens=(Open(id="nap", kind="sleep", after_ms=30),), end=Suspend())
        while await fleet.store.now() <= (committed.deadlines["nap"] or 0):
            await asyncio.sleep(0.005)
        await handle.cancel()
        await fleet.add_worker()
        assert await handle.result(timeout=20) == "completed"


async def test_a_run_that_ends_before_it_hears_of_a_cancel_hands_it_to_the_next(app: App, run: Run):
    @app.workflow("flow")
    async def flow(ctx: Context, round: int) -> str:
        await ctx.sleep(0.001, id="nap")
        try:
            if round == 1:
                await ctx.continue_as_new(2)
            await ctx.wait_for_signal(go)
        except Cancelled:
            await ctx.note("heard", round=round)
            raise
        return "?"

    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start(flow, 1)
        turn = await claimed(fleet.store, handle.id)
        committed = await turn.commit(opens=(Open(id="nap", kind="sleep", after_ms=30),), end=Suspend())
        while await fleet.store.now() <= (committed.deadlines["nap"] or 0):
            await asyncio.sleep(0.005)
        await handle.cancel("enough")
        await fleet.add_worker()
        with pytest.raises(ExecutionCancelled, match="enough"):
            await handle.result(timeout=20)
        assert (await handle.execution()).run == 2


async def test_a_suspended_execution_is_cancelled_soon_and_nothing_later_touches_it(app: App, run: Run):
    @app.workflow("flow")
    async def flow(ctx: Context) -> Any:
        return await ctx.wait_for_signal(go, timeout=0.5)

    async with run(app, workers=2) as fleet:
        handle = await fleet.client.start(flow)
        await until(fleet, handle.id, Status.SLEEPING)
        begun = asyncio.get_running_loop().time()
        await handle.cancel("enough")
        with pytest.raises(ExecutionCancelled, match="enough"):
            await handle.result(timeout=20)
        assert asyncio.get_running_loop().time() - begun < 5  # 0.2 s on a machine that does nothing else
        before = await fleet.client.history(handle.id)
        await asyncio.sleep(0.6)  # the time-out would have come
        assert await handle.signal(go, "late") is False
        assert (await fleet.client.history(handle.id)).entries == before.entries
        await nothing_left(fleet)


async def test_nobody_has_it_yet_and_a_cancel_ends_it_in_the_store(app: App, run: Run):
    @app.workflow("flow")
    async def flow(ctx: Context) -> None: ...

    async with run(app, workers=0) as fleet:
        handle = await fleet.client.start(flow)
        await handle.cancel("enough")
        assert (await handle.execution()).status is Status.CANCELLED
        with pytest.raises(ExecutionCancelled, match="enough"):
            await handle.result(timeout=1)
        assert (await handle.execution()).reason == "enough"
