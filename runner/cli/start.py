"""``runner start``: start an execution, and wait for it if asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from runner.cli.ending import follow
from runner.cli.exits import Exit
from runner.cli.options import Command, duration, instant, json_option
from runner.cli.output import put, put_json, say
from runner.cli.target import Target, connected, for_target
from runner.cli.values import input_for, read_json
from runner.client import Client
from runner.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be started, and what is wanted to be seen of it."""

    workflow: str
    input: Any
    options: dict[str, Any]
    later: dict[str, Any]
    wait: bool
    wait_timeout: timedelta | None
    as_json: bool


@click.command(cls=Command)
@click.argument("workflow")
@click.argument("input_json", metavar="[INPUT]", required=False)
@for_target
@click.option("--input", "input_option", metavar="INPUT", help="The input: JSON, @file, or - for standard input.")
@click.option("--id", help="The id of the execution: starting the same again gives the same execution.")
@click.option("--key", help="An idempotency key: as --id, for this workflow.")
@click.option("--delay", type=duration, help="Not before this much time, such as 90s or 1.5h.")
@click.option("--at", type=instant, help="Not before this moment, such as 2027-01-01T09:00:00Z.")
@click.option("--timeout", type=duration, help="The execution's own: from its start to its end.")
@click.option("--queue", help="Another queue than the workflow's.")
@click.option("--wait", is_flag=True, help="Wait for the end and print the result; exit 1 when there is none.")
@click.option("--wait-timeout", type=duration, help="Wait no longer than this; the execution goes on.")
@json_option
@click.pass_context
def start(
    ctx: click.Context,
    *,
    workflow: str,
    input_json: str | None,
    input_option: str | None,
    target: Target,
    id: str | None,
    key: str | None,
    delay: timedelta | None,
    at: datetime | None,
    timeout: timedelta | None,
    queue: str | None,
    wait: bool,
    wait_timeout: timedelta | None,
    as_json: bool,
) -> None:
    """Start an execution of WORKFLOW and print its id. INPUT is JSON, @file, or - for standard input.

    With --app the input is checked against the workflow's type here; with --namespace it is the workers' to check.
    """
    if input_json is not None and input_option is not None:
        raise UsageError("give the input once: as an argument or with --input")
    order = Order(
        workflow=workflow,
        input=read_json(input_json if input_option is None else input_option, what="input"),
        options={"id": id, "idempotency_key": key, "timeout": timeout, "queue": queue},
        later={name: value for name, value in (("delay", delay), ("at", at)) if value is not None},
        wait=wait or wait_timeout is not None,
        wait_timeout=wait_timeout,
        as_json=as_json,
    )
    ctx.exit(asyncio.run(_start(target, order)))


async def _start(target: Target, order: Order) -> Exit:
    async with connected(target, publishing=True) as client:
        # What is to start later is refused when its moment is long past; what is to start now has none.
        begin = client.schedule if order.later else client.start
        handle = await begin(order.workflow, _typed(client, order), **order.options, **order.later)
        if order.wait:
            say(f"started {handle.id}")
            return await follow(client, handle.id, order.wait_timeout, as_json=order.as_json)
        if order.as_json:
            put_json({"execution_id": handle.id})
        else:
            put(handle.id)
        return Exit.OK


def _typed(client: Client, order: Order) -> Any:
    workflow = client.app.find(order.workflow)
    return order.input if workflow is None else input_for(workflow, order.input)
