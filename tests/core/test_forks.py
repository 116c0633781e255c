"""Forks and decisions on the pure core: map, race, switch."""

from __future__ import annotations

from typing import Any

import pytest

from runner import Cancelled, Case, Context, NoBranchMatched, Signal, StepFailed, UsageError
from runner.core.commands import Opened
from runner.core.replay import Raised
from tests.core.test_replay import error, fail, returned, value
from tests.core.world import World, workflow

go = Signal[str]("go")


def last(opened: list[Opened]) -> Opened:
    return opened[-1]


def test_map_gives_results_in_the_order_of_the_items_whatever_ends_first() -> None:
    async def flow(ctx: Context) -> Any:
        return await ctx.map("m", lambda item: ctx.step("double", value, item * 2), [3, 1, 2])

    world = World(workflow(flow))
    assert returned(world.run(choose=last)) == (6, 2, 4)
    assert world.calls == ["m[2]/double", "m[1]/double", "m[0]/double"]
    assert returned(world.replay().outcome) == (6, 2, 4)


def test_map_runs_no_more_than_it_may_and_starts_the_next_when_one_ends() -> None:
    async def flow(ctx: Context) -> Any:
        return await ctx.map("m", lambda item: ctx.step("s", value, item), range(5), max_concurrency=2)

    world = World(workflow(flow))
    assert returned(world.run(choose=last)) == (0, 1, 2, 3, 4)
    assert max(map(len, world.asked.values())) == 2
    assert world.asked[1] == ["m[0]/s", "m[2]/s"]


def test_the_key_of_an_item_keeps_its_record_when_items_change_places() -> None:
    items = ["a", "b", "c"]

    async def flow(ctx: Context) -> Any:
        return await ctx.map("m", lambda item: ctx.step("s", value, item), items, key=lambda item: item)

    world = World(workflow(flow))
    returned(world.run())
    items.reverse()
    assert returned(world.replay().outcome) == ("c", "b", "a")


def test_map_refuses_keys_that_come_twice_and_functions_that_make_no_branch() -> None:
    async def twice(ctx: Context) -> Any:
        return await ctx.map("m", lambda item: ctx.step("s", value, item), ["a", "a"], key=str)

    async def no_branch(ctx: Context) -> Any:
        return await ctx.map("m", value, ["a"])

    assert "key 'a' comes twice" in str(error(World(workflow(twice)).run()))
    refused = error(World(workflow(no_branch)).run())
    assert isinstance(refused, UsageError) and "ctx.map('m') takes ctx calls and coroutines of them, not str" in str(
        refused
    )


def test_a_failure_in_map_cancels_what_runs_and_starts_no_more() -> None:
    async def one(ctx: Context, item: int) -> int:
        try:
            return await ctx.step("s", fail if item == 0 else value, "broken" if item == 0 else item)
        except Cancelled:
            seen.append(item)
            raise

    async def flow(ctx: Context) -> Any:
        return await ctx.map("m", lambda item: one(ctx, item), range(5), max_concurrency=2)

    seen: list[int] = []
    world = World(workflow(flow))
    assert isinstance(error(world.run()), StepFailed)
    assert world.calls == ["m[0]/s"] and seen == [1]


def test_a_race_is_won_once_and_its_losers_are_cancelled() -> None:
    undone: list[str] = []

    async def slow(ctx: Context) -> str:
        try:
            return await ctx.wait_for_signal(go)
        except Cancelled:
            undone.append("slow")
            raise

    async def flow(ctx: Context) -> Any:
        return await ctx.race("first", signal=slow(ctx), nap=ctx.sleep(5), work=ctx.step("s", value, "done"))

    world = World(workflow(flow))
    assert returned(world.run(choose=last)) == ("work", "done")
    assert [(entry.id, entry.kind) for entry in world.journal] == [("s", "step"), ("first", "race")]
    assert undone == ["slow"]
    assert returned(world.replay().outcome) == ("work", "done")


def test_a_race_whose_first_branch_fails_raises_its_error_and_records_who_it_was() -> None:
    async def flow(ctx: Context) -> Any:
        return await ctx.race("first", bad=ctx.step("bad", fail, "no"), nap=ctx.sleep(5))

    world = World(workflow(flow))
    assert isinstance(error(world.run()), StepFailed)
    assert isinstance(error(world.replay().outcome), StepFailed)
    assert [entry.kind for entry in world.journal] == ["step", "race"]


