"""Schedules fire in a TestEnv, at their time, when time is moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runner import App, Context, Signal
from runner.testing import Stuck, TestEnv

BEGIN = datetime(2027, 3, 12, 15, tzinfo=UTC)
go = Signal[str]("go")


@pytest.fixture
def app() -> App:
    return App("kit")


async def test_a_week_of_mornings(app: App) -> None:
    ran: list[datetime] = []

    @app.workflow
    async def morning(ctx: Context) -> None:
        ran.append(ctx.now())

    async with TestEnv(app, now=BEGIN) as env:
        await env.client.ensure_schedule(morning, id="m", cron="0 9 * * *", timezone="America/New_York")
        await env.advance(days=7)
    assert [moment.hour for moment in ran] == [14, 13, 13, 13, 13, 13, 13], "the clocks change on the 14th"
    assert [moment.day for moment in ran] == [13, 14, 15, 16, 17, 18, 19]


async def test_they_fire_on_the_way_and_are_none_to_wait_for(app: App) -> None:
    ran: list[datetime] = []

    @app.workflow
    async def hourly(ctx: Context) -> None:
        ran.append(ctx.now())

    @app.workflow
    async def patient(ctx: Context) -> None:
        await ctx.sleep(timedelta(hours=5, minutes=30))
        await ctx.wait_for_signal(go)

    async with TestEnv(app, now=BEGIN, patience_s=0.2) as env:
        await env.client.ensure_schedule(hourly, id="h", cron="@hourly")
        handle = await env.client.start(patient)
        with pytest.raises(Stuck):
            await handle.result()
        assert [moment.hour for moment in ran] == [16, 17, 18, 19, 20]
        assert env.now == BEGIN + timedelta(hours=5, minutes=30)
