"""The end of an execution, as a command tells it: the result on stdout, an error on stderr and in the exit code."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from runner.cli.exits import Exit
from runner.cli.output import put_json, say
from runner.cli.values import result_shown, shown_failure
from runner.client import Client
from runner.endings import result_of
from runner.errors import ExecutionEnded
from runner.plain import failure_of
from runner.records import Execution, Status


async def follow(client: Client, execution_id: str, timeout: timedelta | None, *, as_json: bool) -> Exit:
    """Wait for the end and tell it. Raises WaitTimeout, UnknownExecution, StoreUnavailable."""
    with suppress(ExecutionEnded):  # told below, from the record
        # As plain values: an end must be told also where the code has changed since.
        await client.outcome_of(execution_id, Any, timeout)
    execution = await client.execution(execution_id)
    if as_json:
        put_json(ending_of(client, execution))
    elif execution.status is Status.COMPLETED:
        put_json(result_shown(client.app, execution))
    return tell_failure(client, execution)


def ending_of(client: Client, execution: Execution) -> dict[str, Any]:
    """The end of a terminal execution as one document."""
    return {
        "execution_id": execution.id,
        "status": execution.status,
        "result": result_shown(client.app, execution),
        "error": shown_failure(failure_of(execution.error)),
    }


def tell_failure(client: Client, execution: Execution) -> Exit:
    """Says on stderr why there is no result, when there is none."""
    try:
        result_of(execution, Any, client.app.errors)
    except ExecutionEnded as error:
        say(f"Error: {error}")
        return Exit.FAILED
    return Exit.OK
