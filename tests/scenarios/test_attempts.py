"""Scenario 4 and what follows from it: attempts of the whole execution, by itself and by an operator's hand."""

from __future__ import annotations

from collections import Counter

import pytest

from runner import App, Context, ExecutionFailed, JournalTooLarge, Retry, Signal, Status
from tests.integration.conftest import Run
from tests.scenarios.kit import happened, nothing_left, outcome_of, until

go = Signal[str]("go")
SOON = Retry(initial=0.01)


class Steps:
    """Steps that fail for as long as they are broken."""

    def __init__(self, *broken: str) -> None:
        self.calls: Counter[str] = Counter()
        self.broken = set(broken)

    async def do(self, what: str) -> str:
        self.calls[what] += 1
        if what in self.broken:
            raise ValueError(f"{what} is broken")
        return what


async def test_an_operators_retry_has_all_attempts_again(app: App, run: Run):
    """Attempts are counted anew, and what marks their ends in the journal does not collide with the marks of before."""
    steps = Steps("pay")

    @app.workflow("flow", max_attempts=2, retry=SOON)
    async def flow(ctx: Context) -> str:
        await ctx.step("reserve", steps.do, "reserve")
        return await ctx.step("pay", steps.do, "pay")

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        for times in (2, 4, 6):
            with pytest.raises(ExecutionFailed, match="pay is broken") as failed:
                await handle.result(timeout=20)
            assert (failed.value.attempt, failed.value.step) == (2, "pay")
            assert steps.calls == {"reserve": 1, "pay": times}
            await fleet.client.operator.retry(handle.id, actor="ann")
            if times == 4:
                steps.broken.clear()
                break
        assert await handle.result(timeout=20) == "pay"
        marks = [
            entry.id
            for entry in (await fleet.client.history(handle.id)).entries
            if entry.kind == "attempt" and entry.outcome == "failed"
        ]
        assert len(marks) == len(set(marks)) == 2
        await nothing_left(fleet)


