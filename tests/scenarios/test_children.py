"""Scenarios 5, 33-35, 50 and 79: parents and children, whoever dies, fails or is cancelled."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from runner import (
    App,
    Cancelled,
    Context,
    DuplicateId,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionTimedOut,
    ReservedId,
    Signal,
    Status,
    UnknownExecution,
    UsageError,
)
from tests.integration.conftest import Run
from tests.scenarios.kit import Death, Deaths, answered, live_through_all_deaths, nothing_left, outcome_of

go = Signal[str]("go")


async def test_a_parent_finds_the_same_child_whichever_worker_dies(app: App, run: Run):
    begun: Counter[str] = Counter()

    @app.workflow("child")
    async def child(ctx: Context, word: str) -> str:
        await ctx.step("begin", begin, ctx.execution_id)
        await ctx.sleep(0.01)
        return word + "!"

    async def begin(id: str) -> None:
        begun[id] += 1

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[str]:
        await ctx.step("before", str)
        first = await ctx.start_child("first", child, "a")
        second = await ctx.run_child("second", child, "b")
        return [await first.result(), second]

    lives = await live_through_all_deaths(run, app, "flow")
    assert {tuple(life.outcome) for life in lives.values()} == {("a!", "b!")}
    # Two children for each life, and no third.
    assert len(begun) == 2 * len(lives)
    assert set(begun.values()) == {1}


async def test_a_child_whose_workers_die_still_reaches_its_parent(app: App, run: Run):
    @app.workflow("child")
    async def child(ctx: Context) -> str:
        await ctx.step("a", str)
        return await ctx.wait_for_signal(go)

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.run_child("child", child)

    async with run(app, lease_s=1.0) as fleet:
        deaths = Deaths(fleet.store)
        handles = [await fleet.client.start(flow) for _ in range(4)]
        for handle, death in zip(
            handles, [Death(1, "before"), Death(1, "after"), Death(2, "before"), Death(2, "after")], strict=True
        ):
            await happened_links(fleet, handle.id)
            (link,) = await fleet.store.children(handle.id)
            await until_sleeping(fleet, link.execution_id)
            deaths.commits.clear()
            deaths.planned[link.execution_id] = death
            await fleet.client.signal(link.execution_id, go, str(death))
        for handle, said in zip(handles, ["before-1", "after-1", "before-2", "after-2"], strict=True):
            assert await handle.result(timeout=30) == said
        await nothing_left(fleet)


async def happened_links(fleet, id: str) -> None:
    async with asyncio.timeout(20):
        while not await fleet.store.children(id):
            await asyncio.sleep(0.01)


async def until_sleeping(fleet, id: str) -> None:
    async with asyncio.timeout(20):
        while (record := await fleet.store.record(id)) is None or record.status is not Status.SLEEPING:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("way", ["failed", "cancelled", "timed_out", "forced"])
async def test_however_a_child_ends_its_parent_gets_a_typed_error_with_all_there_is_to_know(
    app: App, run: Run, way: str
):
    @app.error
    class Declined(Exception):
        pass

    @app.workflow("child", max_attempts=1)
    async def child(ctx: Context) -> None:
        if await ctx.wait_for_signal(go) == "fail":
            raise Declined("no funds")

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> list[Any]:
        started = await ctx.start_child(
            "pay", child, idempotency_key=f"pay {way}", timeout=0.3 if way == "timed_out" else None
        )
        try:
            await started.result()
        except (ExecutionFailed, ExecutionCancelled, ExecutionTimedOut) as ended:
            same = ended.execution_id == started.id
            return [type(ended).__name__, same, ended.key, ended.attempt, type(ended.__cause__).__name__, str(ended)]
        return []

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await happened_links(fleet, handle.id)
        (link,) = await fleet.store.children(handle.id)
        if way != "timed_out":
            await until_sleeping(fleet, link.execution_id)
        match way:
            case "failed":
                await fleet.client.signal(link.execution_id, go, "fail")
            case "cancelled":
                await fleet.client.cancel(link.execution_id, "enough")
            case "forced":
                await fleet.client.operator.force_fail(link.execution_id, "enough", actor="ann")
        name, same, key, attempt, cause, text = await handle.result(timeout=20)
        await nothing_left(fleet)
    expected = {
        "failed": ("ExecutionFailed", "Declined", "no funds"),
        "cancelled": ("ExecutionCancelled", "NoneType", "enough"),
        "timed_out": ("ExecutionTimedOut", "NoneType", "timeout"),
        "forced": ("ExecutionFailed", "OperatorFailed", "enough"),
    }[way]
    assert (name, cause, same, key, attempt) == (*expected[:2], True, f"pay {way}", 1)
    assert expected[2] in text


async def test_a_wait_for_itself_for_nobody_or_for_another_workflow_is_an_error_at_once(app: App, run: Run):
    @app.workflow("other")
    async def other(ctx: Context) -> None:
        await ctx.wait_for_signal(go)

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context, id: str) -> Any:
        return await ctx.wait_for_execution(flow, id)

    async with run(app) as fleet:
        await fleet.client.start(other, id="other")
        for id, error in (("me", UsageError), ("nobody", UnknownExecution), ("other", UnknownExecution)):
            handle = await fleet.client.start(flow, id, id="me" if id == "me" else None)
            with pytest.raises(ExecutionFailed) as failed:
                await handle.result(timeout=5)
            assert failed.value.type.endswith(error.__name__)


async def test_ids_of_children_keep_to_the_rules_of_ids(app: App, run: Run):
    @app.workflow("child")
    async def child(ctx: Context) -> None: ...

    @app.workflow("twice")
    async def twice(ctx: Context) -> None:
        await ctx.start_child("one", child)
        await ctx.start_child("one", child)

    @app.workflow("step")
    async def step(ctx: Context) -> None:
        await ctx.step("one", str)
        await ctx.start_child("one", child)

    @app.workflow("reserved")
    async def reserved(ctx: Context) -> None:
        await ctx.start_child("__one", child)

    async with run(app) as fleet:
        for name, error in (("twice", DuplicateId), ("step", DuplicateId), ("reserved", ReservedId)):
            with pytest.raises(ExecutionFailed, match="one") as failed:
                await (await fleet.client.start(name)).result(timeout=20)
            assert failed.value.type.endswith(error.__name__)


async def test_a_worker_that_dies_while_cancelling_leaves_a_cancelled_execution_and_a_parent_that_knows(
    app: App, run: Run
):
    cleaning: Counter[str] = Counter()

    async def clean(id: str) -> None:
        cleaning[id] += 1

    @app.workflow("child")
    async def child(ctx: Context) -> str:
        try:
            return await ctx.wait_for_signal(go)
        except Cancelled:
            await ctx.step("clean", clean, ctx.execution_id)
            raise

    @app.workflow("flow")
    async def flow(ctx: Context, key: str) -> str:
        try:
            return str(await ctx.run_child("child", child, idempotency_key=key))
        except ExecutionCancelled as cancelled:
            return str(cancelled)

    async with run(app, lease_s=1.0) as fleet:
        deaths = Deaths(fleet.store)
        plans = [Death(number, when) for number in (1, 2) for when in ("before", "after")]
        parents = [await fleet.client.start(flow, str(plan)) for plan in plans]
        for parent, plan in zip(parents, plans, strict=True):
            await happened_links(fleet, parent.id)
            (link,) = await fleet.store.children(parent.id)
            await until_sleeping(fleet, link.execution_id)
            del deaths.commits[link.execution_id]
            deaths.planned[link.execution_id] = plan
            await fleet.client.cancel(link.execution_id, "enough")
        for parent in parents:
            assert "enough" in await parent.result(timeout=30)
        assert len(deaths.died) == len(plans)
        await nothing_left(fleet)
    assert len(cleaning) == len(plans) and max(cleaning.values()) <= 2


async def test_a_failing_childs_notice_and_a_cancel_of_the_parent_in_any_order(app: App, run: Run):
    """Nested: a race in a map in a parent whose child ends while the parent is cancelled."""

    @app.workflow("child", max_attempts=1)
    async def child(ctx: Context, nap: float) -> None:
        await ctx.sleep(nap)
        raise LookupError("no")

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> list[str]:
        async def one(nap: float) -> str:
            try:
                name, _ = await ctx.race("r", child=ctx.run_child("c", child, nap), timer=ctx.sleep(30))
            except ExecutionFailed:
                return "failed"
            return name

        return list(await ctx.map("all", one, [0.0, 0.01, 0.02], max_concurrency=2))

    async with run(app) as fleet:
        handles = await fleet.client.start_many(flow, [None] * 20)
        for number, handle in enumerate(handles[::2]):
            await asyncio.sleep(0.002 * number)
            await handle.cancel()
        outcomes = [await outcome_of(handle) for handle in handles]
        await nothing_left(fleet)
    assert outcomes[1::2] == [["failed"] * 3] * 10
    assert all(outcome in ("ExecutionCancelled", ["failed"] * 3) for outcome in outcomes)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_hundreds_of_parents_cancelled_at_once_leave_no_child_running(app: App, run: Run):
    """Whether the cancel comes before the child's start, overtakes it, or finds it at work."""
    finished: list[str] = []

    @app.workflow("child")
    async def child(ctx: Context) -> None:
        await ctx.sleep(30)
        finished.append(ctx.execution_id)

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        await ctx.run_child("child", child)

    async with run(app, concurrency=100) as fleet:
        for batch in range(5):
            handles = await fleet.client.start_many(flow, [None] * 100)
            if batch:
                await asyncio.sleep(0.03 * batch)
            await asyncio.gather(*(answered(handle.cancel) for handle in handles))
            outcomes = await asyncio.gather(*(outcome_of(handle) for handle in handles))
            assert set(outcomes) == {"ExecutionCancelled"}
        await nothing_left(fleet)
    assert finished == []


async def test_nobody_is_a_child_of_its_own(app: App, run: Run):
    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> None:
        await ctx.run_child("again", flow, idempotency_key="k")

    async with run(app) as fleet:
        with pytest.raises(ExecutionFailed, match="its own child"):
            await (await fleet.client.start(flow, idempotency_key="k")).result(timeout=20)
