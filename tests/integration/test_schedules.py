"""Schedules as their callers see them, on both backends: ensured, changed, paused, triggered, backfilled; and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner import (
    App,
    CatchUp,
    Client,
    ConflictingSchedule,
    Context,
    ExecutionCancelled,
    PayloadError,
    Schedule,
    Status,
    UnknownSchedule,
    UnknownWorkflow,
    UsageError,
)
from runner.core.grid import execution_id
from runner.workflow import Workflow
from tests.integration.conftest import Backend, Run

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Report:
    of: str


@pytest.fixture
def report(app: App) -> Workflow[Report, str]:
    @app.workflow("report")
    async def report(ctx: Context, asked: Report) -> str:
        return asked.of

    @app.workflow("other")
    async def other(ctx: Context, asked: Report) -> str:
        return asked.of

    return report


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.02)


async def clock(client: Client) -> datetime:
    return datetime.fromtimestamp(await client.store.now() / 1000, UTC)


# -- one execution, at a time -------------------------------------------------------------------------


async def test_one_execution_at_its_time_that_can_be_waited_for(app: App, report: Any, run: Run) -> None:
    async with run(app) as fleet:
        at = await clock(fleet.client) + timedelta(milliseconds=400)
        handles = [
            await fleet.client.schedule(report, Report("a"), at=at),
            await fleet.client.schedule(report, Report("b"), delay=0.4),
            await fleet.client.schedule("report", {"of": "c"}, at=at, idempotency_key="c"),
            await fleet.client.schedule("report", {"of": "c"}, at=at, idempotency_key="c"),
        ]
        assert await handles[0].status() is Status.PENDING
        assert [await handle.result(10) for handle in handles] == ["a", "b", "c", "c"]
        for handle in handles:
            execution = await handle.execution()
            assert execution.started_at is not None
            assert execution.started_at >= at.timestamp() * 1000, "not before"
        assert len((await fleet.client.executions()).executions) == 3


async def test_what_is_scheduled_can_be_cancelled_before_it_starts(app: App, report: Any, run: Run) -> None:
    async with run(app) as fleet:
        handle = await fleet.client.schedule(report, Report("a"), delay=HOUR)
        assert await handle.cancel("not needed")
        with pytest.raises(ExecutionCancelled, match="not needed"):
            await handle.result(5)


async def test_a_moment_that_has_just_passed_is_now_and_one_long_past_is_refused(
    app: App, report: Any, run: Run
) -> None:
    async with run(app) as fleet:
        now = await clock(fleet.client)
        handle = await fleet.client.schedule(report, Report("a"), at=now - timedelta(seconds=50))
        assert await handle.result(10) == "a"
        bad: list[dict[str, Any]] = [
            {"at": now - timedelta(seconds=61)},
            {"at": now.replace(tzinfo=None)},
            {"at": now, "delay": 1},
            {},
            {"delay": -1},
        ]
        for options in bad:
            with pytest.raises(UsageError):
                await fleet.client.schedule(report, Report("b"), **options)
        assert len((await fleet.client.executions()).executions) == 1


# -- ensuring -----------------------------------------------------------------------------------------


async def test_many_boots_at_once_are_one_schedule_and_do_not_move_it(
    app: App, report: Any, backend: Backend, run: Run
) -> None:
    async with run(app, workers=0, scheduler=False) as fleet:

        async def boot(client: Client) -> list[Schedule]:
            options: Any = {"id": "hourly", "interval": HOUR, "jitter": 60}
            return [await client.ensure_schedule(report, Report("a"), **options) for _ in range(20)]

        clients = [Client(app, fleet.store, fleet.broker) for _ in range(5)]
        seen = {one for boots in await asyncio.gather(*map(boot, clients)) for one in boots}
        assert len(seen) == 1
        (made,) = seen
        assert made.revision == 1
        assert made.due_at is not None
        assert made.created_at + 3_600_000 <= made.due_at <= made.created_at + 3_660_000
        assert await fleet.client.list_schedules() == [made]


async def test_what_is_changed_of_it_decides_whether_its_next_tick_moves(app: App, report: Any, run: Run) -> None:
    async with run(app, workers=0, scheduler=False) as fleet:
        client = fleet.client
        first = await client.ensure_schedule(report, Report("a"), id="s", cron="0 0 1 1 *")
        other = await client.ensure_schedule(report, Report("b"), id="s", cron="0 0 1 1 *", overlap="skip")
        assert (other.revision, other.due_at, other.created_at) == (2, first.due_at, first.created_at)
        assert other.digest != first.digest
        rearmed = await client.ensure_schedule(report, Report("b"), id="s", interval=HOUR, overlap="skip")
        assert (rearmed.cron, rearmed.interval_ms) == ("", 3_600_000)
        assert rearmed.due_at is not None
        assert first.due_at is not None
        assert rearmed.due_at < await client.store.now() + 3_600_001 < first.due_at
        updated = await client.update_schedule("s", input={"of": "c"}, max_runs=3)
        assert (updated.due_at, updated.max_runs, updated.interval_ms) == (rearmed.due_at, 3, 3_600_000)
        again = await client.update_schedule("s", cron="30 3 * * *", timezone="Europe/Bucharest")
        assert (again.cron, again.interval_ms, again.timezone) == ("30 3 * * *", 0, "Europe/Bucharest")
        moved = await client.update_schedule("s", timezone="UTC")
        assert (moved.cron, moved.timezone) == ("30 3 * * *", "UTC")
        assert moved.due_at != again.due_at
        with pytest.raises(ConflictingSchedule, match=r"'s' belongs to workflow 'report', not to 'other'"):
            await client.ensure_schedule("other", {"of": "a"}, id="s", interval=HOUR)
        assert await client.get_schedule("s") == moved


async def test_it_fires_by_the_clocks_of_its_zone(app: App, report: Any, run: Run) -> None:
    async with run(app, workers=0, scheduler=False) as fleet:
        await fleet.client.ensure_schedule(report, Report("a"), id="ny", cron="0 9 * * *", timezone="America/New_York")
        fires = await fleet.client.next_fires("ny")
        assert [fire.hour for fire in fires] == [9] * 5
        assert str(fires[0].tzinfo) == "America/New_York"
        await fleet.client.ensure_schedule(
            report,
            Report("a"),
            id="march",
            cron="0 9 * * *",
            timezone="America/New_York",
            start_at=datetime(2027, 3, 13, tzinfo=UTC),
        )
        fires = await fleet.client.next_fires("march", 2)
        assert [fire.astimezone(UTC).isoformat() for fire in fires] == [
            "2027-03-13T14:00:00+00:00",
            "2027-03-14T13:00:00+00:00",
        ]
        await fleet.client.pause_schedule("ny")
        assert await fleet.client.next_fires("ny") == []


BAD: list[dict[str, Any]] = [
    {},
    {"cron": "61 * * * *"},
    {"cron": "not cron"},
    {"cron": "* * * * * *"},
    {"cron": "0 0 31 2 *"},
    {"cron": "0 9 * * *", "timezone": "Mars/Olympus"},
    {"cron": "0 9 * * *", "interval": HOUR},
    {"interval": 0},
    {"interval": -5},
    {"interval": HOUR, "timezone": "Europe/Berlin"},
    {"interval": HOUR, "start_at": datetime(2027, 1, 1)},  # noqa: DTZ001 - that is the point
    {"interval": HOUR, "end_at": datetime(2027, 1, 1)},  # noqa: DTZ001 - that is the point
    {"interval": HOUR, "start_at": datetime(2027, 1, 2, tzinfo=UTC), "end_at": datetime(2027, 1, 1, tzinfo=UTC)},
    {"interval": HOUR, "overlap": "sometimes"},
    {"interval": HOUR, "catch_up": "all"},
    {"interval": HOUR, "catch_up": CatchUp(then="never")},  # type: ignore[arg-type]
    {"interval": HOUR, "catch_up": CatchUp(window=-1)},
    {"interval": HOUR, "jitter": -1},
    {"interval": HOUR, "max_runs": 0},
    {"interval": HOUR, "queue": "no queue"},
    {"interval": HOUR, "timeout": -1},
    {"interval": HOUR, "id": "a b"},
    {"interval": HOUR, "id": "a" * 151},
    {"interval": HOUR, "attributes": {"x": []}},
]


async def test_what_is_wrong_is_refused_with_nothing_stored(app: App, report: Any, run: Run) -> None:
    async with run(app, workers=0, scheduler=False) as fleet:
        client = fleet.client
        for options in BAD:
            with pytest.raises(UsageError):
                await client.ensure_schedule(report, Report("a"), **{"id": "s", **options})
        with pytest.raises(UnknownWorkflow):
            await client.ensure_schedule("missing", None, id="s", interval=HOUR)
        with pytest.raises(PayloadError):
            await client.ensure_schedule("report", {"of": object()}, id="s", interval=HOUR)
        with pytest.raises(TypeError, match="colour"):
            await client.ensure_schedule(report, Report("a"), id="s", interval=HOUR, colour="red")  # type: ignore[call-overload]
        assert await client.list_schedules() == []
        made = await client.ensure_schedule(report, Report("a"), id="s", interval=HOUR)
        for options in BAD[1:]:
            if "id" not in options and "attributes" not in options:
                with pytest.raises(UsageError):
                    await client.update_schedule("s", **options)
        assert await client.get_schedule("s") == made


async def test_one_that_is_not_there_is_named(app: App, report: Any, run: Run) -> None:
    async with run(app, workers=0, scheduler=False) as fleet:
        client = fleet.client
        now = datetime.now(UTC)
        calls = (
            client.get_schedule("s"),
            client.update_schedule("s", jitter=1),
            client.pause_schedule("s"),
            client.resume_schedule("s"),
            client.trigger_schedule("s"),
            client.backfill_schedule("s", now - HOUR, now - HOUR),
            client.next_fires("s"),
        )
        for call in calls:
            with pytest.raises(UnknownSchedule, match=f"{app.name}.*'s'"):
                await call
        assert not await client.remove_schedule("s")


async def test_they_are_listed_by_id_page_by_page(app: App, report: Any, run: Run) -> None:
    async with run(app, workers=0, scheduler=False) as fleet:
        ids = [f"s{n}" for n in range(7)]
        for id in reversed(ids):
            await fleet.client.ensure_schedule(report, Report("a"), id=id, interval=HOUR)
        first = await fleet.client.list_schedules(limit=4)
        rest = await fleet.client.list_schedules(limit=4, after=first[-1].id)
        assert [one.id for one in (*first, *rest)] == ids
        with pytest.raises(UsageError, match="limit"):
            await fleet.client.list_schedules(limit=0)


# -- while it runs ------------------------------------------------------------------------------------


async def test_it_runs_its_ticks_until_it_is_paused_and_from_the_next_on_when_resumed(
    app: App, report: Any, run: Run
) -> None:
    async with run(app) as fleet:
        client = fleet.client
        made = await client.ensure_schedule(report, Report("a"), id="s", interval=0.3)

        async def ran(runs: int) -> bool:
            return (await client.get_schedule("s")).runs >= runs

        await until(lambda: ran(3))
        await client.pause_schedule("s", note="holidays")
        paused = await client.get_schedule("s")
        assert (paused.paused, paused.note, paused.due_at) == (True, "holidays", None)
        at_rest = (await client.get_schedule("s")).runs
        await asyncio.sleep(1)
        assert (await client.get_schedule("s")).runs <= at_rest + 1, "but what was decided already"
        resumed = await client.resume_schedule("s")
        assert not resumed.paused
        assert resumed.due_at is not None
        assert (resumed.due_at - made.created_at) % 300 == 0, "on its grid"
        assert resumed.due_at - resumed.updated_at <= 300, "the next, not one later"
        await until(lambda: ran(resumed.runs + 2))
        ids = {one.id for one in (await client.executions(limit=1_000)).executions}
        missed = range(paused.grid_from + 600, resumed.due_at, 300)
        assert not ids & {execution_id("s", tick) for tick in missed}, "none is caught up"
        assert await client.wait((await client.get_schedule("s")).last_execution, 10) == "a"


async def test_a_removed_one_ticks_no_more(app: App, report: Any, run: Run) -> None:
    async with run(app) as fleet:
        client = fleet.client
        await client.ensure_schedule(report, Report("a"), id="s", interval=0.1)
        await until(lambda: _any(client))
        assert await client.remove_schedule("s")
        await asyncio.sleep(0.3)
        before = len((await client.executions(limit=1_000)).executions)
        await asyncio.sleep(0.5)
        assert len((await client.executions(limit=1_000)).executions) == before
        assert await client.list_schedules() == []


async def _any(client: Client) -> bool:
    return bool((await client.executions()).executions)


async def test_a_triggered_execution_runs_now_also_while_paused_and_counts_as_running(
    app: App, report: Any, run: Run
) -> None:
    async with run(app, workers=0) as fleet:
        client = fleet.client
        await client.ensure_schedule(report, Report("a"), id="s", interval=HOUR, overlap="skip")
        await client.pause_schedule("s")
        handle = await client.trigger_schedule("s")
        second = await client.trigger_schedule("s")
        kept = await client.get_schedule("s")
        assert kept.running == (handle.id, second.id)
        assert (kept.runs, kept.last_tick) == (0, None), "no tick was run"
        await fleet.add_worker()
        assert await handle.result(10) == "a"
        assert await second.result(10) == "a"

        async def nothing_runs() -> bool:
            return (await client.get_schedule("s")).running == ()

        await until(nothing_runs)


async def test_a_backfill_runs_each_tick_once_however_often_it_is_asked(app: App, report: Any, run: Run) -> None:
    told: list[tuple[int, int]] = []
    async with run(app) as fleet:
        client = fleet.client
        await client.ensure_schedule(report, Report("a"), id="s", cron="*/10 * * * *", timezone="Asia/Kolkata")
        start, end = datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC)
        handles = await client.backfill_schedule(
            "s", start, end, per_second=100, progress=lambda *done: told.append(done)
        )
        assert [handle.id for handle in handles[::12]] == ["s@20260301T100000Z", "s@20260301T120000Z"]
        assert [await handle.result(10) for handle in handles] == ["a"] * 13
        assert (told[0], told[-1]) == ((0, 13), (13, 13))
        again = await client.backfill_schedule("s", start - HOUR, end, per_second=1_000)
        assert [handle.id for handle in again[6:]] == [handle.id for handle in handles]
        assert [await handle.result(10) for handle in again] == ["a"] * 19
        assert len((await client.executions(limit=1_000)).executions) == 19
        kept = await client.get_schedule("s")
        assert (kept.runs, kept.revision) == (0, 1), "its own ticks go on as they were"
        for bad in ({"per_second": 0}, {"end": datetime.now(UTC) + HOUR}, {"start": datetime(1999, 1, 1, tzinfo=UTC)}):
            with pytest.raises(UsageError):
                await client.backfill_schedule(**{"id": "s", "start": start, "end": end, **bad})  # type: ignore[arg-type]


async def test_a_backfill_keeps_to_its_rate(app: App, report: Any, run: Run) -> None:
    async with run(app, workers=0, scheduler=False) as fleet:
        await fleet.client.ensure_schedule(report, Report("a"), id="s", interval=1)
        end = await clock(fleet.client)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await fleet.client.backfill_schedule("s", end - timedelta(seconds=60), end, per_second=100)
        assert 0.5 < loop.time() - began < 5
