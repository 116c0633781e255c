"""``runner schedules``: make them, look at them, hold them, and have their ticks run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import click

from runner.answers import all_answers
from runner.app import App
from runner.cli import schedule_views as views
from runner.cli.asking import confirm, yes_option
from runner.cli.backfilling import shown
from runner.cli.exits import Exit
from runner.cli.options import Command, instant, json_option
from runner.cli.output import as_json as json_text
from runner.cli.output import put, put_json, put_table, say
from runner.cli.schedule_options import CLEARABLE, definition_options, read_options
from runner.cli.schedule_views import Look, look_at
from runner.cli.target import Target, connected, for_target
from runner.cli.values import read_json
from runner.client import Client
from runner.errors import UsageError
from runner.records import Execution, Schedule

Act = Callable[[Client], Awaitable[Schedule]]


@click.group()
def schedules() -> None:
    """Make schedules, see when they fire and how they fare, pause, trigger and backfill them."""


async def _looks(client: Client, found: Sequence[Schedule]) -> list[Look]:
    now = await client.store.now()
    lasts = await all_answers(_last(client, one) for one in found)
    return [look_at(one, last, now) for one, last in zip(found, lasts, strict=True)]


async def _last(client: Client, schedule: Schedule) -> Execution | None:
    return await client.store.record(schedule.last_execution) if schedule.last_execution else None


# -- looking -------------------------------------------------------------------------------------------


@schedules.command("list", cls=Command)
@for_target
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", default="", metavar="ID", help="Go on behind this one.")
@json_option
def list_schedules(*, target: Target, limit: int, after: str, as_json: bool) -> None:
    """List schedules by id: state, last result, lag, and the next five times they fire, on their own clocks."""
    asyncio.run(_list(target, limit, after, as_json=as_json))


async def _list(target: Target, limit: int, after: str, *, as_json: bool) -> None:
    async with connected(target, publishing=False) as client:
        looks = await _looks(client, await client.list_schedules(limit=limit, after=after))
        more = looks[-1].schedule.id if len(looks) == limit else None
        if as_json:
            put_json({"schedules": [views.document(client.app, look) for look in looks], "after": more})
            return
        put_table(views.HEADINGS, [views.row(client.app, look) for look in looks])
        if more is not None:
            say(f"there may be more: --after {more}")


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@json_option
def show(*, id: str, target: Target, as_json: bool) -> None:
    """Show a schedule: how it is defined, how it fares, and when it fires next."""
    asyncio.run(_show(target, id, as_json=as_json))


async def _show(target: Target, id: str, *, as_json: bool) -> None:
    async with connected(target, publishing=False) as client:
        (look,) = await _looks(client, [await client.get_schedule(id)])
        if as_json:
            put_json(views.shown_document(client.app, look))
        else:
            _put_look(client.app, look)


def _put_look(app: App, look: Look) -> None:
    facts = {
        **views.shown_document(app, look),
        "state": views.state_text(look),
        "cadence": views.cadence_text(look.schedule),
    }
    put_table(
        ("field", "value"), [(name, _text(value)) for name, value in facts.items() if name not in _APART and value]
    )
    if look.fires:
        put("")
        put_table(views.FIRE_HEADINGS, [views.fire_row(fire, look.now) for fire in look.fires])


_APART = ("next_fires",)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


# -- making and changing -------------------------------------------------------------------------------


@schedules.command(cls=Command)
@click.argument("workflow")
@click.argument("input_json", metavar="[INPUT]", required=False)
@for_target
@click.option("--id", required=True, help="The id of the schedule; its executions are called <id>@<moment>.")
@click.option("--input", "input_option", metavar="INPUT", help="The input: JSON, @file, or - for standard input.")
@definition_options
@json_option
def ensure(
    *,
    workflow: str,
    input_json: str | None,
    target: Target,
    id: str,
    input_option: str | None,
    as_json: bool,
    **said: Any,
) -> None:
    """Have a schedule of WORKFLOW: made when there is none of this id, changed when it is another, else left alone.

    What is not said has its default, also where the schedule had something else: `update` changes only what is said.
    """
    if input_json is not None and input_option is not None:
        raise UsageError("give the input once: as an argument or with --input")
    value = read_json(input_json if input_option is None else input_option, what="input")
    options = read_options(said)
    _act(target, lambda client: client.ensure_schedule(workflow, value, id=id, **options), as_json=as_json)


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@click.option("--input", "input_json", metavar="INPUT", help="The new input: JSON, @file, or - for standard input.")
@definition_options
@click.option("--clear", type=click.Choice(CLEARABLE), multiple=True, help="Take this away; again for more.")
@json_option
def update(*, id: str, target: Target, input_json: str | None, as_json: bool, **said: Any) -> None:
    """Change what is said of a schedule, and nothing else. Its next tick moves only with its cadence."""
    value = {} if input_json is None else {"input": read_json(input_json, what="input")}

    async def change(client: Client) -> Schedule:
        options = read_options(said, await client.get_schedule(id))
        return await client.update_schedule(id, **value, **options)

    _act(target, change, as_json=as_json)


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@click.option("--note", default="", help="Why: everybody who looks sees it.")
@json_option
def pause(*, id: str, target: Target, note: str, as_json: bool) -> None:
    """Have no tick run until it is resumed. What runs already goes on."""
    _act(target, lambda client: client.pause_schedule(id, note), as_json=as_json)


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@json_option
def resume(*, id: str, target: Target, as_json: bool) -> None:
    """Have it fire again, from its next regular tick on; ticks of the pause do not run."""
    _act(target, lambda client: client.resume_schedule(id), as_json=as_json)


def _act(target: Target, act: Act, *, as_json: bool) -> None:
    asyncio.run(_acted(target, act, as_json=as_json))


async def _acted(target: Target, act: Act, *, as_json: bool) -> None:
    """Do it, and tell what the schedule is like then."""
    async with connected(target, publishing=False, changing=True) as client:
        (look,) = await _looks(client, [await act(client)])
        if as_json:
            put_json(views.document(client.app, look))
        else:
            when = f"  next {views.fires_text(look.fires[:1])}" if look.fires else ""
            put(f"{look.schedule.id}  {views.state_text(look)}{when}")


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@yes_option
@json_option
@click.pass_context
def remove(ctx: click.Context, *, id: str, target: Target, yes: bool, as_json: bool) -> None:
    """Remove a schedule. What it has started goes on."""
    confirm(f"Remove schedule {id}?", yes=yes)
    ctx.exit(asyncio.run(_remove(target, id, as_json=as_json)))


async def _remove(target: Target, id: str, *, as_json: bool) -> Exit:
    async with connected(target, publishing=False, changing=True) as client:
        removed = await client.remove_schedule(id)
    if as_json:
        put_json({"schedule_id": id, "removed": removed})
    if not removed:
        say(f"there is no schedule {id!r}")
    return Exit.OK if removed else Exit.NOT_FOUND


# -- running ticks -------------------------------------------------------------------------------------


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@json_option
def trigger(*, id: str, target: Target, as_json: bool) -> None:
    """Start an execution of it now, beside its ticks, and print the execution's id."""
    started = asyncio.run(_trigger(target, id))
    if as_json:
        put_json({"schedule_id": id, "execution_id": started})
    else:
        put(started)


