"""Workers that die, steps that fail and cancels that come just where a test wants them."""

from __future__ import annotations

import pytest

from runner import App, Cancelled, Context, ExecutionFailed, Retry, Signal, Status, UsageError
from runner.events import StepCompleted
from runner.testing import InjectedFailure, TestEnv

go = Signal[str]("go")
done: list[str] = []


async def effect(name: str) -> str:
    done.append(name)
    return name


@pytest.fixture(autouse=True)
def _clean() -> None:
    done.clear()


@pytest.fixture
def app() -> App:
    app = App("kit")

    @app.workflow
    async def three(ctx: Context) -> list[str]:
        names = [await ctx.step(name, effect, name) for name in "abc"]
        await ctx.sleep(60, id="pause")
        return names

    return app


@pytest.mark.parametrize(
    ("when", "called", "did"), [("before_effect", 3, "abc"), ("after_effect", 4, "abbc"), ("after_commit", 3, "abc")]
)
async def test_a_worker_dies_where_it_is_told_to(app: App, when, called: int, did: str) -> None:
    async with TestEnv(app) as env:
        env.crash_at("b", when)
        assert await (await env.client.start("three")).result() == ["a", "b", "c"]
        assert len(env.calls(effect)) == called
        assert "".join(done) == did


@pytest.mark.parametrize("when", ["before_effect", "after_effect"])
async def test_a_dead_worker_writes_nothing_and_another_claims(app: App, when) -> None:
    async with TestEnv(app) as env:
        env.crash_at("b", when, times=3)
        handle = await env.client.start("three")
        await env.settle()
        entries = (await env.client.history(handle.id)).entries
        claims = [row for row in await env.client.audit(handle.id) if row.fields.get("to") == "running"]
        assert [entry.id for entry in entries] == ["a", "b", "c"]
        assert len(claims) == 4
        assert len(env.calls("b")) == (1 if when == "before_effect" else 4)


async def test_crashes_are_counted_as_in_production(app: App) -> None:
    async with TestEnv(app) as env:
        env.crash_at("a", "before_effect", times=1000)
        ending = await env.ending(await env.client.start("three"))
        assert ending.status is Status.FAILED and ending.execution.cause == "poisoned"


async def test_any_entry_can_be_crashed_at_once_it_is_recorded(app: App) -> None:
    @app.workflow
    async def waits(ctx: Context) -> str:
        await ctx.sleep(1)
        heard = await ctx.wait_for_signal(go)
        return await ctx.step("a", effect, heard)

    async with TestEnv(app) as env:
        for entry in ("__sleep:1", "__signal:go:1", "a"):
            env.crash_at(entry, "after_commit")
        ending = await env.ending(await env.client.start(waits), signals=[(go, "went")])
        assert ending.result == "went" and done == ["went"]


async def test_a_crash_right_after_a_run_went_on_as_new(app: App) -> None:
    @app.workflow
    async def rounds(ctx: Context, left: int) -> str:
        await ctx.step("a", effect, str(left))
        if left:
            await ctx.continue_as_new(left - 1)
        return "done"

    async with TestEnv(app) as env:
        env.crash_at("a", "after_commit", times=3)
        assert await (await env.client.start(rounds, 2)).result() == "done"
        assert done == ["2", "1", "0"]


async def test_a_worker_that_died_right_after_a_commit_never_heard_of_it(app: App) -> None:
    told: list[str] = []
    app.hooks.add(StepCompleted, lambda event: told.append(event.id))
    async with TestEnv(app) as env:
        env.crash_at("b", "after_commit")
        await (await env.client.start("three")).result()
        await env.settle()
        assert told == ["a", "c"]


async def test_no_user_code_sees_a_crash(app: App) -> None:
    seen: list[BaseException] = []

    @app.workflow
    async def careful(ctx: Context) -> str:
        try:
            return await ctx.step("a", effect, "a")
        except BaseException as error:
            seen.append(error)
            raise

    async with TestEnv(app) as env:
        env.crash_at(effect, "after_effect")
        assert await (await env.client.start(careful)).result() == "a"
    assert [type(error) for error in seen] == [GeneratorExit]


async def test_another_execution_does_not_feel_it(app: App) -> None:
    async with TestEnv(app) as env:
        env.crash_at("b", "before_effect")
        for handle in [await env.client.start("three") for _ in range(3)]:
            assert await handle.result() == ["a", "b", "c"]
        assert len(env.calls(effect)) == 9


async def test_steps_fail_as_often_as_they_should(app: App) -> None:
    @app.step(retry=Retry(max_attempts=3, initial=60))
    async def tried(name: str) -> str:
        return await effect(name)

    @app.workflow(max_attempts=1)
    async def tries(ctx: Context) -> str:
        return await ctx.step("tried", tried, "x")

    async with TestEnv(app) as env:
        env.fail_at("tried", times=1)
        env.fail_at(tried, ConnectionError("cut off"), when="after_effect", times=1)
        assert await (await env.client.start(tries)).result() == "x"
        assert done == ["x", "x"]
        env.fail_at(tried)
        with pytest.raises(ExecutionFailed, match=InjectedFailure.__name__):
            await (await env.client.start(tries)).result()
        assert done == ["x", "x"]


async def test_a_cancel_comes_just_after_an_entry(app: App) -> None:
    @app.workflow
    async def stops(ctx: Context) -> None:
        await ctx.step("a", effect, "a")
        try:
            await ctx.sleep(60)
        except Cancelled:
            await ctx.step("c", effect, "c")
            raise

    async with TestEnv(app) as env:
        env.cancel_at("a")
        ending = await env.ending(await env.client.start(stops))
        assert ending.status is Status.CANCELLED
        assert done == ["a", "c"]


async def test_a_signal_sent_twice_is_there_twice(app: App) -> None:
    @app.workflow
    async def hears(ctx: Context) -> list[str]:
        return [await ctx.wait_for_signal(go), await ctx.wait_for_signal(go)]

    async with TestEnv(app) as env:
        env.double_signal(go)
        assert (await env.ending(await env.client.start(hears), signals=[(go, "x")])).result == ["x", "x"]


async def test_a_fault_that_never_came_about_has_tested_nothing(app: App) -> None:
    with pytest.raises(AssertionError, match="never came about: crash at 'typo', after_effect"):
        async with TestEnv(app) as env:
            env.crash_at("typo")
            await (await env.client.start("three")).result()
    async with TestEnv(app, strict=False) as env:
        env.crash_at("typo")


async def test_moments_that_there_are_not_are_refused(app: App) -> None:
    async with TestEnv(app) as env:
        with pytest.raises(UsageError, match="one of before_effect, after_effect, after_commit"):
            env.crash_at("a", "whenever")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="at least 1"):
            env.crash_at("a", times=0)
