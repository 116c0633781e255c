"""Parents that ask before their child has been started, and children that go on after their end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from runner import App, Context, ExecutionFailed, Signal, Status, StoreUnavailable
from runner.transactions import Start, Started
from tests.integration.conftest import Fleet, Run
from tests.scenarios.kit import nothing_left, outcome_of

go = Signal[str]("go")


async def test_a_run_may_wait_for_the_child_that_the_run_before_has_only_just_sent_off(
    app: App, run: Run, monkeypatch: pytest.MonkeyPatch
):
    """Whoever carried its start has died, so that the question comes first."""

    @app.workflow("child")
    async def child(ctx: Context) -> str:
        return "done"

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context, known: str = "") -> str:
        if not known:
            started = await ctx.start_child("child", child)
            await ctx.continue_as_new(started.id)
        return str(await ctx.wait_for_execution(child, known))

    async with run(app) as fleet:
        asked, hidden = asyncio.Event(), asyncio.Event()
        starting, following = fleet.store.start, fleet.store.follow

        async def start(starts: Sequence[Start]) -> list[Started]:
            if any(one.parent for one in starts) and not asked.is_set():
                hidden.set()
                raise StoreUnavailable("the courier is dead")
            return await starting(starts)

        async def follow(follow):
            answer = await following(follow)
            asked.set()
            return answer

        monkeypatch.setattr(fleet.store, "start", start)
        monkeypatch.setattr(fleet.store, "follow", follow)
        handle = await fleet.client.start(flow, "")
        await asyncio.wait_for(asked.wait(), 30)
        assert hidden.is_set()
        outcome = asyncio.create_task(outcome_of(handle))
        while not outcome.done():  # what was left in the outbox is carried now, and not after its grace
            await fleet.client.recover()
            await asyncio.wait([outcome], timeout=0.05)
        assert await outcome == "done"
        await nothing_left(fleet)


async def test_a_child_that_an_operator_opened_again_ends_with_its_parent(app: App, run: Run):
    lucky: set[str] = set()

    async def draw(id: str) -> None:
        if id not in lucky:
            raise LookupError("no luck")

    @app.workflow("child", max_attempts=1)
    async def child(ctx: Context) -> str:
        await ctx.step("draw", draw, ctx.execution_id)
        return await ctx.wait_for_signal(go)

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context, then: str) -> str:
        if then != "has moved on":
            try:
                await ctx.run_child("child", child)
            except ExecutionFailed:
                if then == "moves on":
                    await ctx.continue_as_new("has moved on")
        return await ctx.wait_for_signal(go)

    async with run(app) as fleet:
        for then in ("stays", "moves on"):
            parent = await fleet.client.start(flow, then)
            await waiting_for_signal(fleet, parent.id)
            failed = (await fleet.client.executions(workflow="child")).executions[0]
            assert failed.status is Status.FAILED
            lucky.add(failed.id)
            await fleet.client.operator.retry(failed.id, actor="ann")
            await waiting_for_signal(fleet, failed.id)
            await parent.cancel()
            assert await outcome_of(parent) == "ExecutionCancelled"
            assert await outcome_of(fleet.client.handle(failed.id)) == "ExecutionCancelled"
        await nothing_left(fleet)


async def waiting_for_signal(fleet: Fleet, id: str) -> None:
    async with asyncio.timeout(30):
        while "signal" not in {wait.kind for wait in (await fleet.client.history(id)).waits}:
            await asyncio.sleep(0.01)
