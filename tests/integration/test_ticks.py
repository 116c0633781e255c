"""What becomes of ticks with real workers, on both backends: overlap, catching up, two leaders, many at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from runner import App, CatchUp, Client, Context, Overlap, Schedule, Signal, Status, SyncClient
from runner.core.grid import execution_id
from runner.records import Execution, Filter, Leadership
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store import Store
from tests.integration.ciphers import NEW, AesGcm, held
from tests.integration.conftest import Backend, Fleet, Run
from tests.scheduler.ticking import in_time

SECRET = "swordfish"
go = Signal[str]("go")


def waiting_in(app: App) -> Any:
    @app.workflow("waiting")
    async def waiting(ctx: Context, text: str) -> str:
        return text + await ctx.wait_for_signal(go)

    return waiting


def echo_in(app: App) -> Any:
    @app.workflow("echo")
    async def echo(ctx: Context, text: str) -> str:
        return text

    return echo


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.02)


async def started(client: Client, count: int) -> list[Execution]:
    """The first so many executions there are, in the order of their ticks."""

    async def there() -> bool:
        return len((await client.executions(limit=1_000)).executions) >= count

    await until(there)
    return sorted((await client.executions(limit=1_000)).executions, key=in_time)


async def paused_when(client: Client, true: Callable[[Schedule], bool]) -> Schedule:
    """The schedule, which ticks no more, when it has come so far."""

    async def so_far() -> bool:
        return true(await client.get_schedule("s"))

    await until(so_far)
    return await client.pause_schedule("s")


# -- overlap ------------------------------------------------------------------------------------------


async def test_a_tick_is_skipped_while_one_before_it_runs(app: App, run: Run) -> None:
    waiting = waiting_in(app)
    async with run(app) as fleet:
        client = fleet.client
        await client.ensure_schedule(waiting, "a", id="s", interval=0.2, overlap="skip")
        await paused_when(client, lambda kept: kept.skipped >= 3)
        (only,) = await started(client, 1)
        assert only.parent == "@s"
        await client.resume_schedule("s")
        await client.signal(only.id, go, "b")
        assert await client.wait(only.id, 10) == "ab"
        assert len(await started(client, 2)) == 2, "the next may run again"


async def test_a_tick_that_waits_starts_when_the_one_before_it_has_ended(app: App, run: Run) -> None:
    waiting = waiting_in(app)
    async with run(app) as fleet:
        client = fleet.client
        await client.ensure_schedule(waiting, "a", id="s", interval=2, overlap="buffer_one")
        (first,) = await started(client, 1)

        async def buffered() -> bool:
            return (await client.get_schedule("s")).buffered is not None

        await until(buffered)
        kept = await client.update_schedule("s", end_at=_moment(await client.store.now()))
        await client.signal(first.id, go, "b")
        ended = time.monotonic()
        second = (await started(client, 2))[1]
        assert time.monotonic() - ended < 2, "at once, not at the next look"
        assert kept.buffered is not None
        assert second.id == execution_id("s", kept.buffered)


async def test_a_tick_cancels_the_one_before_it(app: App, run: Run) -> None:
    waiting = waiting_in(app)
    async with run(app) as fleet:
        client = fleet.client
        await client.ensure_schedule(waiting, "a", id="s", interval=0.5, overlap="cancel_other")
        kept = await paused_when(client, lambda kept: kept.runs >= 3)
        executions = await started(client, kept.runs)
        assert len(executions) == kept.runs

        async def cancelled() -> bool:
            statuses = [(await client.execution(one.id)).status for one in executions]
            return statuses[:-1] == [Status.CANCELLED] * (len(executions) - 1)

        await until(cancelled)
        last = await client.execution(executions[-1].id)
        assert not last.status.terminal
        assert kept.running == (last.id,)
        await client.signal(last.id, go, "b")
        assert await client.wait(last.id, 10) == "ab"


# -- nobody was there ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        (CatchUp(all_within=60), 5),
        (CatchUp(all_within=0, then="latest"), 1),
        (CatchUp(all_within=0, then="all"), 5),
        (CatchUp(all_within=0, then="skip"), 0),
    ],
    ids=["all within", "latest", "all", "skip"],
)
async def test_ticks_without_a_scheduler_are_caught_up_as_it_says(
    app: App, run: Run, catch_up: CatchUp, expected: int
) -> None:
    echo = echo_in(app)
    async with run(app, scheduler=False) as fleet:
        client = fleet.client
        made = await client.ensure_schedule(echo, "a", id="s", interval=0.1, catch_up=catch_up)
        last = made.created_at + 500
        await client.update_schedule("s", end_at=_moment(last))

        async def over() -> bool:
            return await client.store.now() > last + 200

        await until(over)
        async with Scheduler(fleet.store, fleet.broker, SchedulerOptions(leader_ttl_s=1.0)):

            async def decided() -> bool:
                kept = await client.get_schedule("s")
                return kept.due_at is None and kept.runs + kept.skipped == 5

            await until(decided)
        executions = await started(client, expected)
        ticks = [made.created_at + 100 * n for n in range(1, 6)]
        assert [one.id for one in executions] == [execution_id("s", tick) for tick in ticks[5 - expected :]]


async def test_two_leaders_at_once_lose_no_tick_and_run_none_twice(
    app: App, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = echo_in(app)
    async with run(app, scheduler=False) as fleet:

        async def lead(nonce: str, name: str, ttl_ms: int) -> Leadership:
            return Leadership(leading=True, leader=name, expires_in_ms=ttl_ms)

        monkeypatch.setattr(fleet.store, "lead", lead)
        options = SchedulerOptions(leader_ttl_s=1.0)
        async with (
            Scheduler(fleet.store, fleet.broker, options) as one,
            Scheduler(fleet.store, fleet.broker, options) as two,
        ):
            made = await fleet.client.ensure_schedule(echo, "a", id="s", interval=0.05)
            kept = await paused_when(fleet.client, lambda kept: kept.runs >= 40)
            assert one.leading
            assert two.leading
            await _all_ran(fleet, made, kept)


async def _all_ran(fleet: Fleet, made: Schedule, kept: Schedule) -> None:
    """Every tick up to the last, once."""

    async def written_off() -> bool:
        return (await fleet.client.get_schedule("s")).pending is None

    await until(written_off)
    kept = await fleet.client.get_schedule("s")
    assert kept.last_tick is not None
    ticks = range(made.created_at + made.interval_ms, kept.last_tick + 1, made.interval_ms)
    executions = await started(fleet.client, len(ticks))
    assert [one.id for one in executions] == [execution_id("s", tick) for tick in ticks]
    assert (kept.runs, kept.skipped) == (len(ticks), 0)
    assert [await fleet.client.wait(one.id, 10) for one in executions] == ["a"] * len(ticks)


# -- many ---------------------------------------------------------------------------------------------


async def _put(store: Store, schedules: list[Schedule]) -> None:
    for first in range(0, len(schedules), 500):
        assert all(await store.put_schedules(schedules[first : first + 500]))


@pytest.mark.timeout(120)
async def test_a_thousand_due_at_once_among_ten_thousand_start_within_seconds(app: App, run: Run) -> None:
    echo = echo_in(app)
    async with run(app, workers=0, scheduler=False) as fleet:
        model = await fleet.client.ensure_schedule(echo, "a", id="model", interval=timedelta(days=1))
        await _put(fleet.store, [replace(model, id=f"idle-{n}") for n in range(9_000)])
        tick = await fleet.store.now() + 1
        due = replace(model, start_at=tick, due_at=tick, grid_from=tick - 1, overlap=Overlap.SKIP)
        await _put(fleet.store, [replace(due, id=f"due-{n}") for n in range(1_000)])
        began = time.monotonic()
        async with Scheduler(fleet.store, fleet.broker, SchedulerOptions(leader_ttl_s=3.0)):

            async def all_started() -> bool:
                due = await fleet.store.due_schedules(1)
                return not due.schedules

            await until(all_started, 60)
        took = time.monotonic() - began
        assert took < 20, "half a second on a machine that does nothing else"
        page = await fleet.store.executions(Filter(workflow="echo", limit=1_000))
        assert {one.id for one in page.executions} == {execution_id(f"due-{n}", tick) for n in range(1_000)}
        kept = await fleet.store.schedule("due-7")
        assert kept is not None
        assert (kept.runs, kept.due_at) == (1, tick + 24 * 3_600_000)


# -- beside it ----------------------------------------------------------------------------------------


async def test_its_input_is_kept_sealed(namespace: str, run: Run, backend: Backend) -> None:
    app = App(namespace, payload_codec=AesGcm(k=NEW))
    echo = echo_in(app)
    async with run(app) as fleet:
        client = fleet.client
        made = await client.ensure_schedule(echo, SECRET, id="s", interval=0.3)
        assert SECRET.encode() in made.input
        assert SECRET.encode() not in await held(backend.store_url, namespace)
        assert (await client.ensure_schedule(echo, SECRET, id="s", interval=0.3)).created_at == made.created_at
        assert SECRET.encode() in (await client.get_schedule("s")).input
        assert SECRET.encode() in (await client.list_schedules())[0].input
        kept = await paused_when(client, lambda kept: kept.runs >= 2)
        assert await client.wait(kept.last_execution, 10) == SECRET
        assert SECRET.encode() not in await held(backend.store_url, namespace)


async def test_code_without_a_loop_schedules_too(app: App, redis_url: str, rabbit_url: str) -> None:
    echo = echo_in(app)

    def blocking() -> None:
        with SyncClient(app, redis_url, rabbit_url) as client:
            made = client.ensure_schedule(echo, "a", id="s", cron="@daily")
            assert client.get_schedule("s") == made
            assert client.list_schedules() == [made]
            assert client.update_schedule("s", jitter=1).jitter_ms == 1_000
            assert client.pause_schedule("s", "why").note == "why"
            assert client.resume_schedule("s").paused is False
            assert len(client.next_fires("s", 3)) == 3
            assert not client.trigger_schedule("s").status().terminal
            end = _moment(made.created_at)
            assert len(client.backfill_schedule("s", end - timedelta(days=2), end)) == 2
            assert client.schedule(echo, "a", delay=60).cancel()
            assert client.remove_schedule("s")

    await asyncio.to_thread(blocking)


def _moment(ms: int) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC)
