"""``runner schedules ensure|backfill``: what takes more than an id."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from runner.cli import timetable
from runner.cli.options import Command, duration, instant, json_option
from runner.cli.output import put, put_json, put_table
from runner.cli.target import Target, connected, for_target
from runner.cli.timetable import Look, looks_at
from runner.cli.values import input_for, read_attributes, read_json
from runner.errors import UsageError
from runner.records import Overlap
from runner.schedules import CatchUp
from runner.scheduling import Progress


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """What a schedule is told beside its workflow and its id."""
    options = (
        click.option("--cron", metavar="EXPRESSION", help="Five fields, or @daily and the like."),
        click.option("--interval", type=duration, help="In the place of --cron: such as 90s or 1.5h."),
        click.option("--timezone", default="UTC", show_default=True, help="Whose clocks --cron means."),
        click.option(
            "--overlap",
            type=click.Choice([str(policy) for policy in Overlap]),
            default=str(Overlap.ALLOW),
            show_default=True,
            help="What a tick does while an execution of an earlier one runs.",
        ),
        click.option("--all-within", type=duration, default="60s", help="Each tick late by at most this runs. [60s]"),
        click.option(
            "--then",
            type=click.Choice(["latest", "all", "skip"]),
            default="latest",
            show_default=True,
            help="Which of the older ones run.",
        ),
        click.option("--window", type=duration, default="1h", help="Of ticks later than this none runs. [1h]"),
        click.option("--jitter", type=duration, default="0s", help="Each tick is late by up to this."),
        click.option(
            "--start-at", type=instant, metavar="MOMENT", help="No tick before this, such as 2027-03-13T09:00Z."
        ),
        click.option("--end-at", type=instant, metavar="MOMENT", help="No tick after this."),
        click.option("--max-runs", type=click.IntRange(min=1), help="Not more executions than this."),
        click.option("--timeout", type=duration, help="Of each execution, from its start to its end."),
        click.option("--queue", help="Another queue than the workflow's."),
        click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="Of each execution."),
    )
    for add in reversed(options):
        command = add(command)
    return command


@click.command(cls=Command)
@click.argument("workflow")
@click.argument("input_json", metavar="[INPUT]", required=False)
@for_target
@click.option("--id", required=True, help="The id of the schedule.")
@_options
@json_option
def ensure(*, workflow: str, input_json: str | None, target: Target, id: str, as_json: bool, **options: Any) -> None:
    """Have a schedule for WORKFLOW as it is said here. INPUT is JSON, @file, or - for standard input.

    With the cadence unchanged its next tick does not move.
    """
    look = asyncio.run(_ensure(target, workflow, read_json(input_json, what="input"), id, _said(options)))
    if as_json:
        put_json(timetable.document(look))
    else:
        put_table(timetable.HEADINGS, [timetable.row(look)])
        put_table(timetable.FIRE_HEADINGS, timetable.fire_rows(look))


def _said(options: dict[str, Any]) -> dict[str, Any]:
    """The options as the client takes them."""
    policy = CatchUp(all_within=options.pop("all_within"), then=options.pop("then"), window=options.pop("window"))
    return {**options, "catch_up": policy, "attributes": read_attributes(options["attributes"])}


async def _ensure(target: Target, workflow: str, input: Any, id: str, options: dict[str, Any]) -> Look:
    async with connected(target, publishing=False) as client:
        known = client.app.find(workflow)
        typed = input if known is None else input_for(known, input)
        (look,) = await looks_at(client, [await client.ensure_schedule(workflow, typed, id=id, **options)])
        return look


# -- backfill -----------------------------------------------------------------------------------------


@click.command(cls=Command)
@click.argument("id")
@for_target
@click.option("--from", "start", type=instant, required=True, metavar="MOMENT", help="Such as 2027-03-13T09:00Z.")
@click.option("--to", "end", type=instant, required=True, metavar="MOMENT", help="Included, as --from is.")
@click.option("--per-second", type=click.FloatRange(min=0, min_open=True), default=50.0, show_default=True)
@json_option
def backfill(*, id: str, target: Target, start: datetime, end: datetime, per_second: float, as_json: bool) -> None:
    """Run the ticks of a schedule between two moments that have not run; print the ids of the executions of all.

    Doing it again runs none again.
    """
    if end < start:
        raise UsageError("--to is before --from")
    ids = asyncio.run(_backfill(target, id, start, end, per_second))
    if as_json:
        put_json({"executions": ids})
    else:
        for one in ids:
            put(one)


async def _backfill(target: Target, id: str, start: datetime, end: datetime, per_second: float) -> list[str]:
    async with connected(target, publishing=True) as client:
        handles = await client.backfill_schedule(id, start, end, per_second=per_second, progress=_bar())
    return [handle.id for handle in handles]


def _bar() -> Progress | None:
    """A bar on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        return None
    bars: list[Any] = []

    def progress(done: int, total: int) -> None:
        if not bars:
            bars.append(click.progressbar(length=total, label="backfill", file=sys.stderr))
        bars[0].update(done - bars[0].pos)
        if done == total:
            bars[0].render_finish()

    return progress


ENSURING = (ensure, backfill)
