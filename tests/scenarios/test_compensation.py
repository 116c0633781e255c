"""Scenarios 29-32 and 73: what was done is undone, once each, whoever dies and whatever cancels."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from runner import (
    App,
    Cancelled,
    CompensationFailed,
    Context,
    ExecutionCancelled,
    ExecutionFailed,
    Retry,
    Signal,
    Status,
)
from tests.integration.conftest import Run
from tests.scenarios.kit import Death, Deaths, happened, live_through_all_deaths, nothing_left, outcome_of, until

go = Signal[str]("go")


class Shop:
    """Steps that count what was done and what was undone, by execution."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.undone: list[tuple[str, str]] = []
        self.broken: set[str] = set()

    async def do(self, id: str, what: str) -> tuple[str, str]:
        self.done.append((id, what))
        if what in self.broken:
            raise ValueError(f"{what} is broken")
        return id, what

    async def undo(self, done: tuple[str, str]) -> None:
        id, what = done
        self.undone.append((id, what))
        if f"undo {what}" in self.broken:
            raise ValueError(f"{what} cannot be undone")

    def step(self, ctx: Context, what: str) -> Any:
        return ctx.step(what, self.do, ctx.execution_id, what).options(compensate=self.undo)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def undone(life) -> list[str]:
    return [
        id.removeprefix("rollback:") for id, kind, outcome in life.recorded if (kind, outcome) == ("compensation", "ok")
    ]


async def test_what_was_done_is_undone_backwards_once_each_whichever_worker_dies(app: App, run: Run, shop: Shop):
    shop.broken.add("c")

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await shop.step(ctx, "a")
        await shop.step(ctx, "b")
        try:
            await shop.step(ctx, "c")
        except Exception:
            await ctx.rollback()
            await ctx.rollback()
        return "undone"

    lives = await live_through_all_deaths(run, app, "flow")
    for life in lives.values():
        assert (life.outcome, undone(life)) == ("undone", ["b", "a"])
        again = Counter(what for id, what in shop.undone if id == life.id)
        assert set(again) == {"a", "b"} and again.total() <= 2 + life.died
    assert lives["calm"].recorded[3:] == (
        ("__rollback:1", "rollback", "ok"),
        ("rollback:b", "compensation", "ok"),
        ("rollback:a", "compensation", "ok"),
    )


async def test_a_saga_undoes_what_is_its_own_and_an_outer_one_the_rest(app: App, run: Run, shop: Shop):
    shop.broken.add("c")

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[str]:
        seen = []
        await shop.step(ctx, "a")
        try:
            async with ctx.saga():
                await shop.step(ctx, "b")
                async with ctx.saga():
                    await shop.step(ctx, "b2")
                async with ctx.saga():
                    await shop.step(ctx, "b3")
                    await shop.step(ctx, "c")
        except Exception as error:
            seen.append(type(error).__name__)
        await shop.step(ctx, "d")
        await ctx.rollback()
        return seen

    lives = await live_through_all_deaths(run, app, "flow")
    for life in lives.values():
        assert (life.outcome, undone(life)) == (["StepFailed"], ["b3", "b2", "b", "d", "a"])


async def test_branches_are_undone_in_the_order_of_the_record(app: App, run: Run, shop: Shop):
    """Of a saga in a map in a race in a child: the latest recorded is the first undone, in every branch."""

    async def slow(id: str, what: str) -> tuple[str, str]:
        await asyncio.sleep(0.05)
        return await shop.do(id, what)

    @app.workflow("child", max_attempts=1)
    async def child(ctx: Context) -> Any:
        async def item(name: str) -> None:
            async with ctx.saga():
                await ctx.step("first", slow if name == "x" else shop.do, ctx.execution_id, f"first {name}").options(
                    compensate=shop.undo
                )
                await ctx.wait_for_signal(go)

        async def mapped() -> Any:
            return await ctx.map("all", item, ["x", "y"], key=str)

        async def failing() -> None:
            await ctx.sleep(0.3)
            raise LookupError("too late")

        return await ctx.race("either", mapped=mapped(), failing=failing())

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> str:
        try:
            await ctx.run_child("child", child)
        except ExecutionFailed as failed:
            return failed.type
        return "?"

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        assert await handle.result(timeout=20) == "LookupError"
        (link,) = await fleet.store.children(handle.id)
        ids = [entry.id for entry in (await fleet.client.history(link.execution_id)).entries]
        await nothing_left(fleet)
    rolled = [id for id in ids if id.startswith("rollback:")]
    assert rolled in (
        ["rollback:all[x]/first", "rollback:all[y]/first"],
        ["rollback:all[y]/first", "rollback:all[x]/first"],
    )
    assert sorted(what for _, what in shop.undone) == ["first x", "first y"]


