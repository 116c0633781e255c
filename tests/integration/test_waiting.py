"""Sleeps, signals, timeouts and cancels on both backends."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from runner import (
    App,
    Cancelled,
    Context,
    ExecutionCancelled,
    ExecutionTimedOut,
    PayloadError,
    Signal,
    Status,
    TimedOut,
    UndeclaredSignal,
    UnknownExecution,
    WaitTimeout,
)
from runner.step import current_step
from tests.integration.conftest import Fleet, Run
from tests.scenarios.kit import answered

go = Signal[str]("go")
number = Signal[int]("number")


async def parked(fleet: Fleet, execution_id: str, status: str = "sleeping") -> None:
    """Wait until the execution has suspended."""
    async with asyncio.timeout(20):
        while (await fleet.client.execution(execution_id)).status != status:
            await asyncio.sleep(0.01)


async def test_a_waiting_execution_gets_exactly_that_payload(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> Any:
        return await ctx.wait_for_signal(go, timeout=60)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await parked(fleet, handle.id)
        (wait,) = (await fleet.client.history(handle.id)).waits
        assert (wait.kind, wait.name) == ("signal", "go") and wait.deadline is not None
        assert await handle.signal(go, "yes")
        assert await handle.result(timeout=20) == "yes"
        assert (await fleet.client.history(handle.id)).waits == ()


async def test_signals_sent_before_any_wait_come_in_order_without_suspending(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> list[int]:
        return [await ctx.wait_for_signal(number) for _ in range(3)]

    async with run(app, workers=0) as fleet:
        handle = await fleet.client.start(flow)
        for payload in (1, 1, 2):
            await handle.signal(number, payload)
        await fleet.add_worker()
        assert await handle.result(timeout=20) == [1, 1, 2]
        assert [entry.kind for entry in (await fleet.client.history(handle.id)).entries] == ["signal"] * 3


async def test_a_timeout_gives_timed_out_and_keeps_its_first_deadline(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        match await ctx.wait_for_signal(go, timeout=0.3):
            case TimedOut():
                return "nothing came"
            case text:
                return text

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await parked(fleet, handle.id)
        (before,) = (await fleet.client.history(handle.id)).waits
        await fleet.client.signal(handle.id, "other", 1)  # wakes it, and changes nothing
        await parked(fleet, handle.id)
        waits = (await fleet.client.history(handle.id)).waits
        assert waits in ((before,), ())
        assert await handle.result(timeout=20) == "nothing came"


async def test_a_hundred_concurrent_signals_are_all_consumed_once(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> list[int]:
        return [await ctx.wait_for_signal(number) for _ in range(100)]

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        assert all(await asyncio.gather(*(handle.signal(number, n) for n in range(100))))
        assert sorted(await handle.result(timeout=30)) == list(range(100))


async def test_signals_in_the_window_of_suspension_are_never_lost(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    async with run(app, scheduler=False) as fleet:
        handles = await fleet.client.start_many(flow, [None] * 200)

        async def send(position: int, execution_id: str) -> None:
            await asyncio.sleep(position % 20 / 1000)
            await fleet.client.signal(execution_id, go, str(position))

        await asyncio.gather(*(send(position, handle.id) for position, handle in enumerate(handles)))
        results = await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
    assert results == [str(position) for position in range(200)]


async def test_the_same_dedup_id_is_one_signal(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> list[Any]:
        first = await ctx.wait_for_signal(number)
        second = await ctx.wait_for_signal(number, timeout=0.1)
        return [first, isinstance(second, TimedOut)]

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        assert await handle.signal(number, 7, dedup_id="once")
        assert await handle.signal(number, 7, dedup_id="once")
        assert await handle.result(timeout=20) == [7, True]
        entries = (await fleet.client.history(handle.id)).entries
        assert [entry.outcome for entry in entries] == ["ok", "timed_out"]


async def test_signals_are_checked_before_they_are_stored(app: App, run: Run) -> None:
    @app.workflow("flow", signals=[number])
    async def flow(ctx: Context) -> int:
        return await ctx.wait_for_signal(number)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        with pytest.raises(UndeclaredSignal, match="'go'"):
            await handle.signal(go, "x")
        with pytest.raises(PayloadError, match="number"):
            await handle.signal(number, "seven")  # type: ignore[arg-type]
        with pytest.raises(UnknownExecution, match="nobody"):
            await fleet.client.signal("nobody", number, 1)
        assert (await fleet.client.history(handle.id)).inbox == ()
        await handle.signal(number, 1)
        assert await handle.result(timeout=20) == 1
        assert not await handle.signal(number, 2)


async def test_a_thousand_short_sleeps_all_end_by_themselves(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context, pause: float) -> str:
        await ctx.sleep(pause)
        return "woke"

    async with run(app, concurrency=100) as fleet:
        handles = await fleet.client.start_many(flow, [n % 6 / 1000 for n in range(1000)])
        ends = [answered(partial(handle.result, timeout=60)) for handle in handles]
        assert set(await asyncio.gather(*ends)) == {"woke"}


async def test_a_sleep_ends_at_its_deadline_not_later_by_the_downtime(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> float:
        begun = ctx.now()
        await ctx.sleep(1.0)
        return (ctx.now() - begun).total_seconds()

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await parked(fleet, handle.id)
        begun = time.monotonic()
    await asyncio.sleep(0.7)
    async with run(app) as fleet:
        slept = await fleet.client.handle(handle.id, flow).result(timeout=20)
    assert time.monotonic() - begun < 1.9
    assert slept >= 1.0


async def test_sleep_until_a_moment_that_has_passed_is_no_wait(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.sleep_until(ctx.now() - timedelta(days=1))
        return "on"

    async with run(app) as fleet:
        assert await (await fleet.client.start(flow)).result(timeout=20) == "on"


async def test_a_waiting_branch_beside_a_running_step_gets_its_signal(app: App, run: Run) -> None:
    release = asyncio.Event()

    async def work() -> str:
        await release.wait()
        return "worked"

    async def listen(ctx: Context) -> str:
        heard = await ctx.wait_for_signal(go)
        await ctx.step("heard", release.set)
        return heard

    @app.workflow("flow")
    async def flow(ctx: Context) -> Any:
        return await ctx.gather(ctx.step("work", work), listen(ctx))

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await handle.signal(go, "now")
        assert await handle.result(timeout=20) == ("worked", "now")


async def test_a_timer_beside_a_running_step_fires_while_it_runs(app: App, run: Run) -> None:
    release = asyncio.Event()

    async def work() -> str:
        await release.wait()
        return "worked"

    async def clock(ctx: Context) -> str:
        await ctx.sleep(0.1)
        await ctx.step("rang", release.set)
        return "rang"

    @app.workflow("flow")
    async def flow(ctx: Context) -> Any:
        return await ctx.gather(ctx.step("work", work), clock(ctx))

    async with run(app) as fleet:
        assert await (await fleet.client.start(flow)).result(timeout=20) == ("worked", "rang")


async def test_an_execution_never_claimed_is_cancelled_at_once(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> None: ...

    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start(flow)
        assert await handle.cancel("not needed")
        with pytest.raises(ExecutionCancelled, match="not needed"):
            await handle.result(timeout=1)
        assert not await handle.cancel("again")


async def test_a_suspended_execution_is_cancelled_and_sees_it(app: App, run: Run) -> None:
    seen: list[str] = []

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        try:
            await ctx.wait_for_signal(go)
        except Cancelled as cancelled:
            await ctx.step("clean up", seen.append, str(cancelled))
        return "went on"

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await parked(fleet, handle.id)
        assert await handle.cancel("first")
        await handle.cancel("second")
        with pytest.raises(ExecutionCancelled, match="first"):
            await handle.result(timeout=20)
        assert await handle.status() == Status.CANCELLED
    assert seen == ["first"]


async def test_a_running_step_sees_its_cancel_and_leaves_no_result(app: App, run: Run) -> None:
    told: list[str] = []
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        if current_step().cancelled.wait(15):
            told.append("told")

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        await ctx.step("work", work)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await begun.wait()
        asked = time.monotonic()
        await handle.cancel("stop it")
        with pytest.raises(ExecutionCancelled, match="stop it"):
            await handle.result(timeout=20)
        assert time.monotonic() - asked < 3
        assert [entry.kind for entry in (await fleet.client.history(handle.id)).entries] == ["cancel"]
    assert told == ["told"]


async def test_an_execution_over_its_timeout_ends_though_nobody_touches_it(app: App, run: Run) -> None:
    ran: list[int] = []

    @app.workflow("flow", timeout=0.4)
    async def flow(ctx: Context) -> None:
        await ctx.wait_for_signal(go)
        await ctx.step("never", lambda: ran.append(1))

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        with pytest.raises(ExecutionTimedOut):
            await handle.result(timeout=20)
        assert not await handle.signal(go, "late")
        assert await handle.status() == Status.FAILED
    assert ran == []


async def test_a_step_is_cut_off_by_the_execution_timeout(app: App, run: Run) -> None:
    @app.workflow("flow", timeout=0.4)
    async def flow(ctx: Context) -> None:
        await ctx.step("slow", asyncio.sleep, 30)

    async with run(app) as fleet:
        with pytest.raises(ExecutionTimedOut):
            await (await fleet.client.start(flow)).result(timeout=20)


async def test_waiting_has_its_own_bound(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow, idempotency_key="k")
        with pytest.raises(WaitTimeout) as timed_out:
            await handle.result(timeout=0.1)
        assert (timed_out.value.execution_id, timed_out.value.key) == (handle.id, "k")
        assert isinstance(timed_out.value, TimeoutError)
        await handle.signal(go, "on")
        assert await handle.result(timeout=20) == "on"


async def test_a_handler_that_swallows_everything_does_not_swallow_a_suspension(app: App, run: Run) -> None:
    handled: list[str] = []

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        while True:
            try:
                return await ctx.wait_for_signal(go)
            except BaseException:
                await ctx.step("handler", handled.append, "x")

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await parked(fleet, handle.id)
        await handle.signal(go, "yes")
        assert await handle.result(timeout=20) == "yes"
    assert handled == []
