"""Scenario 70, versions and histories that are parked: code that changes under its executions, runs that begin anew."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from runner import App, Cancelled, Context, ExecutionCancelled, Signal, Status, idempotency_key
from runner.workers import Worker, WorkerOptions
from tests.integration.conftest import Fleet, Run
from tests.scenarios.kit import Death, Deaths, happened, nothing_left, outcome_of, until

go = Signal[str]("go")
number = Signal[int]("number")


async def replaced(fleet: Fleet, app: App) -> None:
    """A deploy: the workers of the old code leave, one with that of ``app`` comes."""
    for worker in fleet.workers:
        await worker.drain()
    fleet.workers.append(await Worker(app, fleet.store, fleet.broker, WorkerOptions(watch_loop=False)).__aenter__())


async def test_a_patch_is_taken_by_those_that_had_not_passed_it(app: App, run: Run):
    old, new = app, App(app.name)

    @old.workflow("flow")
    async def before(ctx: Context) -> list[str]:
        await ctx.step("a", str)
        if await ctx.wait_for_signal(go) == "pass":
            await ctx.step("b", str)
            await ctx.wait_for_signal(go)
        return ["old"]

    @new.workflow("flow")
    async def after(ctx: Context) -> list[str]:
        seen = []
        await ctx.step("a", str)
        first = await ctx.wait_for_signal(go)
        if ctx.patched("audit"):
            seen.append(await ctx.step("audit", str, "new"))
        if first == "pass":
            await ctx.step("b", str)
            await ctx.wait_for_signal(go)
        if ctx.patched("late"):
            seen.append("late")
        return seen

    async with run(old) as fleet:
        passed = await fleet.client.start(before)
        await until(fleet, passed.id, Status.SLEEPING)
        await passed.signal(go, "pass")
        async with asyncio.timeout(20):
            while len((await fleet.client.history(passed.id)).entries) < 3:
                await asyncio.sleep(0.01)
        await until(fleet, passed.id, Status.SLEEPING)
        waiting = await fleet.client.start(before)
        await until(fleet, waiting.id, Status.SLEEPING)
        await replaced(fleet, new)
        fresh = await fleet.client.start("flow")
        for handle in (passed, waiting, fresh):
            await handle.signal(go, "on")
        assert await passed.result(timeout=20) == ["late"]
        assert await waiting.result(timeout=20) == ["new", "late"]
        assert await fresh.result(timeout=20) == ["new", "late"]
        await fleet.workers[-1].drain()


async def test_a_history_that_is_parked_says_what_differs_and_goes_on_with_the_code_it_knows(app: App, run: Run):
    calls: Counter[str] = Counter()
    old, new = app, App(app.name)

    @old.workflow("flow")
    async def before(ctx: Context) -> str:
        await ctx.step("a", calls.update, ["a"])
        await ctx.wait_for_signal(go)
        await ctx.step("b", calls.update, ["b"])
        return "done"

    @new.workflow("flow")
    async def after(ctx: Context) -> str:
        await ctx.step("other", calls.update, ["other"])
        return "?"

    async with run(old) as fleet:
        handle = await fleet.client.start(before)
        await until(fleet, handle.id, Status.SLEEPING)
        await replaced(fleet, new)
        await handle.signal(go, "on")
        async with asyncio.timeout(20):
            while not (passed := (await handle.execution()).passed):
                await asyncio.sleep(0.01)
        assert "step 'a'" in passed and "step 'other'" in passed and "test_evolving.py" in passed
        execution = await handle.execution()
        assert (execution.status, execution.crashes) == (Status.PENDING, 0)
        await replaced(fleet, old)
        assert await handle.result(timeout=20) == "done"
        await fleet.workers[-1].drain()
    assert calls == {"a": 1, "b": 1}


async def test_each_execution_runs_in_its_version_and_a_start_by_name_takes_the_highest(app: App, run: Run):
    first_only = App(app.name)

    for one, version in ((app, 1), (app, 2), (first_only, 1)):

        @one.workflow("flow", version=version)
        async def flow(ctx: Context, version: int = version) -> int:
            await ctx.wait_for_signal(go)
            return version

    async with run(app) as fleet:
        latest = await fleet.client.start("flow", 2)
        older = await fleet.client.start(first_only.get("flow"), 1)
        assert [(await one.execution()).version for one in (latest, older)] == [2, 1]
        for handle in (latest, older):
            await handle.signal(go, "on")
        assert [await latest.result(timeout=20), await older.result(timeout=20)] == [2, 1]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_thousand_runs_leave_a_small_history_and_lose_no_signal(app: App, run: Run):
    keys: dict[int, str] = {}
    got: list[int] = []

    async def charge(run: int) -> None:
        keys[run] = idempotency_key()

    @app.workflow("flow")
    async def flow(ctx: Context, round: int) -> int:
        if round in (1, 2, 500):
            await ctx.step("charge", charge, round)
        if round % 100 == 0:
            got.append(await ctx.wait_for_signal(number))
        if round < 1_000:
            await ctx.continue_as_new(round + 1)
        return round

    async with run(app) as fleet:
        handle = await fleet.client.start(flow, 1)
        for value in range(12):
            await handle.signal(number, value)
        assert await handle.result(timeout=100) == 1_000
        history = await fleet.client.history(handle.id)
        assert history.execution.run == 1_000 and len(history.entries) == 1
        # What nobody read is still there, once.
        unread = [item for item in history.inbox if item.index not in {entry.consumes for entry in history.entries}]
        assert len(unread) == 2
        await nothing_left(fleet)
    assert got == list(range(10))
    assert len(set(keys.values())) == 3


async def test_the_next_run_begins_once_whichever_worker_dies(app: App, run: Run):
    @app.workflow("child")
    async def child(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    @app.workflow("flow")
    async def flow(ctx: Context, left: list[str]) -> list[str]:
        if len(left) < 3:
            word = await ctx.wait_for_signal(go)
            if not left:
                await ctx.start_child("kept", child, parent_close="abandon")
            await ctx.continue_as_new([*left, word])
        return left

    async with run(app, lease_s=1.0) as fleet:
        deaths = Deaths(fleet.store)
        plans = [Death(number, when) for number in (1, 2, 3) for when in ("before", "after")]
        deaths.planned = {str(plan): plan for plan in plans}
        handles = [await fleet.client.start(flow, [], id=str(plan)) for plan in plans]
        for handle in handles:
            for word in ("a", "b", "c", "d"):
                await handle.signal(go, word)
        for handle in handles:
            assert await handle.result(timeout=30) == ["a", "b", "c"], handle.id
            assert (await handle.execution()).run == 4
            (link,) = await fleet.store.children(handle.id)
            await fleet.client.signal(link.execution_id, go, "on")
        assert len(deaths.died) == len(plans)
        await nothing_left(fleet)


async def test_a_cancel_on_its_way_reaches_the_next_run(app: App, run: Run):
    """Also with children: those of an older run are cancelled with the execution."""
    runs: list[int] = []

    @app.workflow("child")
    async def child(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    @app.workflow("flow")
    async def flow(ctx: Context, round: int) -> None:
        runs.append(round)
        try:
            if round == 1:
                await ctx.start_child("child", child)
            await ctx.sleep(0.005)
        except Cancelled:
            await ctx.continue_as_new(-1)
        await ctx.continue_as_new(round + 1)

    async with run(app) as fleet:
        handles = [await fleet.client.start(flow, 1) for _ in range(10)]
        await happened(lambda: len(runs) > 50)
        for handle in handles:
            await handle.cancel("enough")
            with pytest.raises(ExecutionCancelled, match="enough"):
                await handle.result(timeout=20)
        await nothing_left(fleet)
    assert -1 not in runs


async def test_a_child_that_ends_over_runs_can_be_waited_for_by_a_later_one(app: App, run: Run):
    @app.workflow("child")
    async def child(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    @app.workflow("flow")
    async def flow(ctx: Context, id: str) -> Any:
        if not id:
            started = await ctx.start_child("child", child)
            await ctx.continue_as_new(started.id)
        await ctx.wait_for_signal(go)
        return await ctx.wait_for_execution(child, id)

    async with run(app) as fleet:
        for early in (True, False):
            handle = await fleet.client.start(flow, "")
            async with asyncio.timeout(20):
                while (await handle.execution()).run < 2 or not await fleet.store.children(handle.id):
                    await asyncio.sleep(0.01)
            (link,) = await fleet.store.children(handle.id)
            await until(fleet, handle.id, Status.SLEEPING)
            for id in (link.execution_id, handle.id) if early else (handle.id, link.execution_id):
                async with asyncio.timeout(20):
                    while await fleet.store.record(id) is None:
                        await asyncio.sleep(0.01)
                await fleet.client.signal(id, go, "hello")
            assert await outcome_of(handle) == "hello"
        await nothing_left(fleet)
