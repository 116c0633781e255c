"""A recorded history against today's code: what changed is found, and so is code that nobody can replay."""

from __future__ import annotations

import datetime as dt
import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner import App, Context, UsageError
from runner.history_file import write_history
from runner.testing import TestEnv, assert_replays
from runner.testing.shifted import SHIFT, shifted


async def note(*values: object) -> str:
    return str(len(values))


def recorded() -> App:
    app = App("kit")

    @app.workflow
    async def order(ctx: Context, number: int) -> str:
        said = await ctx.step("first", note, number)
        await ctx.sleep(60, id="pause")
        return said

    return app


async def history_file(app: App, folder: Path, workflow: str = "order", *, crash: bool = False) -> Path:
    async with TestEnv(app) as env:
        handle = await env.client.start(workflow, 1)
        await handle.result()
        file = folder / "history.json"
        file.write_text(write_history(await env.client.history(handle.id)))
        return file


async def test_the_code_that_recorded_it_replays_it(tmp_path: Path) -> None:
    file = await history_file(recorded(), tmp_path)
    assert_replays(recorded(), file)
    assert_replays(recorded(), str(file))


async def step_added(ctx: Context, number: int) -> str:
    said = await ctx.step("first", note, number)
    await ctx.step("second", note, number)
    await ctx.sleep(60, id="pause")
    return said


async def goes_on(ctx: Context, number: int) -> str:
    said = await ctx.step("first", note, number)
    await ctx.sleep(60, id="pause")
    await ctx.step("more", note)
    return said


async def another_kind(ctx: Context, number: int) -> str:
    await ctx.sleep(1, id="first")
    await ctx.sleep(60, id="pause")
    return "1"


async def another_result(ctx: Context, number: int) -> str:
    await ctx.step("first", note, number)
    await ctx.sleep(60, id="pause")
    return "other"


async def fails_now(ctx: Context, number: int) -> str:
    raise ValueError(number)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (step_added, "the code asks for step 'second'"),
        (goes_on, "it completed; the code goes on, and asks for step 'more' at"),
        (another_kind, "'first' is recorded as step"),
        (another_result, "it returned '1'; the code returns 'other'"),
        (fails_now, "recorded, and not asked for|the code ends with"),
    ],
)
async def test_what_has_changed_is_said(code, said: str, tmp_path: Path) -> None:
    file = await history_file(recorded(), tmp_path)
    app = App("kit")
    app.workflow("order")(code)
    with pytest.raises(AssertionError, match=said):
        assert_replays(app, file)


async def test_a_patch_keeps_the_old_way(tmp_path: Path) -> None:
    file = await history_file(recorded(), tmp_path)
    app = App("kit")

    @app.workflow
    async def order(ctx: Context, number: int) -> str:
        said = await ctx.step("first", note, number)
        if ctx.patched("v2"):
            await ctx.step("second", note, number)
        await ctx.sleep(60, id="pause")
        return said

    assert_replays(app, file)
    assert_replays(app, await history_file(app, tmp_path))


async def test_a_workflow_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="app 'other' has no such workflow and version"):
        assert_replays(App("other"), await history_file(recorded(), tmp_path))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError, match="no history file"):
        assert_replays(App("kit"), tmp_path / "x.json")


READERS = {
    "datetime.now": lambda: datetime.now(UTC).date(),
    "datetime.fromtimestamp": lambda: dt.datetime.fromtimestamp(time.time(), UTC).date(),
    "time.localtime": lambda: time.localtime().tm_year,
    "uuid4": uuid.uuid4,
    "random": random.random,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
async def test_code_that_looks_outside_is_found(read) -> None:
    app = App("kit")

    @app.workflow
    async def looks(ctx: Context) -> None:
        await ctx.step("first", note)
        await ctx.step("then", note, read())

    async with TestEnv(app) as env:
        handle = await env.client.start(looks)
        await handle.result()
        with pytest.raises(AssertionError, match=r"one replay asks for step 'then' \(.*the next for step 'then' \("):
            assert_replays(app, await env.client.history(handle.id))


@pytest.mark.parametrize("ago", [timedelta(days=-2), timedelta(days=2)])
async def test_a_branch_on_the_clock_is_found_whichever_way_it_goes_today(ago: timedelta) -> None:
    app, limit = App("kit"), datetime.now(UTC) - ago

    @app.workflow
    async def looks(ctx: Context) -> None:
        if datetime.now(UTC) > limit:
            await ctx.sleep(1, id="late")
        else:
            await ctx.sleep(1, id="early")

    async with TestEnv(app) as env:
        handle = await env.client.start(looks)
        await handle.result()
        with pytest.raises(AssertionError, match="workflow code is not deterministic"):
            assert_replays(app, await env.client.history(handle.id))


async def test_what_the_context_gives_is_no_look_outside() -> None:
    app = App("kit")

    @app.workflow
    async def good(ctx: Context) -> None:
        await ctx.step("first", note, ctx.now(), ctx.uuid(), ctx.random())
        await ctx.gather(ctx.sleep(ctx.random()), ctx.step("then", note, ctx.now()))

    async with TestEnv(app) as env:
        handle = await env.client.start(good)
        await handle.result()
        assert_replays(app, await env.client.history(handle.id))


def test_another_clock_is_another_clock_everywhere_and_then_it_is_over() -> None:
    before = datetime.now(UTC)
    with shifted():
        assert datetime.now(UTC) - before >= SHIFT
        assert abs(dt.datetime.fromtimestamp(time.time(), UTC) - datetime.now(UTC)) < timedelta(seconds=5)
        assert abs(time.time_ns() / 1e9 - time.time()) < 5
        assert dt.date.today() == dt.datetime.today().date() > before.date() + timedelta(days=390)  # noqa: DTZ002, DTZ011
        assert time.gmtime().tm_year == datetime.now(UTC).year
        assert isinstance(before, datetime) and isinstance(datetime(2026, 1, 1, tzinfo=UTC), datetime)
        assert type(datetime.now(UTC)) is type(before)
    with shifted(direction=-1):
        assert datetime.now(UTC) < before
    assert timedelta() <= datetime.now(UTC) - before < timedelta(minutes=5)
