"""What becomes of hints: doubled, foreign, for workers that do not know them; and of workers that fall behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from runner import App, Context, ExecutionFailed, Signal
from runner.messages import Hint
from runner.workers import Worker, WorkerOptions
from tests.integration.conftest import Fleet, Run

go = Signal[str]("go")


async def until(condition: Any, timeout: float = 20) -> None:
    async with asyncio.timeout(timeout):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_hint_delivered_five_times_runs_bodies_once(app: App, run: Run) -> None:
    calls: list[int] = []

    @app.workflow("flow")
    async def flow(ctx: Context) -> int:
        await ctx.step("slow", asyncio.sleep, 0.1)
        await ctx.step("count", calls.append, 1)
        return len(calls)

    async with run(app, workers=0) as fleet:
        handle = await fleet.client.start(flow)
        record = await handle.execution()
        for _ in range(5):
            await fleet.broker.publish("default", Hint(handle.id, "flow", 1, record.seq))
        await fleet.add_worker()
        await fleet.add_worker()
        assert await handle.result(timeout=20) == 1
    assert calls == [1]


async def test_a_hint_for_an_unknown_execution_becomes_an_orphan(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return "done"

    async with run(app) as fleet:
        await fleet.broker.publish("default", Hint("nobody", "flow", 1, 1))

        async def orphaned() -> bool:
            return await fleet.broker.orphans() == 1

        await until(orphaned)
        assert await (await fleet.client.start(flow)).result(timeout=20) == "done"


async def test_a_worker_leaves_what_it_does_not_know_to_one_that_does(app: App, run: Run, namespace: str) -> None:
    @app.workflow("new")
    async def new(ctx: Context) -> str:
        return "done"

    old = App(namespace)

    @old.workflow("other")
    async def other(ctx: Context) -> None: ...

    async with run(app, workers=0) as fleet:
        options = WorkerOptions(watch_loop=False, grace_s=2)
        async with Worker(old, fleet.store, fleet.broker, options):
            handle = await fleet.client.start(new)

            async def passed() -> bool:
                return bool((await handle.execution()).passed)

            await until(passed)
            record = await handle.execution()
            assert "'new'" in record.passed
            assert (record.status, record.crashes, record.attempt) == ("pending", 0, 1)
            await fleet.add_worker()
            assert await handle.result(timeout=20) == "done"


async def test_a_history_the_code_does_not_replay_is_left_unchanged(app: App, run: Run, namespace: str) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.sleep(0, id="a")
        return await ctx.wait_for_signal(go, id="b")

    changed = App(namespace)

    @changed.workflow("flow")
    async def flow_changed(ctx: Context) -> str:
        await ctx.step("a", str, 1)
        return "wrong"

    async with run(app, workers=0) as fleet:
        handle = await fleet.client.start(flow)
        async with Worker(app, fleet.store, fleet.broker, WorkerOptions(watch_loop=False, grace_s=2)):
            await until_sleeping(fleet, handle.id)
        async with Worker(changed, fleet.store, fleet.broker, WorkerOptions(watch_loop=False, grace_s=2)):
            await handle.signal(go, "yes")

            async def passed() -> bool:
                return "'a'" in (await handle.execution()).passed

            await until(passed)
            assert not (await handle.execution()).status.terminal
        await fleet.add_worker()
        assert await handle.result(timeout=40) == "yes"


async def until_sleeping(fleet: Fleet, execution_id: str) -> None:
    async def sleeping() -> bool:
        return (await fleet.client.execution(execution_id)).status == "sleeping"

    await until(sleeping)


async def test_more_work_than_slots_is_worked_off(app: App, run: Run) -> None:
    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    @app.workflow("flow")
    async def flow(ctx: Context, number: int) -> int:
        await ctx.step("work", work)
        return number

    async with run(app, concurrency=4) as fleet:
        handles = await fleet.client.start_many(flow, range(60))
        assert await asyncio.gather(*(handle.result(timeout=40) for handle in handles)) == list(range(60))
    assert 1 < most <= 4


async def test_draining_hands_back_and_another_worker_goes_on(app: App, run: Run) -> None:
    calls: list[str] = []
    begun = asyncio.Event()

    async def first() -> None:
        calls.append("first")
        begun.set()
        await asyncio.sleep(0.2)

    async def second() -> None:
        calls.append("second")

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.step("first", first)
        await ctx.step("second", second)
        return "done"

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await begun.wait()
        await fleet.workers[0].drain()
        assert calls == ["first"]
        record = await handle.execution()
        assert (record.status, record.crashes, record.attempt) == ("pending", 0, 1)
        await fleet.add_worker()
        assert await handle.result(timeout=20) == "done"
    assert calls == ["first", "second"]


async def test_a_step_that_outlasts_the_grace_is_cut_off_and_run_again_elsewhere(app: App, run: Run) -> None:
    attempts: list[int] = []
    begun = asyncio.Event()

    async def stubborn() -> str:
        attempts.append(1)
        begun.set()
        if len(attempts) == 1:
            await asyncio.sleep(60)
        return "done"

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.step("stubborn", stubborn)

    async with run(app, grace_s=0.5) as fleet:
        handle = await fleet.client.start(flow)
        await begun.wait()
        asked = asyncio.get_running_loop().time()
        await fleet.workers[0].drain()
        assert asyncio.get_running_loop().time() - asked < 5
        await fleet.add_worker()
        assert await handle.result(timeout=20) == "done"
        assert (await handle.execution()).crashes == 0
        (entry,) = (await fleet.client.history(handle.id)).entries
        assert entry.attempts == 1


async def test_a_broken_workflow_harms_no_other(app: App, run: Run) -> None:
    @app.workflow("bad", max_attempts=1)
    async def bad(ctx: Context) -> None:
        raise SystemExit(3)

    @app.workflow("good")
    async def good(ctx: Context) -> str:
        return await ctx.step("s", str, "good")

    async with run(app) as fleet:
        failing = await fleet.client.start(bad)
        with pytest.raises(ExecutionFailed, match="SystemExit"):
            await failing.result(timeout=20)
        assert await (await fleet.client.start(good)).result(timeout=20) == "good"


async def test_logs_of_a_workflow_are_not_repeated_by_its_replays(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        ctx.log.info("flow.begun")
        await ctx.sleep(0.05)
        ctx.log.info("flow.woke")
        await ctx.sleep(0.05)
        ctx.log.info("flow.done")

    with capture_logs() as logs:
        async with run(app) as fleet:
            await (await fleet.client.start(flow)).result(timeout=20)
    assert [log["event"] for log in logs if log["event"].startswith("flow.")] == [
        "flow.begun",
        "flow.woke",
        "flow.done",
    ]