async def _trigger(target: Target, id: str) -> str:
    async with connected(target, publishing=True) as client:
        return (await client.trigger_schedule(id)).id


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@click.option("--start", type=instant, required=True, help="From here, such as 2027-01-01T00:00:00Z.")
@click.option("--end", type=instant, required=True, help="To here, included; it must have come.")
@click.option(
    "--per-second",
    type=click.FloatRange(min=0, min_open=True),
    default=50.0,
    show_default=True,
    help="Start so many in a second at most.",
)
@json_option
def backfill(*, id: str, target: Target, start: datetime, end: datetime, per_second: float, as_json: bool) -> None:
    """Run the ticks from --start to --end that have not run. Repeating it is safe: a tick is one execution."""
    if end < start:
        raise UsageError("--end is before --start")
    ids = asyncio.run(_backfill(target, id, start, end, per_second))
    if as_json:
        put_json({"schedule_id": id, "executions": ids})
    else:
        put(f"{id}  {len(ids)} ticks run")


async def _backfill(target: Target, id: str, start: datetime, end: datetime, per_second: float) -> list[str]:
    async with connected(target, publishing=True) as client:
        with shown(id) as progress:
            handles = await client.backfill_schedule(id, start, end, per_second=per_second, progress=progress)
    return [handle.id for handle in handles]
