"""``runner schedules``: look at them, and change them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click

from runner.cli import timetable
from runner.cli.ensuring import ENSURING
from runner.cli.options import Command, json_option
from runner.cli.output import put, put_json, put_table, say
from runner.cli.target import Target, connected, for_target
from runner.cli.timetable import Look, looks_at
from runner.client import Client
from runner.errors import UnknownSchedule
from runner.records import Schedule


@click.group()
def schedules() -> None:
    """List, show, ensure, pause, resume, trigger, backfill and remove schedules."""


for _command in ENSURING:
    schedules.add_command(_command)


# -- looking ------------------------------------------------------------------------------------------


@schedules.command("list", cls=Command)
@for_target
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", default="", metavar="ID", help="Only those whose ids come behind this one.")
@json_option
def list_schedules(*, target: Target, limit: int, after: str, as_json: bool) -> None:
    """List schedules by id: when each fires next, how its last execution went, and how late it was."""
    looks = asyncio.run(_list(target, limit, after))
    if as_json:
        put_json({"schedules": [timetable.document(look) for look in looks]})
        return
    put_table(timetable.HEADINGS, [timetable.row(look) for look in looks])
    if len(looks) == limit:
        say(f"there may be more: --after {looks[-1].schedule.id}")


async def _list(target: Target, limit: int, after: str) -> list[Look]:
    async with connected(target, publishing=False) as client:
        return await looks_at(client, await client.list_schedules(limit=limit, after=after))


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@json_option
def show(*, id: str, target: Target, as_json: bool) -> None:
    """Show a schedule: what it was told, how it is, and the next five moments at which it fires, by its own clocks."""
    _put(asyncio.run(_looked(target, lambda client: client.get_schedule(id))), as_json=as_json)


# -- changing -----------------------------------------------------------------------------------------


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@click.option("--note", default="", help="Why: it is shown for as long as the schedule is paused.")
@json_option
def pause(*, id: str, target: Target, note: str, as_json: bool) -> None:
    """Run no tick of a schedule until it is resumed."""
    _put(asyncio.run(_looked(target, lambda client: client.pause_schedule(id, note))), as_json=as_json)


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@json_option
def resume(*, id: str, target: Target, as_json: bool) -> None:
    """Go on with a schedule's next regular tick; those since it was paused are not run."""
    _put(asyncio.run(_looked(target, lambda client: client.resume_schedule(id))), as_json=as_json)


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@json_option
def trigger(*, id: str, target: Target, as_json: bool) -> None:
    """Start an execution of a schedule now, beside its ticks, and print its id."""
    execution_id = asyncio.run(_trigger(target, id))
    if as_json:
        put_json({"execution_id": execution_id})
    else:
        put(execution_id)


async def _trigger(target: Target, id: str) -> str:
    async with connected(target, publishing=True) as client:
        return (await client.trigger_schedule(id)).id


@schedules.command(cls=Command)
@click.argument("id")
@for_target
@json_option
def remove(*, id: str, target: Target, as_json: bool) -> None:
    """Remove a schedule; what it has started goes on."""
    asyncio.run(_remove(target, id))
    if as_json:
        put_json({"removed": id})
    else:
        put(f"removed {id}")


async def _remove(target: Target, id: str) -> None:
    async with connected(target, publishing=False) as client:
        if not await client.remove_schedule(id):
            raise UnknownSchedule(f"namespace {client.app.name!r} has no schedule {id!r}")


# -- inside -------------------------------------------------------------------------------------------


async def _looked(target: Target, ask: Callable[[Client], Awaitable[Schedule]]) -> Look:
    async with connected(target, publishing=False) as client:
        (look,) = await looks_at(client, [await ask(client)])
        return look


def _put(look: Look, *, as_json: bool) -> None:
    if as_json:
        put_json(timetable.document(look))
        return
    put_table(timetable.HEADINGS, [timetable.row(look)])
    if look.fires:
        put_table(timetable.FIRE_HEADINGS, timetable.fire_rows(look))
    for note in timetable.notes(look):
        put(note)
