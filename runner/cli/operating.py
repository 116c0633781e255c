"""``runner executions retry|skip-step|edit-step|force-fail|retry-rollback|fork``: what an operator does, by name."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from runner.cli.asking import confirm, yes_option
from runner.cli.options import Command, json_option, option
from runner.cli.output import put, put_json
from runner.cli.target import Target, connected, for_target
from runner.cli.values import read_json
from runner.errors import UsageError
from runner.operator import Operator
from runner.records import Status

C = TypeVar("C", bound=Callable[..., Any])


def _actor(command: C) -> C:
    return option(
        "--actor", variable="RUNNER_ACTOR", help="Who does this, for the audit trail. Default: your login name."
    )(command)


@click.command("retry", cls=Command)
@click.argument("id")
@for_target
@_actor
@json_option
def retry(*, id: str, target: Target, actor: str | None, as_json: bool) -> None:
    """Try a failed execution again, without the failure that ended it; or end the pauses before the retries of a live one."""
    _act(target, id, lambda operator: operator.retry(id, actor=who(actor)), as_json=as_json)


@click.command("skip-step", cls=Command)
@click.argument("id")
@click.argument("step")
@click.argument("value", required=False)
@for_target
@_actor
@yes_option
@json_option
def skip_step(
    *, id: str, step: str, value: str | None, target: Target, actor: str | None, yes: bool, as_json: bool
) -> None:
    """Give STEP, which failed or is under way, VALUE for its result, without running it.

    VALUE is JSON, @file, or - for standard input; nothing is null. A failed execution goes on with `retry`.
    """
    given = read_json(value, what="value")
    confirm(f"Have step {step!r} of execution {id} never run again?", yes=yes)
    _act(target, id, lambda operator: operator.skip_step(id, step, value=given, actor=who(actor)), as_json=as_json)


@click.command("edit-step", cls=Command)
@click.argument("id")
@click.argument("step")
@click.argument("value")
@for_target
@_actor
@yes_option
@json_option
def edit_step(*, id: str, step: str, value: str, target: Target, actor: str | None, yes: bool, as_json: bool) -> None:
    """Put VALUE in the place of what STEP has recorded. VALUE is JSON, @file, or - for standard input."""
    given = read_json(value, what="value")
    confirm(f"Replace what step {step!r} of execution {id} has recorded?", yes=yes)
    _act(target, id, lambda operator: operator.edit_step(id, step, given, actor=who(actor)), as_json=as_json)


@click.command("force-fail", cls=Command)
@click.argument("id")
@for_target
@click.option("--reason", required=True, help="Told to whoever waits, and kept.")
@_actor
@yes_option
@json_option
def force_fail(*, id: str, target: Target, reason: str, actor: str | None, yes: bool, as_json: bool) -> None:
    """End a live execution as failed, here and now; nothing it has done is undone. `cancel` lets it clean up."""
    confirm(f"End execution {id} as failed, without undoing anything?", yes=yes)
    _act(target, id, lambda operator: operator.force_fail(id, reason, actor=who(actor)), as_json=as_json)


@click.command("retry-rollback", cls=Command)
@click.argument("id")
@for_target
@_actor
@yes_option
@json_option
def retry_rollback(*, id: str, target: Target, actor: str | None, yes: bool, as_json: bool) -> None:
    """Run the outstanding compensations of an execution that has ended, and nothing else."""
    confirm(f"Undo what execution {id} has left done?", yes=yes)
    _act(target, id, lambda operator: operator.retry_rollback(id, actor=who(actor)), as_json=as_json)


@click.command("fork", cls=Command)
@click.argument("id")
@click.argument("step")
@for_target
@click.option("--id", "new_id", help="The id of the new execution. Default: a fresh one.")
@_actor
@json_option
def fork(*, id: str, step: str, target: Target, new_id: str | None, actor: str | None, as_json: bool) -> None:
    """Start a new execution that has behind it what ID recorded before STEP, and print its id. ID stays as it is."""
    forked = asyncio.run(_fork(target, id, step, new_id, who(actor)))
    if as_json:
        put_json({"execution_id": forked, "origin": id})
    else:
        put(forked)


async def _fork(target: Target, id: str, step: str, new_id: str | None, actor: str) -> str:
    async with connected(target, publishing=True) as client:
        return (await client.operator.fork(id, step, new_id=new_id, actor=actor)).id


def _act(target: Target, id: str, act: Callable[[Operator], Awaitable[Status]], *, as_json: bool) -> None:
    status = asyncio.run(_acted(target, act))
    if as_json:
        put_json({"execution_id": id, "status": status})
    else:
        put(f"{id}  {status}")


async def _acted(target: Target, act: Callable[[Operator], Awaitable[Status]]) -> Status:
    async with connected(target, publishing=True) as client:
        return await act(client.operator)


def who(actor: str | None) -> str:
    """The actor, or who is logged in. Raises UsageError where neither is known."""
    try:
        return actor or getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("who does this? This system has no name for you: give --actor") from None


OPERATING = (retry, skip_step, edit_step, force_fail, retry_rollback, fork)
