"""``runner queues``: what waits at the broker, and what nobody could read."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from runner.cli.dead_letters import DEAD_LETTERS, with_broker
from runner.cli.options import Command, json_option, names
from runner.cli.output import put_json, put_table, say
from runner.cli.target import Target, connected, for_target
from runner.fleet import lives, workers_of


@click.group()
def queues() -> None:
    """See what waits in the queues, and what nobody could read."""


for _command in DEAD_LETTERS:
    queues.add_command(_command)


@queues.command("list", cls=Command)
@for_target
@click.option("--queues", "asked", type=names, help="These, with commas between them. Default: all that are known.")
@json_option
def list_queues(*, target: Target, asked: tuple[str, ...] | None, as_json: bool) -> None:
    """List the queues of the app's workflows, of live workers, and those in which something is ready.

    `waiting` are hints at the broker (copies count), `ready` executions that nobody has claimed yet by the store: much more
    ready than waiting means that hints were lost (the scheduler sends them again). `workers` live and say that they serve it,
    `consumers` do by the broker.
    """
    found, letters, orphans = asyncio.run(_queues(target, asked))
    if as_json:
        put_json({"queues": found, "dead_letters": letters, "orphans": orphans})
        return
    put_table(("queue", "waiting", "ready", "workers", "consumers"), [_row(queue) for queue in found])
    say(f"{letters} dead letters, {orphans} hints for executions that the store does not know.")


async def _queues(target: Target, asked: tuple[str, ...] | None) -> tuple[list[dict[str, Any]], int, int]:
    """With the numbers of dead letters and of orphans."""
    async with connected(with_broker(target), publishing=True) as client:
        workers, now = await workers_of(client.store), await client.store.now()
        served = [queue for worker in workers if lives(worker, now) for queue in worker.queues]
        own = {workflow.queue for workflow in client.app.workflows()}
        ready = await client.store.backlog()
        vitals = await client.broker.vitals(asked or sorted({*own, *served, *ready}))
    found = [
        {
            "queue": one.queue,
            "waiting": one.waiting,
            "ready": ready.get(one.queue, 0),
            "workers": served.count(one.queue),
            "consumers": one.consumers,
        }
        for one in vitals.queues
    ]
    return found, vitals.dead_letters, vitals.orphans


def _row(queue: dict[str, Any]) -> tuple[str, ...]:
    waiting = "no such queue" if queue["waiting"] is None else str(queue["waiting"])
    return (queue["queue"], waiting, *(str(queue[name]) for name in ("ready", "workers", "consumers")))
