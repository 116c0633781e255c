"""Scenarios 26-28: a switch decides once, and its decision stands."""

from __future__ import annotations

from collections import Counter

from runner import App, Case, Context, NoBranchMatched, Signal, Status
from tests.integration.conftest import Run
from tests.scenarios.kit import live_through_all_deaths, until

go = Signal[str]("go")


async def test_the_first_match_wins_and_a_replay_runs_neither_matchers_nor_a_finished_branch(app: App, run: Run):
    asked: Counter[str] = Counter()
    calls: Counter[str] = Counter()

    def matches(name: str, answer: bool):
        def match(_: int) -> bool:
            asked[name] += 1
            return answer

        return match

    def call(name: str) -> str:
        calls[name] += 1
        return name

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[str]:
        cases = [
            Case(name, matches(name, name != "no"), lambda name=name: ctx.step(name, call, name))
            for name in ("no", "yes", "also")
        ]
        chosen = await ctx.switch("which", 7, cases)
        return [chosen, await ctx.wait_for_signal(go)]

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await until(fleet, handle.id, Status.SLEEPING)
        await handle.signal(go, "on")
        assert await handle.result(timeout=20) == ["yes", "on"]
    assert asked == {"no": 1, "yes": 1}
    assert calls == {"yes": 1}


async def test_a_branch_that_suspends_goes_on_though_the_value_is_another_by_then(app: App, run: Run):
    worth = [1]

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        cases = [
            Case("one", 1, lambda: ctx.wait_for_signal(go, id="one")),
            Case("two", 2, lambda: ctx.wait_for_signal(go, id="two")),
        ]
        return await ctx.switch("which", worth[0], cases)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await until(fleet, handle.id, Status.SLEEPING)
        worth[0] = 2
        await handle.signal(go, "on")
        assert await handle.result(timeout=20) == "on"
        recorded = [entry.id for entry in (await fleet.client.history(handle.id)).entries]
    assert recorded == ["which", "one"]


async def test_no_match_is_an_error_or_the_default_whose_id_is_in_the_audit_trail(app: App, run: Run):
    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> list[str]:
        seen = []
        try:
            await ctx.switch("strict", "x", [Case("a", "a", lambda: ctx.note("a"))])
        except NoBranchMatched as error:
            seen.append(str(error))
        seen.append(await ctx.switch("lax", "x", [Case("a", "a", said)], default=Case("else", None, said)))
        seen.append(await ctx.switch("plain", "x", [Case("a", "a", said)], default=said))
        return seen

    async def said(value: str) -> str:
        return f"said {value}"

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        error, *rest = await handle.result(timeout=20)
        assert "'strict'" in error and "'x'" in error and rest == ["said x", "said x"]
        decided = [line.fields for line in await fleet.client.audit(handle.id) if line.kind == "switch"]
    assert [(one["id"], one["case"]) for one in decided] == [("strict", None), ("lax", "else"), ("plain", "default")]


async def test_a_case_that_registers_what_undoes_it_is_undone_whichever_worker_dies(app: App, run: Run):
    """Waits, events and compensations inside a branch keep their names and are not lost on a replay."""
    done: Counter[str] = Counter()

    async def work(id: str, name: str) -> str:
        done[f"{id} {name}"] += 1
        return name

    async def undo(name: str) -> None:
        undone.append(name)

    undone: list[str] = []

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> str:
        async def branch() -> str:
            await ctx.step("in", work, ctx.execution_id, "in").options(compensate=undo)
            await ctx.sleep(0.01)
            return await ctx.wait_for_signal(go)

        await ctx.step("before", work, ctx.execution_id, "before").options(compensate=undo)
        said = await ctx.switch("which", 1, [Case("one", 1, branch)])
        await ctx.sleep(0.01)
        await ctx.rollback()
        return said

    async def signalled(fleet, handle):
        await handle.signal(go, "on")

    lives = await live_through_all_deaths(run, app, "flow", drive=signalled)
    assert {life.outcome for life in lives.values()} == {"on"}
    assert {life.recorded for life in lives.values()} == {lives["calm"].recorded}
    assert [id for id, kind, _ in lives["calm"].recorded if kind == "compensation"] == [
        "rollback:in",
        "rollback:before",
    ]
    assert max(done.values()) <= 2
    assert Counter(undone)["in"] <= 2 * len(lives)
