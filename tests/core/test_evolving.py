"""Code that changes: patches, histories that another code recorded, runs that begin anew."""

from __future__ import annotations

from typing import Any

import pytest

from runner import Context, HistoryMismatch, Signal, UsageError
from runner.core.replay import Continued
from tests.core.test_replay import error, returned, value
from tests.core.world import World, workflow

go = Signal[str]("go")


def test_who_had_passed_the_point_keeps_the_old_way_and_all_others_take_the_new() -> None:
    patched = [False]

    async def flow(ctx: Context) -> str:
        await ctx.step("first", value, 1)
        if patched[0] and ctx.patched("v2"):
            return await ctx.step("new", value, "new")
        return await ctx.step("old", value, "old")

    old, fresh = World(workflow(flow)), World(workflow(flow))
    old.journal.append(old.perform(next(iter(old.replay().open.values()))))
    old.replay()  # on its way to step old
    patched[0] = True
    assert returned(old.run()) == "old"
    assert returned(fresh.run()) == "new"
    assert returned(fresh.replay().outcome) == "new"
    assert [entry.id for entry in fresh.journal] == ["first", "__patch:v2", "new"]


def test_a_patch_is_asked_any_number_of_times_and_answers_alike() -> None:
    async def flow(ctx: Context) -> list[bool]:
        answers = []
        for number in range(3):
            await ctx.sleep(1)
            answers.append(ctx.patched("again"))
            await ctx.step(f"s{number}", value, number)
        return answers

    world = World(workflow(flow))
    assert returned(world.run()) == [True, True, True]
    assert returned(world.replay().outcome) == [True, True, True]
    assert [entry.kind for entry in world.journal].count("patch") == 1


@pytest.mark.parametrize("change", ["removed", "renamed", "another kind"])
def test_a_history_that_the_code_does_not_ask_for_is_told_with_the_difference(change: str) -> None:
    changed = [False]

    async def flow(ctx: Context) -> Any:
        if not changed[0]:
            await ctx.step("charge", value, 1)
        elif change == "renamed":
            await ctx.step("pay", value, 1)
        elif change == "another kind":
            await ctx.sleep(1, id="charge")
        await ctx.wait_for_signal(go)

    world = World(workflow(flow))
    world.journal.append(world.perform(next(iter(world.replay().open.values()))))
    changed[0] = True
    mismatch = error(world.replay().outcome)
    assert isinstance(mismatch, HistoryMismatch) and "'charge'" in str(mismatch)
    if change == "renamed":
        assert "recorded, and not asked for: step 'charge'" in str(mismatch) and "step 'pay'" in str(mismatch)


def test_an_earlier_attempt_may_have_gone_another_way() -> None:
    broken = [True]

    async def flow(ctx: Context) -> str:
        if broken[0]:
            await ctx.step("apology", value, "sorry")
            raise ValueError
        return await ctx.step("thanks", value, "thanks")

    world = World(workflow(flow))
    error(world.run())
    world.journal.append(world.entry("__attempt:1", "attempt", "failed", b""))
    broken[0] = False
    assert returned(world.run()) == "thanks"


def test_continue_as_new_ends_the_run_with_the_next_ones_input() -> None:
    async def flow(ctx: Context, count: int) -> None:
        await ctx.step("work", value, count)
        await ctx.continue_as_new(count + 1)

    outcome = World(workflow(flow), input=1).run()
    assert outcome == Continued(b"\x02")


def test_continue_as_new_is_for_the_workflow_itself() -> None:
    async def flow(ctx: Context) -> None:
        await ctx.gather(ctx.continue_as_new(), ctx.sleep(1))

    refused = error(World(workflow(flow)).run())
    assert isinstance(refused, UsageError) and "leave the gather" in str(refused)


def test_every_run_derives_its_own() -> None:
    async def flow(ctx: Context) -> Any:
        return [str(ctx.uuid()), ctx.random()]

    one = World(workflow(flow))
    assert returned(one.run()) == returned(one.run())
    other = World(workflow(flow))
    other.seed = "x#2"
    assert returned(other.run()) != returned(one.run())
