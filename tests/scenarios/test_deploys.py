"""Releases that break the code of executions under way, journals that are full, and forks: nothing is lost by them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from runner import App, Context, ExecutionFailed, Retry, Signal, Status, StepFailed
from runner.workers import Worker, WorkerOptions
from tests.integration.conftest import Fleet, Run
from tests.scenarios.kit import happened, nothing_left, outcome_of, until

go = Signal[str]("go")
SOON = Retry(initial=0.01)


@dataclass
class Order:
    id: str


@dataclass
class Priced:
    id: str
    amount: int


class Release:
    """``broken``: the one that is out has a bug at the place where it is asked for."""

    def __init__(self) -> None:
        self.broken = False
        self.undone: list[int] = []

    def check(self) -> None:
        if self.broken:
            raise KeyError("a bug in the new release")


async def parked(fleet: Fleet, id: str, status: Status = Status.PENDING) -> None:
    """It is left as it was, and says why."""
    async with asyncio.timeout(30):
        while "does not replay its history" not in (execution := await fleet.client.execution(id)).passed:
            await asyncio.sleep(0.02)
    assert (execution.status, execution.attempt, execution.crashes) == (status, 1, 0)


async def test_what_a_release_does_not_replay_waits_for_one_that_does(app: App, run: Run):
    """It raises where it had gone on, or returns where it had waited."""
    release, begun = Release(), list[int]()

    async def hold() -> str:
        begun.append(1)
        if len(begun) == 1:
            await asyncio.Event().wait()
        return "on"

    @app.workflow("raises", retry=SOON)
    async def raises(ctx: Context) -> str:
        await ctx.step("a", str)
        release.check()
        await ctx.step("b", str)
        return await ctx.step("c", hold)

    @app.workflow("returns", retry=SOON)
    async def returns(ctx: Context) -> str:
        await ctx.step("a", str)
        return "early" if release.broken else await ctx.wait_for_signal(go)

    async with run(app, grace_s=0.1) as fleet:
        handles = [await fleet.client.start(flow) for flow in (raises, returns)]
        await happened(lambda: begun)
        await until(fleet, handles[1].id, Status.SLEEPING)
        await fleet.workers[0].drain()
        release.broken = True
        await handles[1].signal(go, "on")
        await fleet.add_worker()
        for handle in handles:
            await parked(fleet, handle.id)
        release.broken = False
        assert [await outcome_of(handle) for handle in handles] == ["on", "on"]
        await nothing_left(fleet)


async def test_an_input_that_a_release_cannot_read_waits_for_one_that_can(app: App, run: Run):
    new = App(app.name)

    async def body(ctx: Context) -> str:
        await ctx.step("a", str)
        return await ctx.wait_for_signal(go)

    @app.workflow("flow", retry=SOON)
    async def flow(ctx: Context, order: Order) -> str:
        return await body(ctx)

    @new.workflow("flow", retry=SOON)
    async def priced(ctx: Context, order: Priced) -> str:
        return await body(ctx)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow, Order("7"))
        await until(fleet, handle.id, Status.SLEEPING)
        await fleet.workers[0].drain()
        options = WorkerOptions(watch_loop=False, grace_s=1)
        async with Worker(new, fleet.store, fleet.broker, options):
            await handle.signal(go, "on")
            await parked(fleet, handle.id)
        await fleet.add_worker()
        assert await outcome_of(handle) == "on"


@pytest.mark.parametrize("by", ["cancel", "retry_rollback"])
async def test_what_is_to_be_undone_waits_for_a_release_that_can(app: App, run: Run, by: str):
    """One that fails before it has asked for what is to be undone, or has lost how to, does not know how to."""
    release = Release()

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> None:
        if by == "retry_rollback":
            await ctx.step("pay", lambda: 5).options(compensate=None if release.broken else release.undone.append)
            raise ValueError("no luck")
        release.check()
        async with ctx.saga():
            await ctx.step("pay", lambda: 5).options(compensate=release.undone.append)
            await ctx.wait_for_signal(go)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        if by == "cancel":
            await until(fleet, handle.id, Status.SLEEPING)
            release.broken = True
            await handle.cancel("enough")
            await parked(fleet, handle.id, Status.CANCELLING)
        else:
            assert await outcome_of(handle) == "ExecutionFailed"
            release.broken = True
            await fleet.client.operator.retry_rollback(handle.id, actor="ann")
            await parked(fleet, handle.id)
        assert ((await handle.execution()).outstanding, release.undone) == (1, [])
        release.broken = False
        assert await outcome_of(handle) == ("ExecutionCancelled" if by == "cancel" else "ExecutionFailed")
        assert ((await handle.execution()).outstanding, release.undone) == (0, [5])


async def test_a_full_journal_has_room_for_undoing_what_is_in_it(app: App, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("runner.workers.journal.MAX_ENTRIES", 20)
    release = Release()

    @app.workflow("cancelled", max_attempts=1)
    async def cancelled(ctx: Context) -> None:
        async with ctx.saga():
            for number in range(19):
                await ctx.step(f"s{number}", int, number).options(compensate=release.undone.append)
            await ctx.wait_for_signal(go)

    @app.workflow("filled", max_attempts=1)
    async def filled(ctx: Context) -> None:
        for number in range(30):
            await ctx.step(f"s{number}", int, number).options(compensate=release.undone.append)

    async with run(app) as fleet:
        handle = await fleet.client.start(cancelled)
        await until(fleet, handle.id, Status.SLEEPING)
        await handle.cancel("enough")
        assert await outcome_of(handle) == "ExecutionCancelled"
        assert release.undone == list(reversed(range(19)))
        release.undone.clear()
        handle = await fleet.client.start(filled)
        with pytest.raises(ExecutionFailed, match="entries"):
            await handle.result(timeout=20)
        outstanding = (await handle.execution()).outstanding
        await fleet.client.operator.retry_rollback(handle.id, actor="ann")
        with pytest.raises(ExecutionFailed, match="all of them are done"):
            await handle.result(timeout=20)
        assert release.undone == list(reversed(range(outstanding)))
        assert outstanding > 19


async def test_a_fork_goes_on_from_what_its_origin_had_drawn_and_tried(app: App, run: Run):
    """Values that derive from the origin's second run and its clock, and entries that an attempt left behind."""
    calls: Counter[str] = Counter()

    def call(what: str) -> str:
        calls[what] += 1
        if what == "flaky" and calls[what] == 1:
            raise ValueError("no luck")
        return what

    @app.workflow("second-run")
    async def second_run(ctx: Context, round: int) -> str:
        if round == 1:
            await ctx.continue_as_new(2)
        drawn = f"{ctx.uuid()} {ctx.random()} {ctx.now().isoformat()}"
        await ctx.step(f"a {drawn}", call, "a")
        await ctx.step("z", call, "second-run")
        return drawn

    @app.workflow("attempts", retry=SOON)
    async def attempts(ctx: Context) -> str:
        try:
            flaky = await ctx.step("flaky", call, "flaky")
        except StepFailed:
            await ctx.step("report", call, "report")
            raise
        await ctx.step("z", call, "attempts")
        return flaky

    async def forked(handle: Any) -> tuple[Any, Any]:
        first = await outcome_of(handle)
        return first, await outcome_of(await fleet.client.operator.fork(handle.id, "z", actor="ann"))

    async with run(app) as fleet:
        for handle in (await fleet.client.start(second_run, 1), await fleet.client.start(attempts)):
            first, second = await forked(handle)
            assert first == second
        assert calls == {"a": 1, "second-run": 2, "flaky": 2, "report": 1, "attempts": 2}
        await nothing_left(fleet)
