"""``runner queues``: what waits at the broker, and what nobody could read."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import Any

import click

from runner.broker import DeadLetter
from runner.cli.backends import file_of
from runner.cli.options import Command, json_option, names
from runner.cli.output import put_json, put_table, say
from runner.cli.target import Target, connected, for_target
from runner.cli.text import shortened
from runner.errors import ConfigError
from runner.fleet import lives, workers_of
from runner.store.vitals import LOOKING

_BODY_WIDTH = 60


@click.group()
def queues() -> None:
    """See what waits in the queues, and what nobody could read."""


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
    async with connected(_with_broker(target), publishing=True) as client:
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


@queues.command("dead-letters", cls=Command)
@for_target
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def dead_letters(*, target: Target, limit: int, as_json: bool) -> None:
    """Look at the messages that nobody could read, or that the broker gave up on; they stay where they are."""
    letters, orphans = asyncio.run(_letters(target, limit))
    if as_json:
        put_json({"dead_letters": [_document(letter) for letter in letters], "orphans": orphans})
    else:
        rows = [(one.queue, one.reason, shortened(repr(one.body), _BODY_WIDTH)) for one in letters]
        put_table(("queue", "reason", "body"), rows)


@queues.command("replay", cls=Command)
@for_target
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True)
@json_option
def replay(*, target: Target, limit: int, as_json: bool) -> None:
    """Give dead letters back to the queues they came from; what no queue could use stays where it is.

    Those are hints, and events whose subscriber is still there: once what made it fail is mended.
    """
    given_back = asyncio.run(_replay(target, limit))
    if as_json:
        put_json({"replayed": given_back})
    else:
        say(f"{given_back} dead letters went back to their queues.")


async def _replay(target: Target, limit: int) -> int:
    async with connected(_with_broker(target), publishing=True) as client:
        return await client.broker.replay(limit)


async def _letters(target: Target, limit: int) -> tuple[list[DeadLetter], int]:
    async with connected(_with_broker(target), publishing=True) as client:
        return await client.broker.dead_letters(limit), await client.broker.orphans()


def _document(letter: DeadLetter) -> dict[str, str]:
    return {"queue": letter.queue, "reason": letter.reason, "body": base64.b64encode(letter.body).decode()}


def _with_broker(target: Target) -> Target:
    """Also for who publishes: the store is only looked at. Raises ConfigError for `runner dev`, whose queues are memory."""
    if file_of(target.store) is not None:
        raise ConfigError("`runner dev` keeps its queues in memory; this is for a broker that is a server of its own")
    return replace(target, demands=LOOKING)
