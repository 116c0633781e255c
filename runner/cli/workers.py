"""``runner workers``: who is alive, and who died a while ago."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from runner.cli.options import Command, json_option
from runner.cli.output import moment, put_json, put_table
from runner.cli.target import Target, connected, for_target
from runner.fleet import heard_of, lives
from runner.load import turns_per_minute
from runner.records import WorkerInfo

_HEADINGS = ("id", "state", "host", "pid", "build", "queues", "slots", "busy", "turns/min", "seen", "workflows")


@click.group()
def workers() -> None:
    """See which workers are alive, and which died a while ago."""


@workers.command("list", cls=Command)
@for_target
@json_option
def list_workers(
    *,
    target: Target,
    as_json: bool,
) -> None:
    """List the workers that are alive, and those that have gone within the last ten minutes without leaving in good order."""
    found, now = asyncio.run(_workers(target))
    if as_json:
        put_json({"workers": [_document(worker, now) for worker in found]})
    else:
        put_table(_HEADINGS, [_row(worker, now) for worker in found])


async def _workers(target: Target) -> tuple[list[WorkerInfo], int]:
    """With the store's time of the look."""
    async with connected(target, publishing=False) as client:
        return await heard_of(client.store), await client.store.now()


def _document(worker: WorkerInfo, now: int) -> dict[str, object]:
    return {
        "id": worker.id,
        "state": "live" if lives(worker, now) else "gone",
        "host": worker.host or None,
        "pid": worker.pid or None,
        "build": worker.build or None,
        "queues": worker.queues,
        "slots": worker.slots,
        "busy": worker.load.busy,
        "ended": {"within_ms": worker.load.over_ms, "turns": dict(worker.load.ended)},
        "long_steps": [asdict(step) for step in worker.load.steps],
        "seen_at": moment(worker.seen_at),
        "workflows": [{"name": name, "version": version} for name, version, *_ in worker.workflows],
    }


def _row(worker: WorkerInfo, now: int) -> tuple[str, ...]:
    known = ", ".join(f"{name} v{version}" for name, version, *_ in worker.workflows)
    seen = moment(worker.seen_at) or ""
    work = (str(worker.slots), str(worker.load.busy), f"{turns_per_minute(worker.load):.0f}")
    state = "live" if lives(worker, now) else f"gone since {seen}"
    place = (state, worker.host, str(worker.pid or ""))
    return (worker.id, *place, worker.build, ", ".join(worker.queues), *work, seen, known)