async def test_an_operators_retry_starts_another_child_for_the_one_that_failed(app: App, run: Run):
    steps = Steps("pay")

    @app.workflow("child", max_attempts=1)
    async def child(ctx: Context) -> str:
        return await ctx.step("pay", steps.do, "pay")

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> str:
        kept = await ctx.start_child("kept", child_that_waits)
        await ctx.run_child("paying", child)
        return await kept.result()

    @app.workflow("waits")
    async def child_that_waits(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        assert await outcome_of(handle) == "ExecutionFailed"
        steps.broken.clear()
        before = {link.execution_id for link in await fleet.store.children(handle.id)}
        await fleet.client.operator.retry(handle.id, actor="ann")
        # The other child was cancelled with its parent, and this is what its parent is told.
        assert await outcome_of(handle) == "ExecutionFailed"
        after = {link.execution_id for link in await fleet.store.children(handle.id)}
        assert len(after - before) == 1
        await nothing_left(fleet)
    assert steps.calls == {"pay": 2}


async def test_a_caught_failure_stays_as_it_was_over_attempts(app: App, run: Run):
    steps = Steps("mail", "pay")

    @app.workflow("flow", max_attempts=3, retry=SOON)
    async def flow(ctx: Context) -> list[str]:
        told = []
        try:
            await ctx.step("mail", steps.do, "mail")
        except Exception as error:
            told.append(str(error))
        steps.broken.discard("mail")
        if ctx.attempt == 3:
            steps.broken.clear()
        return [*told, await ctx.step("pay", steps.do, "pay")]

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        (told, paid) = await handle.result(timeout=20)
        assert "mail is broken" in told and paid == "pay"
        assert (await handle.execution()).attempt == 3
    assert steps.calls == {"mail": 1, "pay": 3}


async def test_a_gather_that_failed_is_attempted_again_with_what_its_branches_had_done(app: App, run: Run):
    steps = Steps("b")

    @app.workflow("flow", max_attempts=2, retry=SOON)
    async def flow(ctx: Context) -> tuple[str, ...]:
        async def waiting() -> str:
            await ctx.step("c", steps.do, "c")
            return await ctx.wait_for_signal(go)

        async def failing() -> str:
            await ctx.sleep(0.05)
            if ctx.attempt == 2:
                steps.broken.clear()
            return await ctx.step("b", steps.do, "b")

        return await ctx.gather(ctx.step("a", steps.do, "a"), failing(), waiting())

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await happened(lambda: steps.calls["b"] == 2)
        await handle.signal(go, "on")
        assert await handle.result(timeout=20) == ("a", "b", "on")
        await nothing_left(fleet)
    assert steps.calls == {"a": 1, "b": 2, "c": 1}


async def test_attempts_end_when_another_would_begin_too_late_but_each_run_has_its_own_time(app: App, run: Run):
    steps = Steps("pay")

    @app.workflow("late", max_attempts=50, retry=Retry(initial=0.3, multiplier=1, jitter=0, give_up_after=0.2))
    async def late(ctx: Context) -> None:
        await ctx.step("pay", steps.do, "pay")

    @app.workflow("loop", max_attempts=50, retry=Retry(initial=0.01, multiplier=1, jitter=0, give_up_after=0.6))
    async def loop(ctx: Context, round: int) -> str:
        if round == 1:
            await ctx.sleep(0.7)  # longer than this run may go on being tried again
            await ctx.continue_as_new(2)
        if ctx.attempt == 2:
            steps.broken.clear()
        return await ctx.step("pay", steps.do, "pay")

    async with run(app) as fleet:
        assert await outcome_of(await fleet.client.start(late)) == "ExecutionFailed"
        assert steps.calls == {"pay": 1}
        handle = await fleet.client.start(loop, 1)
        assert await handle.result(timeout=20) == "pay"
        assert (await handle.execution()).attempt == 2


async def test_a_run_that_is_full_may_still_go_on_as_a_new_one(app: App, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("runner.workers.journal.MAX_ENTRIES", 20)

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context, round: int) -> int:
        for number in range(21 if round < 3 else 2):
            await ctx.note(f"line {number}")
        if round < 3:
            await ctx.continue_as_new(round + 1)
        return round

    async with run(app) as fleet:
        assert await (await fleet.client.start(flow, 1)).result(timeout=20) == 3


async def test_a_cancel_ends_the_pause_before_another_attempt(app: App, run: Run):
    steps = Steps("pay")

    @app.workflow("flow", max_attempts=5, retry=Retry(initial=3600))
    async def flow(ctx: Context) -> None:
        await ctx.step("pay", steps.do, "pay")

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await until(fleet, handle.id, Status.RETRYING)
        await handle.cancel()
        assert await outcome_of(handle) == "ExecutionCancelled"
        await nothing_left(fleet)


async def test_too_full_is_still_the_end_of_a_run_that_only_goes_on(
    app: App, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("runner.workers.journal.MAX_ENTRIES", 20)

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        while True:
            await ctx.note("another line")

    async with run(app) as fleet:
        with pytest.raises(ExecutionFailed, match="entries") as failed:
            await (await fleet.client.start(flow)).result(timeout=20)
        assert failed.value.type.endswith(JournalTooLarge.__name__)


async def test_an_error_that_is_not_to_be_tried_again_is_known_through_its_step(app: App, run: Run):
    steps = Steps("pay")

    @app.workflow("flow", max_attempts=3, retry=Retry(initial=0.01, non_retryable=(ValueError,)))
    async def flow(ctx: Context) -> None:
        await ctx.step("pay", steps.do, "pay")

    async with run(app) as fleet:
        with pytest.raises(ExecutionFailed, match="pay is broken"):
            await (await fleet.client.start(flow)).result(timeout=20)
    assert steps.calls == {"pay": 1}
