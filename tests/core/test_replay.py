"""The replay: what it asks for, what it hands over, and what it refuses."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner import (
    Cancelled,
    Context,
    DuplicateId,
    ForeignAwait,
    HistoryMismatch,
    MisplacedCall,
    ReservedId,
    Signal,
    StepFailed,
    TimedOut,
    UnawaitedCall,
    UndeclaredSignal,
    UsageError,
)
from runner.core.replay import Raised, Returned
from tests.core.world import STARTED, World, workflow

go = Signal[str]("go")


def value(item: Any) -> Any:
    return item


def fail(text: str) -> Any:
    raise ValueError(text)


def returned(outcome: Any) -> Any:
    assert isinstance(outcome, Returned), outcome
    return outcome.value


def error(outcome: Any) -> BaseException:
    assert isinstance(outcome, Raised), outcome
    return outcome.error


def test_a_recorded_step_is_not_run_again() -> None:
    async def flow(ctx: Context) -> list[int]:
        a = await ctx.step("a", value, 1)
        await ctx.sleep(3600)
        return [a, await ctx.step("b", value, 2)]

    world = World(workflow(flow))
    assert returned(world.run()) == [1, 2]
    assert returned(world.replay().outcome) == [1, 2]
    assert world.calls == ["a", "b"]


@pytest.mark.parametrize("result", [None, False, [], {}, 0, "", b""])
def test_falsy_results_come_back_as_they_were(result: Any) -> None:
    async def flow(ctx: Context) -> Any:
        return await ctx.step("a", value, result)

    world = World(workflow(flow))
    world.run()
    again = returned(world.replay().outcome)
    assert again == result and type(again) is type(result)
    assert world.calls == ["a"]


def test_a_failed_step_raises_the_same_live_and_replayed() -> None:
    async def flow(ctx: Context) -> str:
        try:
            await ctx.step("pay", fail, "declined")
        except StepFailed as failed:
            return f"{failed.step} {failed.type} {failed.message} {failed.attempts} {failed.matches(ValueError)}"
        return "not reached"

    world = World(workflow(flow))
    live = returned(world.run())
    assert live == "pay ValueError declined 1 True"
    assert returned(world.replay().outcome) == live


def test_unnamed_waits_are_counted_by_branch() -> None:
    async def two(ctx: Context) -> None:
        await ctx.sleep(1)
        await ctx.sleep(2)

    async def flow(ctx: Context) -> None:
        await ctx.gather(two(ctx), two(ctx))
        await ctx.sleep(3)

    world = World(workflow(flow))
    world.run()
    assert sorted(entry.id for entry in world.journal) == [
        "__g1.0/sleep:1",
        "__g1.0/sleep:2",
        "__g1.1/sleep:1",
        "__g1.1/sleep:2",
        "__sleep:1",
    ]


def test_gather_gives_results_in_the_order_of_its_branches() -> None:
    async def flow(ctx: Context) -> Any:
        return await ctx.gather(ctx.step("a", value, 1), ctx.step("b", value, 2), ctx.step("c", value, 3))

    assert returned(World(workflow(flow)).run(choose=lambda opened: opened[-1])) == (1, 2, 3)


def test_gather_raises_the_failure_that_was_recorded_first_and_cancels_the_rest() -> None:
    seen: list[str] = []

    async def waits(ctx: Context) -> None:
        try:
            await ctx.wait_for_signal(go)
        except Cancelled:
            await ctx.step("undo", value, 1)
            seen.append("undone")
            raise

    async def flow(ctx: Context) -> str:
        try:
            await ctx.gather(waits(ctx), ctx.step("bad", fail, "x"))
        except StepFailed as failed:
            return failed.step
        return "not reached"

    world = World(workflow(flow))
    assert returned(world.run()) == "bad"
    assert world.calls == ["bad", "undo"]
    assert seen == ["undone"]


def test_gather_can_return_exceptions() -> None:
    async def flow(ctx: Context) -> Any:
        a, b = await ctx.gather(ctx.step("a", fail, "x"), ctx.step("b", value, 2), return_exceptions=True)
        return [type(a).__name__, b]

    assert returned(World(workflow(flow)).run()) == ["StepFailed", 2]


def test_thousands_of_finished_gathers_do_not_recurse() -> None:
    async def nothing() -> None: ...

    async def flow(ctx: Context) -> int:
        for _ in range(3000):
            await ctx.gather(nothing(), nothing())
        await ctx.gather()
        return 1

    assert returned(World(workflow(flow)).run()) == 1


def test_thousands_of_caught_failures_do_not_recurse() -> None:
    async def flow(ctx: Context) -> int:
        caught = 0
        for number in range(3000):
            with suppress(StepFailed):
                await ctx.step(f"s{number}", fail, "x")
            caught += 1
        return caught

    world = World(workflow(flow))
    assert returned(world.run()) == 3000
    assert returned(world.replay().outcome) == 3000


def test_signal_payload_or_timeout() -> None:
    async def flow(ctx: Context) -> list[str]:
        heard: list[str] = []
        for _ in range(2):
            match await ctx.wait_for_signal(go, timeout=10):
                case TimedOut():
                    heard.append("nothing")
                case str(text):
                    heard.append(text)
        return heard

    assert returned(World(workflow(flow), signals={"go": ["hello"]}).run()) == ["hello", "nothing"]


def test_undeclared_signal_is_refused_in_the_workflow() -> None:
    async def flow(ctx: Context) -> None:
        await ctx.wait_for_signal(go)

    failed = error(World(workflow(flow, signals=[Signal("other")])).replay().outcome)
    assert isinstance(failed, UndeclaredSignal) and "'go'" in str(failed)


@pytest.mark.parametrize("bad", ["__x", "rollback:a"])
def test_reserved_ids_are_refused_before_the_body_runs(bad: str) -> None:
    async def flow(ctx: Context) -> None:
        with suppress(Exception):
            await ctx.step(bad, value, 1)

    world = World(workflow(flow))
    failed = error(world.replay().outcome)
    assert isinstance(failed, ReservedId) and bad in str(failed)
    assert world.calls == []


def test_a_duplicate_id_names_both_places_and_cannot_be_caught() -> None:
    async def flow(ctx: Context) -> None:
        await ctx.step("a", value, 1)
        with suppress(Exception):
            await ctx.step("a", value, 2)

    world = World(workflow(flow))
    failed = error(world.run())
    assert isinstance(failed, DuplicateId) and "'a'" in str(failed)
    assert str(failed).count("test_replay.py:") == 2
    assert world.calls == ["a"]


def test_an_entry_of_another_kind_is_a_mismatch() -> None:
    async def flow(ctx: Context) -> None:
        await ctx.sleep(1, id="x")

    world = World(workflow(flow))
    world.journal.append(world.entry("x", "step", "ok", b"\xc0"))
    failed = error(world.replay().outcome)
    assert isinstance(failed, HistoryMismatch) and "'x'" in str(failed)


async def foreign_sleep(ctx: Context) -> None:
    await asyncio.sleep(1)


async def foreign_timeout(ctx: Context) -> None:
    async with asyncio.timeout(1):
        await ctx.sleep(1)


async def foreign_gather(ctx: Context) -> None:
    await asyncio.gather(*[])


async def foreign_sleep_zero(ctx: Context) -> None:
    with suppress(Exception):
        await asyncio.sleep(0)


@pytest.mark.parametrize("flow", [foreign_sleep, foreign_timeout, foreign_gather, foreign_sleep_zero])
async def test_foreign_awaits_fail_with_place_and_cure(flow: Any) -> None:
    failed = error(World(workflow(flow)).replay().outcome)
    assert isinstance(failed, ForeignAwait)
    assert f"test_replay.py:{flow.__code__.co_firstlineno + 1}" in str(failed) or "test_replay.py" in str(failed)
    assert "ctx.step" in str(failed)


async def test_create_task_cannot_reach_the_loop() -> None:
    ran: list[int] = []

    async def stray() -> None:
        ran.append(1)

    async def flow(ctx: Context) -> None:
        coroutine = stray()
        try:
            asyncio.create_task(coroutine)  # noqa: RUF006
        finally:
            coroutine.close()

    failed = error(World(workflow(flow)).replay().outcome)
    assert isinstance(failed, ForeignAwait) and "test_replay.py" in str(failed)
    await asyncio.sleep(0)
    assert ran == []


def test_a_call_that_is_thrown_away_fails_naming_the_line() -> None:
    async def flow(ctx: Context) -> str:
        ctx.step("lost", value, 1)
        await ctx.sleep(1)
        return "done"

    failed = error(World(workflow(flow)).replay().outcome)
    assert isinstance(failed, UnawaitedCall)
    assert "lost" in str(failed) and f":{flow.__code__.co_firstlineno + 1}" in str(failed)


def test_a_call_may_be_built_now_and_awaited_later() -> None:
    async def flow(ctx: Context) -> Any:
        call = ctx.step("a", value, 1)
        await ctx.sleep(1)
        return await call

    world = World(workflow(flow))
    assert returned(world.run()) == 1


def test_a_call_still_held_at_the_end_fails() -> None:
    held: list[Any] = []

    async def flow(ctx: Context) -> str:
        held.append(ctx.sleep(1))
        return "done"

    assert isinstance(error(World(workflow(flow)).replay().outcome), UnawaitedCall)


def test_ctx_outside_workflow_code_is_refused() -> None:
    held: list[Context] = []

    async def flow(ctx: Context) -> None:
        held.append(ctx)
        await ctx.sleep(1)

    world = World(workflow(flow))
    replay = world.replay()
    for call in (lambda: held[0].sleep(1), held[0].now, lambda: held[0].step("a", value, 1)):
        with pytest.raises(MisplacedCall):
            call()
    replay.close()


def test_now_uuid_and_random_are_the_same_on_replay() -> None:
    async def flow(ctx: Context) -> list[Any]:
        begun = ctx.now()
        await ctx.sleep(1)
        return [begun, ctx.now(), ctx.uuid(), ctx.uuid(), ctx.random(), ctx.random()]

    world = World(workflow(flow))
    live = returned(world.run())
    assert live[0] == datetime.fromtimestamp(STARTED / 1000, UTC)
    assert live[1] - live[0] == timedelta(seconds=1)
    assert live[2] != live[3] and 0 <= live[4] < 1 and live[4] != live[5]
    assert returned(world.replay().outcome) == live


def test_cancel_is_raised_once_in_every_open_await() -> None:
    seen: list[str] = []

    async def one(ctx: Context, name: str) -> None:
        try:
            await ctx.sleep(100)
        except Cancelled as cancelled:
            seen.append(f"{name} {cancelled}")
            await ctx.step(f"undo {name}", value, 1)

    async def flow(ctx: Context) -> str:
        await ctx.gather(one(ctx, "a"), one(ctx, "b"))
        return "went on"

    world = World(workflow(flow))
    world.replay().close()
    world.cancel("enough")
    assert returned(world.run()) == "went on"
    assert seen[:2] == ["a enough", "b enough"]
    assert world.calls == ["undo a", "undo b"]


def test_a_cancel_reaches_the_innermost_of_a_thousand_gathers() -> None:
    """And their ends, each of which ends the gather around it, reach the outermost: nothing here recurses."""
    heard: list[str] = []

    async def nested(ctx: Context, depth: int) -> None:
        if depth:
            await ctx.gather(nested(ctx, depth - 1))
            return
        try:
            await ctx.sleep(100)
        except Cancelled as cancelled:
            heard.append(str(cancelled))

    async def flow(ctx: Context) -> str:
        await nested(ctx, 1100)
        return "went on"

    world = World(workflow(flow))
    world.replay().close()
    world.cancel("enough")
    assert returned(world.run()) == "went on"
    assert heard == ["enough"]


@pytest.mark.parametrize("caught", [Exception, BaseException])
def test_nothing_a_handler_does_while_closing_counts(caught: type[BaseException]) -> None:
    async def flow(ctx: Context) -> str:
        while True:
            try:
                return await ctx.wait_for_signal(go)
            except caught:
                await ctx.step("handler", value, 1)

    world = World(workflow(flow))
    replay = world.replay()
    world.isolation.run(replay.close)
    assert world.calls == []
    world.signals["go"] = ["yes"]
    assert returned(world.run()) == "yes"
    assert world.calls == []


def test_a_loop_around_a_wait_does_not_keep_the_turn_from_closing() -> None:
    async def flow(ctx: Context) -> str:
        while True:
            try:
                return await ctx.wait_for_signal(go)
            except BaseException:
                continue

    world = World(workflow(flow))
    replay = world.replay()
    world.isolation.run(replay.close)
    world.signals["go"] = ["yes"]
    assert returned(world.run()) == "yes"


def test_the_escaped_failure_is_named_also_when_it_was_wrapped() -> None:
    async def plain(ctx: Context) -> None:
        with suppress(StepFailed):
            await ctx.step("caught", fail, "x")
        await ctx.step("escaped", fail, "y")

    async def wrapped(ctx: Context) -> None:
        try:
            await ctx.step("escaped", fail, "y")
        except StepFailed as failed:
            raise RuntimeError("sorry") from failed

    async def own(ctx: Context) -> None:
        await ctx.step("fine", value, 1)
        raise RuntimeError("a bug")

    assert World(workflow(plain)).run().entries == ("escaped",)  # type: ignore[union-attr]
    assert World(workflow(wrapped)).run().entries == ("escaped",)  # type: ignore[union-attr]
    assert World(workflow(own)).run().entries == ()  # type: ignore[union-attr]


def test_an_empty_gather_does_not_swallow_a_siblings_cancel() -> None:
    async def fails() -> None:
        raise ValueError("at once")

    async def waits(ctx: Context) -> None:
        await ctx.gather()
        await ctx.wait_for_signal(go)

    async def flow(ctx: Context) -> None:
        await ctx.gather(fails(), waits(ctx))

    assert isinstance(error(World(workflow(flow)).replay().outcome), ValueError)


def test_a_recorded_result_of_a_branch_that_was_cancelled_is_passed_over() -> None:
    """Two recorded ids open at once: the first one's failure cancels the branch that waits for the second."""

    async def flow(ctx: Context) -> str:
        with suppress(StepFailed):
            await ctx.gather(ctx.step("x", fail, "no"), ctx.step("y", value, 1))
        return await ctx.step("z", value, "on")

    world = World(workflow(flow))
    replay = world.replay()
    for opened in list(replay.open.values()):
        world.journal.append(world.perform(opened))
    world.isolation.run(replay.close)
    assert returned(world.run()) == "on"


def test_an_id_that_cannot_be_written_is_refused() -> None:
    async def flow(ctx: Context) -> None:
        await ctx.step("s\ud800", value, 1)

    failed = error(World(workflow(flow)).replay().outcome)
    assert isinstance(failed, UsageError) and "UTF-8" in str(failed)


def test_an_error_that_is_its_own_cause_ends_the_workflow() -> None:
    async def flow(ctx: Context) -> None:
        try:
            raise ValueError("x")
        except ValueError as error:
            raise error from error

    assert isinstance(error(World(workflow(flow)).replay().outcome), ValueError)


def test_an_error_without_a_text_can_be_caught() -> None:
    class Mute(RuntimeError):
        def __str__(self) -> str:
            raise SystemExit("no text")

    async def flow(ctx: Context) -> str:
        with suppress(Mute):
            raise Mute
        raise Mute

    assert isinstance(error(World(workflow(flow)).replay().outcome), Mute)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_a_workflow_raises_ends_only_the_workflow(kind: type[BaseException]) -> None:
    async def flow(ctx: Context) -> None:
        raise kind

    assert isinstance(error(World(workflow(flow)).replay().outcome), kind)
