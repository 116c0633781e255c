"""Sagas and rollback on the pure core: what is undone, in which order, and what no cancel interrupts."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from runner import Cancelled, Context, Event, StepFailed
from runner.core.replay import Replay, RollbackFailed
from runner.core.rollback import rollback
from tests.core.test_replay import error, fail, returned, value
from tests.core.world import World, workflow

told = Event[str]("told")
undone: list[Any] = []


def undo(what: Any) -> None:
    undone.append(what)


def stubborn(what: Any) -> None:
    raise OSError(f"{what} is gone")


def setup_function() -> None:
    undone.clear()


async def do(ctx: Context, *ids: str) -> None:
    for id in ids:
        await ctx.step(id, value, id.upper()).options(compensate=undo)


def test_rollback_undoes_the_latest_first_with_each_steps_result_and_only_once() -> None:
    async def flow(ctx: Context) -> str:
        await do(ctx, "a", "b")
        with suppress(StepFailed):
            await ctx.step("c", fail, "no").options(compensate=undo)
        await ctx.rollback()
        await ctx.rollback()
        return "over"

    world = World(workflow(flow))
    assert returned(world.run()) == "over"
    assert undone == ["B", "A"]
    assert [entry.id for entry in world.journal] == ["a", "b", "c", "__rollback:1", "rollback:b", "rollback:a"]
    assert returned(world.replay().outcome) == "over"
    assert undone == ["B", "A"]


def test_a_saga_undoes_its_own_and_raises_on_and_a_good_end_hands_its_part_outwards() -> None:
    async def flow(ctx: Context) -> None:
        await do(ctx, "outer")
        async with ctx.saga():
            await do(ctx, "fine")
            async with ctx.saga():
                await do(ctx, "inner")
        with suppress(StepFailed):
            async with ctx.saga():
                await do(ctx, "mine")
                await ctx.step("broken", fail, "no")
        assert undone in (["MINE"], [])  # a replay undoes nothing again
        await ctx.rollback()

    world = World(workflow(flow))
    returned(world.run())
    assert undone == ["MINE", "INNER", "FINE", "OUTER"]


def test_what_branches_did_is_undone_with_the_saga_around_them() -> None:
    async def flow(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.gather(do(ctx, "a"), do(ctx, "b"))
            await ctx.map("m", lambda item: do(ctx, item), ["x", "y"])
            await ctx.step("broken", fail, "no")

    world = World(workflow(flow))
    assert isinstance(error(world.run()), StepFailed)
    assert undone == ["Y", "X", "B", "A"]
    assert [entry.id for entry in world.journal][-2:] == ["rollback:b", "rollback:a"]


def test_a_cancel_in_a_saga_undoes_and_one_during_undoing_waits_for_its_end() -> None:
    async def flow(ctx: Context) -> str:
        try:
            async with ctx.saga():
                await do(ctx, "a", "b")
                await ctx.step("broken", fail, "no")
        except StepFailed:
            with suppress(Cancelled):
                await ctx.sleep(5)
                return "not cancelled"
        return "cancelled"

    world = World(workflow(flow))
    replay = world.replay()
    while "rollback:b" not in replay.open:
        world.journal.append(world.perform(next(iter(replay.open.values()))))
        replay = world.replay()
    world.cancel()
    assert "rollback:b" in world.replay().open
    assert returned(world.run()) == "cancelled"
    assert undone == ["B", "A"]


def test_a_compensation_that_fails_for_good_ends_the_execution_and_asks_no_handler() -> None:
    async def flow(ctx: Context) -> str:
        await ctx.step("a", value, "a").options(compensate=undo)
        await ctx.step("b", value, "b").options(compensate=stubborn)
        try:
            await ctx.rollback()
        except Exception:
            undone.append("handled")
            raise
        return "over"

    outcome = World(workflow(flow)).run()
    assert isinstance(outcome, RollbackFailed) and outcome.step == "b" and "b is gone" in str(outcome.error)
    assert undone == []


def test_a_turn_that_ends_inside_a_saga_undoes_nothing() -> None:
    async def flow(ctx: Context) -> str:
        async with ctx.saga():
            await do(ctx, "a")
            await ctx.sleep(5)
        return "over"

    world = World(workflow(flow))
    for _ in range(3):
        replay = world.replay()
        world.isolation.run(replay.close)
        if replay.open:
            world.journal.append(world.perform(next(iter(replay.open.values()))))
    assert returned(world.replay().outcome) == "over" and undone == []


def test_an_operators_undoing_leaves_the_code_where_it_stands() -> None:
    async def flow(ctx: Context) -> None:
        await do(ctx, "a", "b")
        await ctx.emit(told, "before")
        await ctx.step("forward", fail, "must not run")

    world = World(workflow(flow))
    replay = world.replay()
    for _ in range(2):
        world.journal.append(world.perform(next(iter(replay.open.values()))))
        replay = world.replay()
    replay = undoing(world)
    while replay.outcome is None:
        entry = world.perform(next(iter(replay.open.values())))
        world.journal.append(entry)
        replay.record([entry])
        world.isolation.run(replay.run)
        world.settle(replay)
    assert undone == ["B", "A"]
    assert "forward" not in world.calls and len(replay.undos) == 0


def undoing(world: World) -> Replay:
    replay = world.replay()
    replay.check_left_over(undoing=True)
    world.isolation.run(lambda: replay.leave_for(rollback(replay, replay.root, ("here", 0))))
    world.isolation.run(replay.run)
    world.settle(replay)
    return replay
