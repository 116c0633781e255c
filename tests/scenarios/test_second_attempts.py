"""What an attempt did that is over binds no later one: neither the execution's own, nor those an operator begins."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runner import App, Context, Event, ExecutionFailed, NotRetryable, Retry, Signal, Status, StepFailed, TimedOut
from tests.integration.conftest import Fleet, Run
from tests.scenarios.kit import happened, nothing_left, outcome_of, until

go = Signal[str]("go")
SOON = Retry(initial=0.01)
bad = Event[str]("second-attempts.bad")
good = Event[str]("second-attempts.good")

Act = Callable[[Fleet, str], Awaitable[Any]]


class Flaky:
    """A step that fails the first time it is called for an execution, or for as long as it is ``broken``."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.broken = False

    def __call__(self, id: str) -> int:
        self.calls[id] += 1
        if self.broken or self.calls[id] == 1:
            raise ValueError("no luck")
        return self.calls[id]


async def retry(fleet: Fleet, id: str) -> None:
    await fleet.client.operator.retry(id, actor="ann")


async def skip_and_retry(fleet: Fleet, id: str) -> None:
    await fleet.client.operator.skip_step(id, "pay", value=2, actor="ann")
    await retry(fleet, id)


async def edit_and_retry(fleet: Fleet, id: str) -> None:
    await fleet.client.operator.edit_step(id, "pay", 2, actor="ann")
    await retry(fleet, id)


async def test_a_race_is_run_again_in_the_next_attempt(app: App, run: Run):
    """Whether its winner was the failure itself, or it was decided on the way from a caught failure to the end."""
    flaky, begun = Flaky(), asyncio.Event()

    async def slow(id: str) -> None:
        flaky(id)
        begun.set()
        await asyncio.Event().wait()

    @app.workflow("race", retry=SOON)
    async def race(ctx: Context) -> str:
        name, _ = await ctx.race("r", work=ctx.step("work", slow, ctx.execution_id), limit=ctx.sleep(0.3))
        return name

    @app.workflow("cleanup", retry=SOON)
    async def cleanup(ctx: Context) -> str:
        failed = None
        try:
            await ctx.step("pay", flaky, ctx.execution_id)
        except StepFailed as error:
            failed = error
        name, _ = await ctx.race("r", nap=ctx.sleep(0.01 if failed else 3600), go=ctx.wait_for_signal(go))
        if failed:
            raise failed
        return name

    async with run(app) as fleet:
        raced, cleaned = await fleet.client.start(race), await fleet.client.start(cleanup)
        await happened(lambda: flaky.calls[cleaned.id] == 2)
        await until(fleet, cleaned.id, Status.SLEEPING)
        await cleaned.signal(go, "on")
        assert await outcome_of(cleaned) == "go"
        assert await outcome_of(raced) == "limit" and begun.is_set()
        await nothing_left(fleet)


async def test_the_next_attempt_tells_and_waits_for_itself(app: App, run: Run):
    """Unnamed emits, notes and timeouts in the places where the first attempt had others."""
    flaky, heard = Flaky(), list[tuple[str, str]]()

    @app.on(bad)
    async def on_bad(text: str) -> None:
        heard.append(("bad", text))

    @app.on(good)
    async def on_good(text: str) -> None:
        heard.append(("good", text))

    @app.workflow("tell", retry=SOON)
    async def tell(ctx: Context) -> None:
        try:
            await ctx.step("pay", flaky, ctx.execution_id)
        except StepFailed:
            await ctx.emit(bad, "1")
            await ctx.note("bad")
            raise
        await ctx.emit(good, "2")
        await ctx.note("good")

    @app.workflow("ask", retry=SOON)
    async def ask(ctx: Context) -> str:
        try:
            await ctx.step("pay", flaky, ctx.execution_id)
        except StepFailed:
            assert await ctx.wait_for_signal(go, timeout=0.01) == TimedOut()
            raise
        answer = await ctx.wait_for_signal(go, timeout=3600)
        return "timed out" if isinstance(answer, TimedOut) else answer

    async with run(app) as fleet:
        told, asked = await fleet.client.start(tell), await fleet.client.start(ask)
        await happened(lambda: flaky.calls[asked.id] == 2)
        await until(fleet, asked.id, Status.SLEEPING)
        await asked.signal(go, "yes")
        assert await outcome_of(asked) == "yes"
        assert await outcome_of(told) is None
        await happened(lambda: sorted(heard) == [("bad", "1"), ("good", "2")])
        notes = [row.fields["message"] for row in await fleet.client.audit(told.id) if row.kind == "note"]
        assert notes == ["bad", "good"]


