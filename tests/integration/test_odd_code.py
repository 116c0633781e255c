"""Code that does odd things ends visibly, once, and does not keep the worker busy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner import App, ConflictingStart, Context, ExecutionFailed, Retry, RetryLater, Signal, UsageError
from runner.workers import Worker, WorkerOptions
from tests.integration.conftest import Run
from tests.integration.test_deliveries import until, until_sleeping

go = Signal[str]("go")


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


ODD = [RetryLater(-1), RetryLater(float("nan")), RetryLater("soon"), Silent(), OSError(2, "no file", "\udcff")]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
async def test_an_odd_error_counts_as_an_attempt_and_ends(app: App, run: Run, odd: Exception) -> None:
    calls: list[int] = []

    @app.step(retry=Retry(max_attempts=2, initial=0.01))
    async def fails() -> None:
        calls.append(1)
        raise odd

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> None:
        await ctx.step("fails", fails)

    async with run(app) as fleet:
        with pytest.raises(ExecutionFailed):
            await (await fleet.client.start(flow)).result(timeout=20)
    assert calls == [1, 1]


async def test_a_wait_that_became_something_else_is_parked_not_looped(app: App, run: Run, namespace: str) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.wait_for_signal(go, id="x")

    changed = App(namespace)

    @changed.workflow("flow")
    async def flow_changed(ctx: Context) -> None:
        await ctx.sleep(60, id="x")

    async with run(app, workers=0) as fleet:
        handle = await fleet.client.start(flow)
        async with Worker(app, fleet.store, fleet.broker, WorkerOptions(watch_loop=False, grace_s=2)):
            await until_sleeping(fleet, handle.id)
        async with Worker(changed, fleet.store, fleet.broker, WorkerOptions(watch_loop=False, grace_s=2)):
            await handle.signal(go, "yes")

            async def passed() -> bool:
                return "'x'" in (await handle.execution()).passed

            await until(passed)
        await fleet.add_worker()
        assert await handle.result(timeout=40) == "yes"


async def test_a_wait_the_code_no_longer_has_is_left_for_code_that_has_it(app: App, run: Run, namespace: str) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.sleep(0.5, id="old")
        return "slept"

    changed = App(namespace)

    @changed.workflow("flow")
    async def flow_changed(ctx: Context) -> str:
        await ctx.step("new", asyncio.sleep, 1.0)
        return "stepped"

    async with run(app, workers=0) as fleet:
        handle = await fleet.client.start(flow)
        async with Worker(app, fleet.store, fleet.broker, WorkerOptions(watch_loop=False, grace_s=2)):
            await until_sleeping(fleet, handle.id)
        async with Worker(changed, fleet.store, fleet.broker, WorkerOptions(watch_loop=False, grace_s=2)):
            while not (execution := await fleet.client.execution(handle.id)).passed:
                await asyncio.sleep(0.02)
        assert "'old' waits as a sleep, the code does not ask for it" in execution.passed
        async with Worker(app, fleet.store, fleet.broker, WorkerOptions(watch_loop=False, grace_s=2)):
            assert await handle.result(timeout=20) == "slept"


async def test_the_same_id_for_another_workflow_is_a_conflict(app: App, run: Run) -> None:
    @app.workflow("a")
    async def a(ctx: Context, number: int) -> int:
        return number

    @app.workflow("b")
    async def b(ctx: Context, number: int) -> int:
        return number

    async with run(app) as fleet:
        await fleet.client.start(a, 1, id="same")
        with pytest.raises(ConflictingStart, match="another workflow"):
            await fleet.client.start(b, 1, id="same")


async def test_a_step_that_ends_during_an_outage_of_the_store_is_not_repeated(app: App, run: Run) -> None:
    calls: list[int] = []

    async def work() -> str:
        calls.append(1)
        await asyncio.sleep(1.2)
        return "done"

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.step("work", work)

    async with run(app, lease_s=1.0) as fleet:
        handle = await fleet.client.start(flow)
        while not calls:
            await asyncio.sleep(0.01)
        keeper = fleet.workers[0]._keeper
        loop_alive, keeper._loop_alive = keeper._loop_alive, lambda: False
        reap, fleet.store.reap = fleet.store.reap, _nothing_reaped(fleet.store.reap)  # type: ignore[method-assign]
        await asyncio.sleep(2.0)
        keeper._loop_alive = loop_alive
        assert await handle.result(timeout=20) == "done"
        fleet.store.reap = reap  # type: ignore[method-assign]
    assert calls == [1]


def _nothing_reaped(reap: Any) -> Any:
    async def nothing(partition: int, limit: int, *rest: Any) -> Any:
        return await reap(partition, 0, *rest)

    return nothing


async def test_thousands_of_sleeps_that_end_together_do_not_hold_up_the_others(app: App, run: Run) -> None:
    """Linear in the number of waits: a scan of all for each would block the loop for many seconds."""

    @app.workflow("wide")
    async def wide(ctx: Context) -> int:
        return len(await ctx.gather(*(ctx.sleep(0.2) for _ in range(4000))))

    async with run(app) as fleet:
        handle = await fleet.client.start(wide)
        longest, ticking = 0.0, True
        loop = asyncio.get_running_loop()

        async def tick() -> None:
            nonlocal longest
            while ticking:
                before = loop.time()
                await asyncio.sleep(0.01)
                longest = max(longest, loop.time() - before)

        ticker = asyncio.create_task(tick())
        assert await handle.result(timeout=60) == 4000
        ticking = False
        await ticker
    assert longest < 3.0


async def test_a_signal_under_an_impossible_name_is_refused(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> None: ...

    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start(flow)
        for name in ("", "a\0", "x" * 300, "\ud800", 5):
            with pytest.raises(UsageError, match="signal name"):
                await fleet.client.signal(handle.id, name, 1)  # type: ignore[call-overload, arg-type]
        with pytest.raises(UsageError):
            await handle.signal("fine", 1, dedup_id="\ud800")
        with pytest.raises(UsageError, match="limit"):
            await fleet.client.executions(limit="x")  # type: ignore[arg-type]
