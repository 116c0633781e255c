"""``runner queues``: what waits at the broker, and what nobody could read."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import click

from runner.broker import DeadLetter
from runner.cli.backends import file_of
from runner.cli.options import Command, json_option, names
from runner.cli.output import put_json, put_table
from runner.cli.target import Target, connected, for_target
from runner.cli.text import shortened
from runner.errors import ConfigError

_WORKERS_SEEN_MS = 60_000
_BODY_WIDTH = 60


@click.group()
def queues() -> None:
    """See what waits in the queues, and what nobody could read."""


@queues.command("list", cls=Command)
@for_target
@click.option("--queues", "asked", type=names, help="These, with commas between them. Default: all that are known.")
@json_option
def list_queues(*, target: Target, asked: tuple[str, ...] | None, as_json: bool) -> None:
    """List the queues of the app's workflows and of live workers: hints that wait, workers that serve them."""
    found = asyncio.run(_queues(target, asked))
    if as_json:
        put_json({"queues": found})
    else:
        put_table(("queue", "waiting", "workers"), [_row(queue) for queue in found])


async def _queues(target: Target, asked: tuple[str, ...] | None) -> list[dict[str, Any]]:
    async with connected(_with_broker(target), publishing=True) as client:
        served = [queue for worker in await client.store.workers(_WORKERS_SEEN_MS) for queue in worker.queues]
        own = {workflow.queue for workflow in client.app.workflows()}
        return [
            {"queue": queue, "waiting": await client.broker.depth(queue), "workers": served.count(queue)}
            for queue in asked or sorted({*own, *served})
        ]


def _row(queue: dict[str, Any]) -> tuple[str, ...]:
    waiting = "no such queue" if queue["waiting"] is None else str(queue["waiting"])
    return (queue["queue"], waiting, str(queue["workers"]))


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


async def _letters(target: Target, limit: int) -> tuple[list[DeadLetter], int]:
    async with connected(_with_broker(target), publishing=True) as client:
        return await client.broker.dead_letters(limit), await client.broker.orphans()


def _document(letter: DeadLetter) -> dict[str, str]:
    return {"queue": letter.queue, "reason": letter.reason, "body": base64.b64encode(letter.body).decode()}


def _with_broker(target: Target) -> Target:
    """Raises ConfigError for `runner dev`, whose queues are memory of its process."""
    if file_of(target.store) is not None:
        raise ConfigError("`runner dev` keeps its queues in memory; this is for a broker that is a server of its own")
    return target