@pytest.mark.parametrize("act", [retry, skip_and_retry, edit_and_retry])
async def test_what_an_error_handler_did_is_not_asked_for_after_an_operators_retry(app: App, run: Run, act: Act):
    flaky, reported = Flaky(), list[str]()

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> int:
        try:
            return await ctx.step("pay", flaky, ctx.execution_id)
        except StepFailed:
            await ctx.step("report", reported.append, "no luck")
            await ctx.sleep(0.01)
            raise

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        assert await outcome_of(handle) == "ExecutionFailed"
        await act(fleet, handle.id)
        assert await outcome_of(handle) == 2
        assert reported == ["no luck"]
        await nothing_left(fleet)


async def test_an_edited_result_leads_another_way_past_what_was_recorded_and_waited_for(app: App, run: Run):
    """Also past an answer that the waiter was given before, and is given again."""
    called = list[str]()

    @app.workflow("seven")
    async def seven(ctx: Context) -> int:
        return 7

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        way = await ctx.step("choose", lambda: "a")
        await ctx.step(f"go {way}", called.append, way)
        answer = await ctx.wait_for_execution(seven, "seven")
        await ctx.wait_for_signal(go, id=f"wait {way}")
        return f"{way} {answer}"

    async with run(app) as fleet:
        await (await fleet.client.start(seven, id="seven")).result(timeout=20)
        handle = await fleet.client.start(flow)
        await _waits(fleet, handle.id, "wait a")
        await fleet.client.operator.edit_step(handle.id, "choose", "b", actor="ann")
        await handle.signal(go, "on")
        assert await outcome_of(handle) == "b 7"
        assert called == ["a", "b"]
        await nothing_left(fleet)


async def _waits(fleet: Fleet, id: str, wait: str) -> None:
    async with asyncio.timeout(30):
        while wait not in [one.id for one in (await fleet.client.history(id)).waits]:
            await asyncio.sleep(0.01)


async def test_time_to_give_up_counts_from_an_operators_retry(app: App, run: Run):
    flaky = Flaky()
    flaky.broken = True
    give_up_after_s = 1.5

    @app.workflow("flow", max_attempts=2, retry=Retry(initial=0.01, give_up_after=give_up_after_s))
    async def flow(ctx: Context) -> int:
        return await ctx.step("pay", flaky, ctx.execution_id)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        assert await outcome_of(handle) == "ExecutionFailed"
        execution = await handle.execution()
        while await fleet.store.now() <= execution.created_at + give_up_after_s * 1000:
            await asyncio.sleep(0.05)
        before = flaky.calls[handle.id]
        await retry(fleet, handle.id)
        assert await outcome_of(handle) == "ExecutionFailed"
        assert flaky.calls[handle.id] == before + 2


async def test_what_was_forced_to_an_end_while_it_was_cancelled_is_not_tried_again(app: App, run: Run):
    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> None:
        try:
            await ctx.wait_for_signal(go)
        finally:
            await ctx.wait_for_signal(go, id="never")

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await until(fleet, handle.id, Status.SLEEPING)
        await handle.cancel("enough")
        await _waits(fleet, handle.id, "never")
        await fleet.client.operator.force_fail(handle.id, "hangs", actor="ann")
        with pytest.raises(ExecutionFailed, match="hangs"):
            await handle.result(timeout=20)
        with pytest.raises(NotRetryable, match="while it was being cancelled: fork it, or start it again"):
            await retry(fleet, handle.id)
        await nothing_left(fleet)


async def test_what_a_compensation_returns_is_nobodys_concern(app: App, run: Run):
    undone = list[Any]()

    def told(paid: int) -> str:
        undone.append(paid)
        return f"refund of {paid}"

    def unstorable(paid: int) -> object:
        undone.append(paid)
        return object()

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> str:
        await ctx.step("a", lambda: 1).options(compensate=told)
        await ctx.step("b", lambda: 2).options(compensate=unstorable)
        await ctx.rollback()
        return "undone"

    async with run(app) as fleet:
        assert await outcome_of(await fleet.client.start(flow)) == "undone"
        assert undone == [2, 1]
