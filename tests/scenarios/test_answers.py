"""What those hear who wait for another execution or a signal: each its own answer, and no older one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner import (
    App,
    ConflictingStart,
    Context,
    PayloadError,
    Signal,
    Status,
    UnknownExecution,
)
from tests.integration.conftest import Fleet, Run
from tests.scenarios.kit import nothing_left, outcome_of, until

go = Signal[str]("go")


async def _waits_for(fleet: Fleet, id: str, *kinds: str) -> None:
    async with asyncio.timeout(30):
        while sorted(one.kind for one in (await fleet.client.history(id)).waits) != sorted(kinds):
            await asyncio.sleep(0.01)


async def test_an_execution_that_was_unknown_is_found_once_it_is_there(app: App, run: Run):
    @app.workflow("target")
    async def target(ctx: Context) -> int:
        return 7

    @app.workflow("waiter", max_attempts=1)
    async def waiter(ctx: Context) -> int:
        for _ in range(2):
            with pytest.raises(UnknownExecution):
                await ctx.wait_for_execution(target, "t")
        await ctx.wait_for_signal(go)
        return await ctx.wait_for_execution(target, "t")

    async with run(app) as fleet:
        handle = await fleet.client.start(waiter)
        await _waits_for(fleet, handle.id, "signal")
        await (await fleet.client.start(target, id="t")).result(timeout=20)
        await handle.signal(go, "on")
        assert await outcome_of(handle) == 7
        await nothing_left(fleet)


async def test_a_child_that_conflicts_leaves_the_one_it_conflicts_with_alone(app: App, run: Run):
    """It is not the parent's to cancel, and can be waited for under its own name."""

    @app.workflow("other")
    async def other(ctx: Context, number: int) -> int:
        await ctx.wait_for_signal(go)
        return number

    @app.workflow("leaver", max_attempts=1)
    async def leaver(ctx: Context) -> str:
        try:
            return str(await ctx.run_child("c", other, 2, idempotency_key="k"))
        except ConflictingStart:
            return "conflict"

    @app.workflow("waiter", max_attempts=1)
    async def waiter(ctx: Context) -> int:
        try:
            return await ctx.run_child("c", other, 2, idempotency_key="k")
        except ConflictingStart as conflict:
            return await ctx.wait_for_execution(other, conflict.execution_id)

    async with run(app) as fleet:
        foreign = await fleet.client.start(other, 1, idempotency_key="k")
        assert await outcome_of(await fleet.client.start(leaver)) == "conflict"
        waiting = await fleet.client.start(waiter)
        await _waits_for(fleet, waiting.id, "ended")
        await foreign.signal(go, "on")
        assert await outcome_of(foreign) == 1
        assert await outcome_of(waiting) == 1
        await nothing_left(fleet)