async def test_a_compensation_that_fails_is_an_end_of_its_own_and_everybody_hears_of_it(app: App, run: Run, shop: Shop):
    shop.broken |= {"undo b"}

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        await shop.step(ctx, "a")
        await shop.step(ctx, "b")
        try:
            await ctx.rollback()
        finally:
            await ctx.step("never", shop.do, ctx.execution_id, "never")

    @app.workflow("parent", max_attempts=1)
    async def parent(ctx: Context) -> list[Any]:
        try:
            await ctx.run_child("child", flow)
        except CompensationFailed as failed:
            return [failed.step, "b cannot be undone" in str(failed), failed.workflow]
        return []

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        with pytest.raises(CompensationFailed, match="b cannot be undone") as failed:
            await handle.result(timeout=20)
        assert failed.value.step == "b"
        execution = await handle.execution()
        assert (execution.status, execution.outstanding, execution.attempt) == (Status.COMPENSATION_FAILED, 2, 1)
        assert [one.id for one in (await fleet.client.operator.stuck()).executions] == [handle.id]
        above = await fleet.client.start(parent)
        assert await above.result(timeout=20) == ["b", True, "flow"]
        await nothing_left(fleet)
    assert "never" not in {what for _, what in shop.done}


async def test_a_compensation_keeps_to_its_own_retry_policy(app: App, run: Run):
    calls: list[int] = []

    async def do() -> int:
        return 7

    @app.step(retry=Retry(max_attempts=3, initial=0.01))
    async def undo(value: int) -> None:
        calls.append(value)
        if len(calls) < 3:
            raise ValueError("not yet")

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.step("do", do).options(compensate=undo)
        await ctx.rollback()
        return "undone"

    async with run(app) as fleet:
        assert await (await fleet.client.start(flow)).result(timeout=20) == "undone"
    assert calls == [7, 7, 7]


@pytest.mark.parametrize("how", ["failed", "timed out", "cancelled"])
async def test_an_operator_has_outstanding_compensations_run_and_nothing_else(app: App, run: Run, shop: Shop, how: str):
    """The forward steps are not entered again, what was undone is not undone again, and no further kick is needed."""
    shop.broken |= {"undo b"}

    @app.workflow("flow", timeout=1.5 if how == "timed out" else None)
    async def flow(ctx: Context) -> None:
        async with ctx.saga():
            for what in "abc":
                await shop.step(ctx, what)
            if how == "failed":
                await ctx.rollback()
            await ctx.wait_for_signal(go)
        await ctx.step("ship", shop.do, ctx.execution_id, "ship")

    async with run(app, lease_s=1.0) as fleet:
        handle = await fleet.client.start(flow)
        if how == "cancelled":
            await until(fleet, handle.id, Status.SLEEPING)
            await handle.cancel("enough")
        ended = await outcome_of(handle)
        assert ended == ("ExecutionTimedOut" if how == "timed out" else "CompensationFailed")
        forward = list(shop.done)
        assert [one.id for one in (await fleet.client.operator.stuck()).executions] == [handle.id]

        await fleet.client.operator.retry_rollback(handle.id, actor="ann")
        assert await outcome_of(handle) == "CompensationFailed"
        shop.broken.clear()
        deaths = Deaths(fleet.store)
        deaths.planned = {handle.id: Death(2, "after")}
        await fleet.client.operator.retry_rollback(handle.id, actor="bob")
        assert await outcome_of(handle) == ("ExecutionCancelled" if how == "cancelled" else "ExecutionFailed")
        assert deaths.died == {handle.id}
        execution = await handle.execution()
        assert execution.outstanding == 0
        assert (await fleet.client.operator.stuck()).executions == ()
        await nothing_left(fleet)
    tries = ["b", "b"] if how == "timed out" else ["b", "b", "b"]
    assert [what for _, what in shop.undone] == ["c", *tries, "a"]
    assert shop.done == forward