def test_code_in_which_another_branch_wins_is_not_the_code_that_recorded_the_race() -> None:
    order = ["a", "b"]

    async def flow(ctx: Context) -> Any:
        return await ctx.race("first", **{name: ctx.step(order[0], value, name) for name in [order[0]]})

    world = World(workflow(flow))
    returned(world.run())
    (step, race) = world.journal
    order[0] = "b"
    world.journal = [step, race]
    outcome = world.replay().outcome
    assert isinstance(outcome, Raised) or outcome is None


def test_a_switch_decides_once_and_its_matchers_are_not_asked_again() -> None:
    asked: list[str] = []
    amount = [50]

    def matches(name: str, limit: int) -> Any:
        def match(value: int) -> bool:
            asked.append(name)
            return value >= limit

        return match

    async def flow(ctx: Context) -> str:
        await ctx.sleep(1)
        return await ctx.switch(
            "size",
            amount[0],
            [
                Case("large", matches("large", 100), lambda: ctx.step("l", value, "l")),
                Case("medium", matches("medium", 10), lambda v: ctx.step("m", value, f"m{v}")),
                Case("small", matches("small", 0), lambda: ctx.step("s", value, "s")),
            ],
        )

    world = World(workflow(flow))
    assert returned(world.run()) == "m50"
    assert asked == ["large", "medium"]
    amount[0] = 500
    assert returned(world.replay().outcome) == "m50"
    assert asked == ["large", "medium"]


def test_a_switch_takes_plain_values_and_a_default_by_name_or_by_case() -> None:
    async def flow(ctx: Context, color: str) -> Any:
        cases = [Case("r", "red", lambda: ctx.step("r", value, 1)), Case("g", "green", lambda: ctx.step("g", value, 2))]
        return [
            await ctx.switch("a", color, cases, default=lambda v: ctx.step("d", value, v)),
            await ctx.switch("b", "blue", [], default=Case("other", None, lambda: ctx.step("o", value, 4))),
        ]

    world = World(workflow(flow), input="pink")
    assert returned(world.run()) == ["pink", 4]
    assert [entry.payload for entry in world.journal if entry.kind == "switch"] != []
    assert returned(World(workflow(flow), input="green").run())[0] == 2


def test_no_match_and_no_default_is_an_error_that_stands_though_the_value_changes() -> None:
    color = ["pink"]

    async def flow(ctx: Context) -> Any:
        await ctx.switch("a", color[0], [Case("r", "red", lambda: ctx.sleep(1))])

    world = World(workflow(flow))
    refused = error(world.run())
    assert isinstance(refused, NoBranchMatched) and "switch 'a'" in str(refused) and "'pink'" in str(refused)
    color[0] = "red"
    assert isinstance(error(world.replay().outcome), NoBranchMatched)


def test_a_decision_the_code_no_longer_knows_is_another_codes_history() -> None:
    cases = ["old"]

    async def flow(ctx: Context) -> Any:
        return await ctx.switch("a", 1, [Case(name, 1, lambda: ctx.sleep(5)) for name in cases])

    world = World(workflow(flow))
    world.replay()
    cases[0] = "new"
    assert "switch 'a' is recorded as 'old'" in str(error(world.replay().outcome))


def test_a_matcher_may_not_ask_the_context() -> None:
    async def flow(ctx: Context) -> Any:
        return await ctx.switch("a", 1, [Case("c", lambda _: ctx.random() > 2, lambda: ctx.sleep(5))])

    assert "outside workflow code" in str(error(World(workflow(flow)).run()))


@pytest.mark.parametrize("make", ["map", "race", "gather"])
def test_a_cancel_goes_through_every_kind_of_fork(make: str) -> None:
    seen: list[str] = []

    async def branch(ctx: Context, name: str) -> None:
        try:
            await ctx.sleep(60, id=name)
        except Cancelled:
            seen.append(name)
            raise

    async def flow(ctx: Context) -> Any:
        match make:
            case "map":
                await ctx.map("f", lambda name: branch(ctx, name), ["a", "b", "c"], max_concurrency=2)
            case "race":
                await ctx.race("f", a=branch(ctx, "a"), b=branch(ctx, "b"))
            case _:
                await ctx.gather(branch(ctx, "a"), branch(ctx, "b"))

    world = World(workflow(flow))
    world.replay()
    world.cancel()
    outcome = world.replay().outcome
    assert isinstance(error(outcome), Cancelled)
    assert seen == ["a", "b"]
