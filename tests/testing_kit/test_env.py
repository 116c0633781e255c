"""TestEnv: the same executions as in production, without their time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from runner import (
    App,
    Context,
    ExecutionFailed,
    ExecutionTimedOut,
    Retry,
    Signal,
    Status,
    StepTimedOut,
    TimedOut,
    WaitTimeout,
    current_step,
)
from runner.testing import Stuck, TestEnv

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
go = Signal[str]("go")


async def twice(number: int) -> int:
    return number * 2


@pytest.fixture
def app() -> App:
    return App("kit")


async def test_a_result_makes_time_skip(app: App) -> None:
    @app.workflow
    async def slow(ctx: Context) -> datetime:
        for _ in range(3):
            await ctx.sleep(timedelta(days=100))
        return ctx.now()

    begun = time.monotonic()
    async with TestEnv(app, now=BEGIN) as env:
        handle = await env.client.start(slow)
        assert await handle.result() == BEGIN + timedelta(days=300) == env.now
    assert time.monotonic() - begun < 10


async def test_advance_does_everything_on_the_way_at_its_time(app: App) -> None:
    @app.workflow
    async def daily(ctx: Context) -> None:
        for _ in range(5):
            await ctx.sleep(timedelta(days=1))
            await ctx.step(f"day-{ctx.now().day}", twice, ctx.now().day)

    async with TestEnv(app, now=BEGIN) as env:
        await env.client.start(daily)
        await env.advance(days=3)
        assert [call.step for call in env.calls(twice)] == ["day-2", "day-3", "day-4"]
        assert env.now == BEGIN + timedelta(days=3)
        await env.advance(timedelta(hours=23), minutes=59)
        assert len(env.calls(twice)) == 3
        await env.advance(60)
        assert len(env.calls(twice)) == 4


async def test_without_auto_skip_only_the_test_moves_time(app: App) -> None:
    @app.workflow
    async def sleeps(ctx: Context) -> str:
        await ctx.sleep(3600)
        return "awake"

    async with TestEnv(app, auto_skip=False) as env:
        handle = await env.client.start(sleeps)
        with pytest.raises(WaitTimeout):
            await handle.result(timeout=0.1)
        await env.advance(hours=1)
        assert await handle.result(timeout=5) == "awake"


async def test_a_wait_ends_at_its_deadline_unless_the_signal_comes(app: App) -> None:
    @app.workflow
    async def waits(ctx: Context) -> str:
        heard = await ctx.wait_for_signal(go, timeout=timedelta(days=1))
        return "late" if isinstance(heard, TimedOut) else heard

    async with TestEnv(app, now=BEGIN) as env:
        one, other = await env.client.start(waits), await env.client.start(waits)
        await env.advance(days=1, seconds=-1)
        await one.signal(go, "now")
        assert (await one.result(), await other.result()) == ("now", "late")
        assert env.now - BEGIN == timedelta(days=1, milliseconds=1)


async def test_a_wait_for_a_result_has_its_time_too(app: App) -> None:
    @app.workflow
    async def sleeps(ctx: Context) -> str:
        await ctx.sleep(timedelta(days=2))
        return "awake"

    async with TestEnv(app, now=BEGIN) as env:
        handle = await env.client.start(sleeps)
        with pytest.raises(WaitTimeout):
            await handle.result(timeout=timedelta(days=1))
        assert env.now == BEGIN + timedelta(days=1)
        assert await handle.result(timeout=timedelta(days=1)) == "awake"


async def test_a_timeout_of_the_whole_execution(app: App) -> None:
    @app.workflow(timeout=timedelta(days=3))
    async def sleeps(ctx: Context) -> None:
        await ctx.sleep(timedelta(days=4))

    async with TestEnv(app) as env:
        with pytest.raises(ExecutionTimedOut):
            await (await env.client.start(sleeps)).result()


async def test_retries_take_no_time(app: App) -> None:
    @app.step(retry=Retry(max_attempts=4, initial=3600, multiplier=2, max_interval=36000, jitter=0))
    async def flaky() -> int:
        if current_step().attempt < 4:
            raise ConnectionError("not yet")
        return current_step().attempt

    @app.workflow
    async def tries(ctx: Context) -> int:
        return await ctx.step("flaky", flaky)

    async with TestEnv(app, now=BEGIN) as env:
        assert await (await env.client.start(tries)).result() == 4
        assert [call.attempt for call in env.calls("flaky")] == [1, 2, 3, 4]
        assert len({call.idempotency_key for call in env.calls("flaky")}) == 1
        assert env.now - BEGIN == timedelta(hours=7)


async def test_who_waits_for_a_signal_that_nobody_sends_is_told(app: App) -> None:
    @app.workflow
    async def waits(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    async with TestEnv(app, patience_s=0.05) as env:
        handle = await env.client.start(waits)
        with pytest.raises(Stuck, match="it waits for signal 'go'"):
            await handle.result()


async def test_another_task_may_still_send_it(app: App) -> None:
    @app.workflow
    async def waits(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    async with TestEnv(app) as env:
        handle = await env.client.start(waits)
        waiting = asyncio.create_task(handle.result())
        await env.settle()
        assert await handle.status() is Status.SLEEPING
        await handle.signal(go, "went")
        assert await waiting == "went"


async def test_what_no_worker_goes_on_with_is_told(app: App) -> None:
    other = App("kit")

    @other.workflow
    async def unknown(ctx: Context) -> None: ...

    async with TestEnv(app) as env:
        handle = await env.client.start(unknown)
        with pytest.raises(Stuck, match="no workflow 'unknown'"):
            await handle.result()


async def test_children_come_and_go_at_once(app: App) -> None:
    @app.workflow
    async def child(ctx: Context, number: int) -> int:
        await ctx.sleep(timedelta(days=number))
        return await ctx.step("twice", twice, number)

    @app.workflow
    async def parent(ctx: Context) -> list[int]:
        return list(await ctx.gather(*(ctx.run_child(f"child-{n}", child, n) for n in range(3))))

    async with TestEnv(app, now=BEGIN) as env:
        assert await (await env.client.start(parent)).result() == [0, 2, 4]
        assert len(env.calls(twice)) == 3
        assert env.now == BEGIN + timedelta(days=2)


async def test_any_queue_is_served(app: App) -> None:
    @app.workflow(queue="gpu")
    async def on_another_queue(ctx: Context) -> str:
        return "done"

    async with TestEnv(app) as env:
        assert await (await env.client.start(on_another_queue)).result() == "done"
        assert await (await env.client.start(on_another_queue, queue="third")).result() == "done"


async def test_stubs_take_the_place_of_bodies_in_this_environment_only(app: App) -> None:
    @app.workflow
    async def sums(ctx: Context) -> list[int]:
        mapped = await ctx.map("fan", lambda n: ctx.step("each", twice, n), [1, 2, 3])
        return [*mapped, await ctx.step("last", twice, 10)]

    async with TestEnv(app) as env:
        env.stub(twice, 7)
        env.stub("each", lambda number: number + 100)
        assert await (await env.client.start(sums)).result() == [101, 102, 103, 7]
        assert [call.args for call in env.calls("each")] == [(1,), (2,), (3,)]
        assert [call.step for call in env.calls("each")] == ["fan[0]/each", "fan[1]/each", "fan[2]/each"]
        assert [call.result for call in env.calls("last")] == [7]
        assert len(env.calls(twice)) == len(env.calls()) == 4
    async with TestEnv(app) as env:
        assert await (await env.client.start(sums)).result() == [2, 4, 6, 20]


async def test_a_stub_may_raise_or_be_asynchronous(app: App) -> None:
    def blocking(number: int) -> int:
        return number

    @app.workflow(max_attempts=1)
    async def one(ctx: Context, id: str) -> int:
        return await ctx.step(id, blocking, 5)

    async def slowly(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    async with TestEnv(app) as env:
        env.stub("raises", LookupError("gone"))
        env.stub("async", slowly)
        assert await (await env.client.start(one, "async")).result() == 6
        assert await (await env.client.start(one, "real")).result() == 5
        with pytest.raises(ExecutionFailed, match="LookupError: gone"):
            await (await env.client.start(one, "raises")).result()
        assert isinstance(env.calls("raises")[0].error, LookupError)


async def test_a_step_over_its_timeout_takes_no_time(app: App) -> None:
    @app.workflow
    async def bounded(ctx: Context) -> str:
        try:
            await ctx.step("twice", twice, 1).options(timeout=30)
        except StepTimedOut:
            return "over"
        return "in time"

    async with TestEnv(app) as env:
        env.time_out_at(twice)
        assert await (await env.client.start(bounded)).result() == "over"
        assert env.calls(twice) == ()


async def test_an_ending_raises_nothing(app: App) -> None:
    @app.workflow(max_attempts=1)
    async def order(ctx: Context) -> str:
        said = [await ctx.wait_for_signal(go), await ctx.wait_for_signal(go)]
        if said == ["a", "b"]:
            return "good"
        raise ValueError(said)

    async with TestEnv(app) as env:
        good = await env.ending(await env.client.start(order), signals=[(go, "a"), ("go", "b")])
        assert (good.status, good.result, good.error) == (Status.COMPLETED, "good", None)
        bad = await env.ending(await env.client.start(order), signals=[(go, "b"), (go, "a")])
        assert bad.status is Status.FAILED and isinstance(bad.error, ExecutionFailed)
        open_end = await env.ending(await env.client.start(order), signals=[(go, "a")])
        assert (open_end.status, open_end.error) == (Status.SLEEPING, None)


async def test_the_past_is_forgotten_after_its_retention(app: App) -> None:
    @app.workflow(retention=timedelta(days=1))
    async def short(ctx: Context) -> None: ...

    async with TestEnv(app) as env:
        handle = await env.client.start(short)
        await handle.result()
        await env.advance(days=1)
        assert (await env.client.executions()).executions == ()
