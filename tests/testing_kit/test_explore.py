"""explore finds what a workflow does not bear, and says it as a test that fails until it is mended."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner import App, Context, Retry, Signal
from runner.testing import ExplorationFailed, TestEnv, explore
from tests.servers import ROOT
from tests.testing_kit import shop
from tests.testing_kit.shop import TEA, approved, bank

BUGS = {
    "not_idempotent": "the worker dies between the effect of 'charge' and its record",
    "not_compensated": "a cancel comes right after 'charge' was recorded",
    "reads_the_clock": "nothing goes wrong",
}
SIGHTS = [{"ledger": bank}, {"prepare": shop.prepare, "check": shop.check}]


@pytest.mark.parametrize("sight", SIGHTS, ids=["ledger", "check"])
async def test_a_right_workflow_passes(sight) -> None:
    explored = await explore(shop.app, shop.right, TEA, signals=[(approved, "ann")], **sight)
    cases = {str(case) for case in explored.cases}
    assert len(explored) > 30
    assert "the worker dies before 'reserve'" in cases
    assert "the worker dies right after '__signal:approved:1' was recorded" in cases
    assert "'reserve' fails once, after its effect" in cases
    assert "'charge' fails for good" in cases
    assert "a cancel comes right after 'cool-off' was recorded" in cases
    assert "no signal comes" in cases
    assert "signal 'approved' is sent twice" in cases
    assert "its signals come before it has begun" in cases
    assert any(" and the worker dies between the effect of 'rollback:" in case for case in cases)


@pytest.mark.parametrize("sight", SIGHTS, ids=["ledger", "check"])
@pytest.mark.parametrize(("name", "case"), BUGS.items())
async def test_a_bug_is_found_where_it_shows_first(name: str, case: str, sight) -> None:
    with pytest.raises(ExplorationFailed, match=re.escape(f"workflow '{name}', case") + rf" \d+: {re.escape(case)}\n"):
        await explore(shop.app, getattr(shop, name), TEA, **sight)


@pytest.mark.slow
async def test_what_it_prints_is_a_test_that_fails_until_the_bug_is_mended(tmp_path: Path) -> None:
    for name in BUGS:
        for sight in SIGHTS:
            with pytest.raises(ExplorationFailed) as failed:
                await explore(shop.app, getattr(shop, name), TEA, **sight)
            printed = str(failed.value).partition("As a test:\n\n")[2]
            number = len(list(tmp_path.iterdir()))
            (tmp_path / f"test_bug_{number}.py").write_text(printed)
            # The right one has the same steps, and waits for a signal besides.
            mended = (
                printed.replace(f", {name}\n", ", right\n")
                .replace(f" {name},", " right,")
                .replace(f"({name}", "(right")
            )
            (tmp_path / f"test_mended_{number}.py").write_text(mended)
    options = ("--asyncio-mode=auto", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--tb=short")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", tmp_path, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    outcomes = set(re.findall(r"^(FAILED|ERROR) .*(test_bug|test_mended)_\d+", done.stdout, re.MULTILINE))
    assert outcomes == {("FAILED", "test_bug")}, done.stdout
    assert "6 failed, 6 passed" in done.stdout


async def test_signals_that_it_does_not_take_are_left_out() -> None:
    app, other = App("kit"), Signal[str]("other")

    @app.workflow
    async def hears(ctx: Context) -> str:
        await ctx.wait_for_signal(approved)
        await ctx.step("charge", shop.charge_without_a_key, TEA)
        return await ctx.wait_for_signal(other)

    with pytest.raises(ExplorationFailed, match=r"signals=\[\(approved, 'ann'\)\]\)"):
        await explore(app, hears, signals=[(approved, "ann"), (other, "x")], ledger=bank)


async def told(*_: object) -> str:
    return "told"


@pytest.fixture
def app() -> App:
    return App("kit")


async def test_arguments_that_differ_under_one_key_are_found(app: App) -> None:
    asked: list[int] = []

    @app.workflow
    async def counts(ctx: Context) -> str:
        asked.append(1)
        return await ctx.step("tell", told, min(len(asked), 2))

    def prepare(_: TestEnv) -> None:
        asked.clear()

    with pytest.raises(ExplorationFailed, match=r"different arguments: first with \(1,\), then with \(2,\)"):
        await explore(app, counts, prepare=prepare)


async def test_a_crash_that_changes_the_result_is_found(app: App) -> None:
    @app.workflow
    async def remembers(ctx: Context) -> int:
        await ctx.step("tell", told)
        return 1

    calls: list[str] = []

    async def last() -> int:
        calls.append("")
        return len(calls)

    @app.workflow
    async def returns(ctx: Context) -> int:
        return await ctx.step("last", last)

    assert len(await explore(app, remembers)) > 5
    with pytest.raises(ExplorationFailed, match="it returns 2; without the fault 1"):
        await explore(app, returns, prepare=lambda _: calls.clear())


async def test_a_compensation_that_fails_is_found(app: App) -> None:
    async def undo(_: str) -> None:
        raise ConnectionError("no answer")

    @app.workflow
    async def saga(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step("tell", told).options(compensate=undo)
            await ctx.step("more", told)

    with pytest.raises(ExplorationFailed, match=r"a compensation failed: .*no answer"):
        await explore(app, saga)


async def test_compensations_bear_faults_of_their_own(app: App) -> None:
    async def give_back(_: int) -> None:
        bank.add("money", -10)

    @app.workflow
    async def saga(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step("charge", shop.charge, TEA).options(compensate=give_back)
            await ctx.step("more", told)

    with pytest.raises(ExplorationFailed, match=r"was recorded and the worker dies between the effect of 'rollback:"):
        await explore(app, saga, ledger=bank)


async def test_steps_that_return_something_else_each_time_are_no_bug(app: App) -> None:
    count = iter(range(1000))

    @app.step(retry=Retry(max_attempts=2))
    async def counted() -> int:
        return next(count)

    @app.workflow
    async def returns(ctx: Context) -> int:
        return await ctx.step("count", counted)

    assert len(await explore(app, returns)) > 5


async def test_a_child_is_explored_with_its_parent(app: App) -> None:
    @app.workflow
    async def child(ctx: Context) -> int:
        return await ctx.step("charge", shop.charge_without_a_key, TEA)

    @app.workflow
    async def parent(ctx: Context) -> int:
        return await ctx.run_child("child", child)

    with pytest.raises(ExplorationFailed, match="the worker dies between the effect of 'charge' and its record"):
        await explore(app, parent, prepare=shop.prepare, check=lambda _: not bank.repeated)


async def test_a_check_may_return_false_and_be_asynchronous(app: App) -> None:
    @app.workflow
    async def plain(ctx: Context) -> str:
        await ctx.step("tell", told)
        return await ctx.step("more", told)

    async def check(ending) -> bool:
        return ending.status != "cancelled"

    with pytest.raises(ExplorationFailed, match=r"(?s)a cancel comes right after 'tell'.*assert await check\(ending\)"):
        await explore(app, plain, check=check)