async def test_a_cancel_inside_a_saga_undoes_and_ends_cancelled(app: App, run: Run, shop: Shop):
    running = asyncio.Event()

    async def long() -> None:
        running.set()
        await asyncio.sleep(60)

    @app.workflow("waiting")
    async def waiting(ctx: Context) -> str:
        async with ctx.saga():
            await shop.step(ctx, "a")
            await ctx.wait_for_signal(go)
        return "?"

    @app.workflow("busy")
    async def busy(ctx: Context) -> str:
        async with ctx.saga():
            await shop.step(ctx, "a")
            await ctx.step("long", long)
        return "?"

    @app.workflow("stubborn")
    async def stubborn(ctx: Context) -> str:
        try:
            async with ctx.saga():
                await shop.step(ctx, "a")
                await ctx.wait_for_signal(go)
        except Cancelled:
            await ctx.step("after", shop.do, ctx.execution_id, "after")
        return "went on"

    async with run(app) as fleet:
        for name in ("waiting", "busy", "stubborn"):
            handle = await fleet.client.start(name, id=name)
            if name == "busy":
                await running.wait()
            else:
                await until(fleet, handle.id, Status.SLEEPING)
            await handle.cancel("enough")
            with pytest.raises(ExecutionCancelled, match="enough"):
                await handle.result(timeout=20)
            assert (await handle.execution()).outstanding == 0
        await nothing_left(fleet)
    assert shop.undone == [("waiting", "a"), ("busy", "a"), ("stubborn", "a")]
    assert ("stubborn", "after") in shop.done


async def test_a_cancelled_saga_is_undone_whichever_worker_dies(app: App, run: Run, shop: Shop):
    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        async with ctx.saga():
            await shop.step(ctx, "a")
            await shop.step(ctx, "b")
            await ctx.wait_for_signal(go)

    async def cancelled(fleet, handle):
        await happened(lambda: (handle.id, "b") in shop.done)
        await handle.cancel("enough")

    lives = await live_through_all_deaths(run, app, "flow", drive=cancelled)
    for life in lives.values():
        assert (life.outcome, life.status) == ("ExecutionCancelled", Status.CANCELLED)
        # What a dead worker did not record of "b" is not known to have been done.
        assert undone(life) in (["b", "a"], ["a"], [])
        again = Counter(what for id, what in shop.undone if id == life.id)
        assert again.total() <= 2 + life.died


async def test_a_cancel_does_not_interrupt_undoing(app: App, run: Run):
    undoing, go_on = asyncio.Event(), asyncio.Event()
    calls: list[str] = []

    async def do(what: str) -> str:
        return what

    async def undo(what: str) -> None:
        calls.append(what)
        undoing.set()
        await go_on.wait()

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        await ctx.step("a", do, "a").options(compensate=undo)
        await ctx.step("b", do, "b").options(compensate=undo)
        await ctx.rollback()
        await ctx.step("after", calls.append, "after")

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await undoing.wait()
        await handle.cancel()
        go_on.set()
        with pytest.raises(ExecutionCancelled):
            await handle.result(timeout=20)
        kinds = [(entry.kind, entry.outcome) for entry in (await fleet.client.history(handle.id)).entries]
    assert calls == ["b", "a"]
    assert kinds.count(("compensation", "ok")) == 2


async def test_a_failed_branch_has_its_siblings_cancelled_and_undone(app: App, run: Run, shop: Shop):
    """The first failure on record is raised, live and replayed, after the others were driven to their end."""
    seen: dict[str, list[str]] = {}

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> str:
        async def waiting() -> None:
            try:
                async with ctx.saga():
                    await shop.step(ctx, "a")
                    await ctx.wait_for_signal(go)
            except Cancelled:
                seen.setdefault(ctx.execution_id, []).append("cancelled")
                raise

        async def failing() -> None:
            await ctx.sleep(0.1)
            raise LookupError("first")

        async def failing_too() -> None:
            try:
                await ctx.wait_for_signal(go)
            except Cancelled:
                raise ValueError("second") from None

        try:
            await ctx.gather(waiting(), failing(), failing_too())
        except Exception as error:
            raised = f"{type(error).__name__}: {error}"
        await ctx.sleep(0.01)
        return raised

    lives = await live_through_all_deaths(run, app, "flow")
    for life in lives.values():
        # Where a worker died first, "a" may have been cancelled before it was done.
        done = ("a", "step", "ok") in life.recorded
        assert (life.outcome, undone(life)) == ("LookupError: first", ["a"] if done else [])
        assert "cancelled" in seen[life.id]
    assert undone(lives["calm"]) == ["a"]


async def test_an_execution_that_undid_something_is_not_attempted_again(app: App, run: Run, shop: Shop):
    attempts: list[int] = []

    @app.workflow("flow", max_attempts=3, retry=Retry(initial=0.01))
    async def flow(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        async with ctx.saga():
            await shop.step(ctx, "a")
            raise LookupError("no")

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        with pytest.raises(ExecutionFailed, match="no"):
            await handle.result(timeout=20)
        assert (await handle.execution()).attempt == 1
    assert set(attempts) == {1}
    assert [what for _, what in shop.undone] == ["a"]