async def test_who_took_it_for_another_workflow_is_answered_apart(app: App, run: Run):
    @app.workflow("other")
    async def other(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    @app.workflow("wrong")
    async def wrong(ctx: Context) -> str:
        return "wrong"

    @app.workflow("waiter", max_attempts=1)
    async def waiter(ctx: Context) -> list[str]:
        async def mistaken() -> str:
            try:
                return await ctx.wait_for_execution(wrong, "o")
            except UnknownExecution as unknown:
                return f"{await ctx.wait_for_signal(go)} {unknown}"

        return [*await ctx.gather(ctx.wait_for_execution(other, "o"), mistaken())]

    async with run(app) as fleet:
        target = await fleet.client.start(other, id="o")
        handle = await fleet.client.start(waiter)
        await _waits_for(fleet, handle.id, "ended", "signal")
        await target.signal(go, "on")
        await _waits_for(fleet, handle.id, "signal")
        await handle.signal(go, "mistaken:")
        said = "mistaken: execution 'o' is one of workflow 'other', not of workflow 'wrong'"
        assert await outcome_of(handle) == ["on", said]
        await nothing_left(fleet)


async def test_both_reopened_the_waiter_hears_of_the_second_end(app: App, run: Run):
    broken = [True]

    def fail() -> int:
        if broken:
            raise ValueError("no luck")
        return 1

    @app.workflow("target", max_attempts=1)
    async def target(ctx: Context) -> int:
        number = await ctx.step("s", fail)
        await ctx.wait_for_signal(go)
        return number

    @app.workflow("waiter", max_attempts=1)
    async def waiter(ctx: Context) -> int:
        return await ctx.wait_for_execution(target, "t")

    async with run(app) as fleet:
        aim = await fleet.client.start(target, id="t")
        handle = await fleet.client.start(waiter)
        assert [await outcome_of(one) for one in (aim, handle)] == ["ExecutionFailed"] * 2
        broken.clear()
        await fleet.client.operator.retry("t", actor="ann")
        await fleet.client.operator.retry(handle.id, actor="ann")
        await until(fleet, "t", Status.SLEEPING)
        await until(fleet, handle.id, Status.SLEEPING)
        await aim.signal(go, "on")
        assert [await outcome_of(one) for one in (aim, handle)] == [1, 1]
        await nothing_left(fleet)


async def test_a_result_that_does_not_fit_is_the_waiters_to_handle(app: App, run: Run):
    """The code of the one that is waited for may be another's, and of another release."""

    @app.workflow("target")
    async def target(ctx: Context) -> str:
        return "seven"

    @App("elsewhere").workflow("target")
    async def as_it_was(ctx: Context) -> int:
        return 7

    @app.workflow("waiter", max_attempts=1)
    async def waiter(ctx: Context, careful: bool) -> int:
        try:
            return await ctx.wait_for_execution(as_it_was, "t")
        except PayloadError:
            if careful:
                return -1
            raise

    async with run(app) as fleet:
        await fleet.client.start(target, id="t")
        assert await outcome_of(await fleet.client.start(waiter, True)) == -1
        assert await outcome_of(await fleet.client.start(waiter, False)) == "ExecutionFailed"


async def test_signals_keep_their_order_when_a_race_has_lost_interest(app: App, run: Run):
    """The race was over before they came, though nobody had looked: none of them is kept for its wait."""

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[Any]:
        async def twice() -> list[str]:
            await ctx.step("wait behind the race", str)
            return [await ctx.wait_for_signal(go), await ctx.wait_for_signal(go)]

        (_, got) = await ctx.gather(ctx.race("r", x=ctx.wait_for_signal(go), t=ctx.sleep(0.3)), twice())
        return got

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await _waits_for(fleet, handle.id, "signal", "signal", "sleep")
        await fleet.workers[0].drain()
        waits = (await fleet.client.history(handle.id)).waits
        over = max(wait.deadline or 0 for wait in waits)
        async with asyncio.timeout(20):
            while await fleet.store.now() <= over:
                await asyncio.sleep(0.02)
        for word in ("first", "second"):
            await handle.signal(go, word)
        await fleet.add_worker()
        assert await outcome_of(handle) == ["first", "second"]


async def test_a_reopened_parent_hears_of_its_child_as_it_is_now(app: App, run: Run):
    broken = {"x"}
    blocked = asyncio.Event()

    async def pay() -> None:
        if broken:
            raise ValueError("broken")

    async def block() -> None:
        if broken:
            await blocked.wait()

    @app.workflow("child", max_attempts=1)
    async def child(ctx: Context) -> str:
        await ctx.step("pay", pay)
        return await ctx.wait_for_signal(go)

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> str:
        kid = await ctx.start_child("kid", child, parent_close="abandon")
        await ctx.step("block", block)
        return await kid.result()

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        async with asyncio.timeout(20):
            while not (await fleet.client.history(handle.id)).inbox:
                await asyncio.sleep(0.02)
        (link,) = await fleet.store.children(handle.id)
        await fleet.client.operator.force_fail(handle.id, "enough", actor="ann")
        broken.clear()
        blocked.set()
        await fleet.client.operator.retry(link.execution_id, actor="ann")
        await fleet.client.operator.retry(handle.id, actor="ann")
        await until(fleet, handle.id, Status.SLEEPING)
        await fleet.client.signal(link.execution_id, go, "paid")
        assert await outcome_of(handle) == "paid"
