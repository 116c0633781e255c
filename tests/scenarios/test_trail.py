"""Scenarios 56-57: the audit trail tells everything in order, once, and a note is written once whatever is replayed."""

from __future__ import annotations

import itertools
from typing import Any

from runner import App, Case, Context, Signal, Status, TimedOut
from runner.signals import Event
from tests.integration.conftest import Run
from tests.scenarios.kit import live_through_all_deaths, until

go = Signal[str]("go")
paid = Event[int]("paid")


async def test_a_life_in_all_its_lines(app: App, run: Run):
    @app.workflow("child")
    async def child(ctx: Context) -> str:
        return "child"

    async def fail() -> None:
        raise ValueError("no")

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> Any:
        await ctx.step("work", str)
        await ctx.note("noted", amount=7)
        await ctx.emit(paid, 7, id="paid")
        await ctx.switch("which", 1, [Case("one", 1, lambda: ctx.sleep(0.01, id="nap"))])
        if isinstance(await ctx.wait_for_signal(go, timeout=0.01, id="early"), TimedOut):
            await ctx.run_child("child", child)
        await ctx.wait_for_signal(go, id="late")
        await ctx.step("fail", fail)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        while not any(wait.id == "late" for wait in (await fleet.client.history(handle.id)).waits):
            pass
        await until(fleet, handle.id, Status.SLEEPING)
        await handle.signal(go, "on")
        await handle.cancel("too late?")
        while not (await handle.status()).terminal:
            pass
        lines = await fleet.client.audit(handle.id)
    told = [(line.kind, str(line.fields.get("id", line.fields.get("to", "")))) for line in lines]
    expected = [
        ("created", ""),
        ("step", "work"),
        ("emit", "paid"),
        ("switch", "which"),
        ("wait", "nap"),
        ("sleep", "nap"),
        ("wait", "early"),
        ("timeout", "early"),
        ("child", "child"),
        ("wait", "late"),
        ("signal", "late"),
    ]
    assert [one for one in told if one in expected] == expected
    kinds = {kind for kind, _ in told}
    assert {"note", "ended", "delivered", "cancel", "status"} <= kinds
    moves = [(line.fields["from"], line.fields["to"]) for line in lines if line.kind == "status"]
    assert moves[0] == ("pending", "running") and Status(moves[-1][1]).terminal
    assert all(before[1] == after[0] for before, after in itertools.pairwise(moves))
    step = next(line.fields for line in lines if line.kind == "step")
    assert step["outcome"] == "ok" and step["attempts"] == 1 and step["duration_ms"] >= 0


async def test_each_note_is_written_once_whichever_worker_dies(app: App, run: Run):
    @app.workflow("flow")
    async def flow(ctx: Context) -> list[Any]:
        await ctx.note("before", n=1)
        await ctx.step("a", str)
        await ctx.note("between", n=2)
        await ctx.sleep(0.01)
        await ctx.note("after", n=3)
        await ctx.step("b", str)
        return []

    noted: dict[str, list[Any]] = {}

    async def read(fleet, handle):
        await handle.result(timeout=40)
        lines = await fleet.client.audit(handle.id)
        noted[handle.id] = [
            (line.fields["message"], line.fields["fields"]["n"]) for line in lines if line.kind == "note"
        ]

    lives = await live_through_all_deaths(run, app, "flow", drive=read)
    assert list(noted.values()) == [[("before", 1), ("between", 2), ("after", 3)]] * len(lives)


async def test_without_a_trail_a_note_is_nothing_and_nothing_else_changes(namespace: str, run: Run):
    app = App(namespace, audit=0)

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.note("noted")
        return await ctx.step("work", str, "done")

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        assert await handle.result(timeout=20) == "done"
        assert await fleet.client.audit(handle.id) == ()
