"""Scenarios 2, 8, 72, 76 and 77, and steps that tell of themselves: code meets a journal, and a journal code."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from runner import App, Context, ExecutionFailed, ForeignAwait, Retry, StepFailed, UnawaitedCall, current_step
from tests.integration.conftest import Run
from tests.scenarios.kit import Death, Deaths, live_through_all_deaths, nothing_left


async def test_falsy_results_come_back_as_they_were_and_their_steps_do_not_run_again(app: App, run: Run):
    values: list[Any] = [None, False, 0, 0.0, "", b"", [], {}, (), set()]
    calls: Counter[str] = Counter()

    async def give(id: str, number: int) -> Any:
        calls[f"{id} {number}"] += 1
        return values[number]

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[Any]:
        got = []
        for number in range(len(values)):
            got.append(await ctx.step(f"s{number}", give, ctx.execution_id, number))
            if number % 3 == 0:
                await ctx.sleep(0.005)
        return [f"{type(one).__name__} {one!r}" for one in got]

    lives = await live_through_all_deaths(run, app, "flow")
    expected = [f"{type(one).__name__} {one!r}" for one in values]
    assert all(life.outcome == expected for life in lives.values())
    assert max(calls.values()) <= 2
    assert sum(count - 1 for count in calls.values()) <= len(lives)


async def test_an_error_takes_the_same_branch_live_and_replayed(app: App, run: Run):
    taken: dict[str, set[str]] = {}

    @app.error
    class CardDeclined(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(f"declined: {code}")
            self.code = code

    class Odd(ValueError):
        pass

    async def pay() -> None:
        raise CardDeclined(51)

    async def mail() -> None:
        raise Odd("no such mailbox")

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[str]:
        def branch(name: str) -> None:
            taken.setdefault(ctx.execution_id, set()).add(name)

        seen: list[str] = []
        try:
            await ctx.step("pay", pay)
        except CardDeclined as declined:
            branch("declined")
            seen.append(f"{declined.code}")
        except StepFailed:
            branch("wrong")
        await ctx.sleep(0.005)
        try:
            await ctx.step("mail", mail)
        except StepFailed as failed:
            branch("matches" if failed.matches(ValueError) and not failed.matches(KeyError) else "wrong")
            seen.append(failed.message)
        await ctx.sleep(0.005)
        return seen

    lives = await live_through_all_deaths(run, app, "flow")
    assert [life.outcome for life in lives.values()] == [["51", "no such mailbox"]] * len(lives)
    assert {frozenset(one) for one in taken.values()} == {frozenset({"declined", "matches"})}


@pytest.mark.parametrize("what", ["timeout", "create_task", "run", "gather", "sleep", "generator"])
async def test_the_event_loop_is_out_of_reach_and_the_worker_goes_on(app: App, run: Run, what: str):
    async def numbers():
        yield 1
        yield 2

    async def foreign() -> None:
        match what:
            case "timeout":
                async with asyncio.timeout(1):
                    pass
            case "create_task" | "gather":
                pause = asyncio.sleep(0)
                try:
                    await (asyncio.create_task(pause) if what == "create_task" else asyncio.gather(pause))
                finally:
                    pause.close()  # or Python says at some later time that nobody awaited it
            case "run":
                pause = asyncio.sleep(0)
                try:
                    asyncio.run(pause)
                finally:
                    pause.close()
            case "sleep":
                await asyncio.sleep(0.01)
            case _:
                async for _number in numbers():
                    break

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        await ctx.step("before", str)
        await foreign()
        await ctx.step("after", str)

    @app.workflow("other")
    async def other(ctx: Context) -> str:
        return "fine"

    async with run(app) as fleet:
        with pytest.raises(ExecutionFailed, match=r"test_code\.py") as failed:
            await (await fleet.client.start(flow)).result(timeout=20)
        assert failed.value.type.endswith(ForeignAwait.__name__) and failed.value.attempt == 1
        assert await (await fleet.client.start(other)).result(timeout=20) == "fine"
        await nothing_left(fleet)


async def test_a_call_that_nobody_awaits_fails_the_execution_naming_call_and_line(app: App, run: Run):
    calls: list[int] = []

    @app.workflow("thrown")
    async def thrown(ctx: Context) -> None:
        ctx.step("forgotten", calls.append, 1)
        await ctx.step("after", calls.append, 2)

    @app.workflow("held")
    async def held(ctx: Context) -> None:
        call = ctx.sleep(1)
        await ctx.note("held", held=call is not None)

    async with run(app) as fleet:
        for name, call in (("thrown", "forgotten"), ("held", "ctx.sleep")):
            with pytest.raises(ExecutionFailed, match=call) as failed:
                await (await fleet.client.start(name)).result(timeout=20)
            assert failed.value.type.endswith(UnawaitedCall.__name__) and "test_code.py" in str(failed.value)
    assert calls == []


async def test_the_next_worker_gets_the_last_heartbeat_of_the_one_that_died(app: App, run: Run):
    got: list[Any] = []

    @app.step(retry=Retry(max_attempts=2, initial=0.01))
    async def copy() -> int:
        step = current_step()
        got.append((step.attempt, step.details))
        if len(got) == 1:
            step.heartbeat({"row": 500})
            step.progress(500, 1_000)
            await asyncio.sleep(0.3)
        if len(got) == 2:
            step.heartbeat({"row": 800})
            raise ValueError("disk full")
        return 1_000

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> int:
        return await ctx.step("copy", copy)

    async with run(app, lease_s=1.0) as fleet:
        deaths = Deaths(fleet.store)
        deaths.planned = {"flow": Death(2, "before")}
        handle = await fleet.client.start(flow, id="flow")
        assert await handle.result(timeout=20) == 1_000
        assert deaths.died == {"flow"}
        await nothing_left(fleet)
    # A death is no attempt: its heartbeat is the next call's; that of a failed attempt is the next attempt's.
    assert got == [(1, None), (1, {"row": 500}), (2, {"row": 800})]


async def test_a_step_that_gives_up_in_time_does_not_begin_an_attempt_too_late(app: App, run: Run):
    calls: list[float] = []

    @app.step(retry=Retry(max_attempts=50, initial=0.2, multiplier=1, jitter=0, give_up_after=0.5))
    async def flaky() -> None:
        calls.append(asyncio.get_running_loop().time())
        raise ValueError("no")

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> None:
        await ctx.step("flaky", flaky)

    async with run(app) as fleet:
        with pytest.raises(ExecutionFailed, match="no"):
            await (await fleet.client.start(flow)).result(timeout=20)
    assert 1 <= len(calls) <= 3 and calls[-1] - calls[0] < 0.5
