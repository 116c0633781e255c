"""``runner workers``: who is alive."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from runner.cli.options import Command, json_option
from runner.cli.output import moment, put_json, put_table
from runner.cli.target import Target, connected, for_target
from runner.fleet import workers_of
from runner.load import turns_per_minute
from runner.records import WorkerInfo

_HEADINGS = ("id", "build", "queues", "slots", "busy", "turns/min", "seen", "workflows")


@click.group()
def workers() -> None:
    """See which workers are alive."""


@workers.command("list", cls=Command)
@for_target
@json_option
def list_workers(
    *,
    target: Target,
    as_json: bool,
) -> None:
    """List the workers that were heard of within the last minute."""
    found = asyncio.run(_workers(target))
    if as_json:
        put_json({"workers": [_document(worker) for worker in found]})
    else:
        put_table(_HEADINGS, [_row(worker) for worker in found])


async def _workers(target: Target) -> list[WorkerInfo]:
    async with connected(target, publishing=False) as client:
        return await workers_of(client.store)


def _document(worker: WorkerInfo) -> dict[str, object]:
    return {
        "id": worker.id,
        "build": worker.build or None,
        "queues": worker.queues,
        "slots": worker.slots,
        "busy": worker.load.busy,
        "ended": {"within_ms": worker.load.over_ms, "turns": dict(worker.load.ended)},
        "long_steps": [asdict(step) for step in worker.load.steps],
        "seen_at": moment(worker.seen_at),
        "workflows": [{"name": name, "version": version} for name, version, *_ in worker.workflows],
    }


def _row(worker: WorkerInfo) -> tuple[str, ...]:
    known = ", ".join(f"{name} v{version}" for name, version, *_ in worker.workflows)
    seen = moment(worker.seen_at) or ""
    work = (str(worker.slots), str(worker.load.busy), f"{turns_per_minute(worker.load):.0f}")
    return (worker.id, worker.build, ", ".join(worker.queues), *work, seen, known)
