"""Scenarios 67-71, 74 and 78: races, maps and what is the same on every replay."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from runner import App, Cancelled, Context, ExecutionFailed, Signal, Status, idempotency_key
from tests.integration.conftest import Run
from tests.scenarios.kit import Death, Deaths, happened, live_through_all_deaths, nothing_left, until

go = Signal[str]("go")


async def test_the_winner_of_a_race_is_recorded_once_and_stands_and_a_losing_signal_stays(app: App, run: Run):
    cut_off: list[str] = []

    async def long() -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cut_off.append("step")
            raise
        return "long"

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[Any]:
        async def waiting() -> str:
            try:
                return await ctx.wait_for_signal(go)
            except Cancelled:
                cut_off.append("signal")
                raise

        won = await ctx.race("first", signal=waiting(), timer=ctx.sleep(0.1), step=ctx.step("long", long))
        await ctx.sleep(0.2)
        return [*won, await ctx.wait_for_signal(go)]

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await happened(lambda: "signal" in cut_off)
        await handle.signal(go, "late")
        assert await handle.result(timeout=20) == ["timer", None, "late"]
        entries = (await fleet.client.history(handle.id)).entries
        races = [entry for entry in entries if entry.kind == "race"]
        assert len(races) == 1 and "long" not in {entry.id for entry in entries}
        assert [line.fields["winner"] for line in await fleet.client.audit(handle.id) if line.kind == "race"] == [
            "timer"
        ]
    assert "step" in cut_off


async def test_a_race_ends_as_its_first_ended_whichever_worker_dies(app: App, run: Run):
    @app.error
    class Refused(Exception):
        pass

    async def refuse() -> None:
        raise Refused("no")

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[Any]:
        seen: list[Any] = []
        try:
            await ctx.race("failing", step=ctx.step("refuse", refuse), signal=ctx.wait_for_signal(go))
        except Refused as error:
            seen.append(str(error))
        seen.append(list(await ctx.race("timer", timer=ctx.sleep(0.01), signal=ctx.wait_for_signal(go))))
        inner = ctx.race("inner", a=ctx.sleep(0.01), b=ctx.wait_for_signal(go, id="never"))
        seen.append(list(await ctx.race("outer", inner=inner, other=ctx.sleep(30))))
        return seen

    lives = await live_through_all_deaths(run, app, "flow")
    expected = ["no", ["timer", None], ["inner", ("a", None)]]
    assert [life.outcome for life in lives.values()] == [expected] * len(lives)


@pytest.mark.timeout(240)
async def test_a_map_over_a_thousand_items_survives_a_crash_in_its_middle(app: App, run: Run):
    calls: Counter[int] = Counter()
    running = most = 0

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        calls[number] += 1
        running -= 1
        return number * number

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[int]:
        return list(await ctx.map("all", lambda n: ctx.step("work", work, n), range(1_000), max_concurrency=50))

    async with run(app, lease_s=1.0) as fleet:
        deaths = Deaths(fleet.store)
        deaths.planned = {"mapped": Death(8, "after")}
        handle = await fleet.client.start(flow, id="mapped")
        assert await handle.result(timeout=60) == [number * number for number in range(1_000)]
        assert deaths.died == {"mapped"}
        ids = [entry.id for entry in (await fleet.client.history(handle.id)).entries]
        assert len(ids) == len(set(ids)) == 1_000 and "all[7]/work" in ids
    assert most <= 50
    # Only what was under way when the worker died ran again.
    assert set(calls) == set(range(1_000)) and calls.total() <= 1_050 and max(calls.values()) <= 2


async def test_now_uuid_and_random_are_what_they_were_whichever_worker_dies(app: App, run: Run):
    """Nothing that a branch drew depends on the turn it was drawn in, nor on how far other branches were."""
    drawn: dict[str, set[Any]] = {}

    async def show(id: str, what: str, value: Any) -> Any:
        drawn.setdefault(f"{id} {what}", set()).add(str(value))
        return value

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[Any]:
        async def branch(name: str) -> Any:
            await ctx.sleep(0.01)
            return await ctx.step(name, show, ctx.execution_id, name, [str(ctx.uuid()), ctx.random()])

        now = ctx.now()
        await ctx.step("now", show, ctx.execution_id, "now", now)
        first = await ctx.step("pay", show, ctx.execution_id, "pay", ctx.uuid())
        pair = await ctx.gather(branch("x"), branch("y"))
        await ctx.step("later", show, ctx.execution_id, "later", ctx.now())
        assert ctx.now() > now
        return [first, *pair]

    lives = await live_through_all_deaths(run, app, "flow")
    # Whatever ran twice got the same both times: the code waited for nothing between what it saw and the call.
    same = {key: values for key, values in drawn.items() if not key.endswith(("now", "later"))}
    assert {len(values) for values in same.values()} == {1}
    assert len({str(life.outcome) for life in lives.values()}) == len(lives)
    assert all(UUID(str(life.outcome[0])).version == 4 for life in lives.values())


async def test_a_key_drawn_before_a_step_is_one_key_whatever_dies(app: App, run: Run):
    keys: dict[str, set[tuple[str, str]]] = {}

    async def pay(id: str, key: UUID) -> str:
        keys.setdefault(id, set()).add((str(key), idempotency_key()))
        return "paid"

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        key = ctx.uuid()
        return await ctx.step("pay", pay, ctx.execution_id, key)

    lives = await live_through_all_deaths(run, app, "flow")
    assert {life.outcome for life in lives.values()} == {"paid"}
    assert {len(seen) for seen in keys.values()} == {1} and len(keys) == len(lives)


async def test_ids_that_depend_on_the_order_of_branches_are_the_same_on_every_replay(app: App, run: Run):
    async def work(name: str, nap: float) -> str:
        await asyncio.sleep(nap)
        return name

    @app.workflow("flow")
    async def flow(ctx: Context, naps: list[float]) -> list[str]:
        order: list[str] = []

        async def branch(number: int) -> None:
            order.append(await ctx.step(f"s{number}", work, str(number), naps[number]))

        await ctx.gather(*(branch(number) for number in range(len(naps))))
        await ctx.step("then " + "".join(order), str)
        await ctx.sleep(0.01)
        return order

    naps = [0.03, 0.0, 0.02, 0.01]
    lives = await live_through_all_deaths(run, app, "flow", naps)
    for life in lives.values():
        recorded = [id for id, kind, _ in life.recorded if kind == "step"]
        assert recorded[4] == "then " + "".join(life.outcome)
        assert [f"s{name}" for name in life.outcome] == recorded[:4]


async def test_a_sleep_beside_a_step_is_not_begun_again_by_a_crash(app: App, run: Run):
    begun: list[int] = []

    async def long() -> str:
        begun.append(1)
        await asyncio.sleep(0.6)
        return "done"

    @app.workflow("flow")
    async def flow(ctx: Context) -> Any:
        slept = []

        async def nap() -> None:
            await ctx.sleep(0.2, id="nap")
            slept.append(ctx.now())

        return (await ctx.gather(nap(), ctx.step("long", long)))[1]

    async with run(app, lease_s=1.0) as fleet:
        deaths = Deaths(fleet.store)
        # Commit 1 opens the sleep, commit 2 records its end while the step runs: the worker dies right after.
        deaths.planned = {"flow": Death(2, "after")}
        handle = await fleet.client.start(flow, id="flow")
        assert await handle.result(timeout=20) == "done"
        history = await fleet.client.history(handle.id)
        assert [entry.id for entry in history.entries] == ["nap", "long"]
        assert deaths.died == {"flow"} and len(begun) == 2
        # Only one sleep was opened, and its end was recorded once, when it came.
        lines = [line for line in await fleet.client.audit(handle.id) if line.kind in ("wait", "sleep")]
        assert [(line.kind, line.fields["id"]) for line in lines] == [("wait", "nap"), ("sleep", "nap")]


async def test_saga_in_map_in_race_in_child_is_cancelled_as_a_whole(app: App, run: Run):
    undone: Counter[str] = Counter()

    async def reserve(item: str) -> str:
        return item

    async def release(item: str) -> None:
        undone[item] += 1

    @app.workflow("child")
    async def child(ctx: Context) -> Any:
        async def item(name: str) -> None:
            async with ctx.saga():
                await ctx.step("reserve", reserve, name).options(compensate=release)
                await ctx.wait_for_signal(go, id="wait")

        async def all_items() -> Any:
            return await ctx.map("items", item, list("abc"), key=str)

        return await ctx.race("either", items=all_items(), timer=ctx.sleep(3600))

    @app.workflow("flow")
    async def flow(ctx: Context) -> Any:
        return await ctx.gather(ctx.run_child("child", child), ctx.wait_for_signal(go))

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await until(fleet, handle.id, Status.SLEEPING)
        async with asyncio.timeout(20):
            while not (links := await fleet.store.children(handle.id)):
                await asyncio.sleep(0.01)
            while (record := await fleet.store.record(links[0].execution_id)) is None or record.status != "sleeping":
                await asyncio.sleep(0.01)
        await handle.cancel("enough")
        await nothing_left(fleet)
        assert (await fleet.client.execution(links[0].execution_id)).status is Status.CANCELLED
    assert undone == {"a": 1, "b": 1, "c": 1}


async def test_a_branch_whose_name_cannot_be_stored_is_refused(app: App, run: Run):
    """Its entries could not be: their execution would be tried again and again, and its steps with it."""

    @app.workflow("map", max_attempts=1)
    async def mapped(ctx: Context) -> None:
        await ctx.map("all", lambda name: ctx.step("s", len, name), ["a\ud800"], key=str)

    @app.workflow("race", max_attempts=1)
    async def raced(ctx: Context) -> None:
        await ctx.race("first", **{"a\ud800": ctx.sleep(0)})

    async with run(app) as fleet:
        for name in ("map", "race"):
            with pytest.raises(ExecutionFailed, match="cannot name a branch"):
                await (await fleet.client.start(name)).result(timeout=20)
