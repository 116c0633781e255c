"""Following one execution: what has changed between two looks, and how it is shown."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

from runner.cli import views
from runner.cli.ending import ending_of, tell_failure
from runner.cli.exits import Exit
from runner.cli.output import as_json as as_json_text
from runner.cli.output import moment, put, put_json_line
from runner.cli.text import printable
from runner.cli.values import result_shown
from runner.client import Client
from runner.records import Execution, History, Status

#: Progress inside an execution is announced by nobody: look this often.
LOOK_S = 0.25


async def watch_until_ended(client: Client, execution_id: str, *, as_json: bool) -> Exit:
    """Show every change until the end. Raises UnknownExecution, StoreUnavailable."""
    if as_json or not sys.stdout.isatty():
        execution = await _as_lines(client, execution_id)
        put_json_line({"event": "ended", **ending_of(client, execution)})
    else:
        execution = await _live(client, execution_id)
        if execution.status is Status.COMPLETED:
            put(f"result: {as_json_text(result_shown(client.app, execution))}")
    return tell_failure(client, execution)


def changes(before: History | None, now: History) -> Iterator[dict[str, Any]]:
    """What is new since the last look, in the order in which it happened; pure."""
    again = before is not None and before.execution.run == now.execution.run
    known = {entry.number for entry in before.entries} if before is not None and again else set[int]()
    for entry in now.entries:
        if entry.number not in known:
            yield {"event": "recorded", **views.entry_document(entry)}
    waiting = {wait.id: wait for wait in before.waits} if before is not None and again else {}
    for wait in now.waits:
        if waiting.get(wait.id) != wait:
            yield {"event": "waiting", **views.wait_document(wait)}
    if before is None or _state(before.execution) != _state(now.execution):
        yield {"event": "status", **_status_document(now)}


def _state(execution: Execution) -> tuple[object, ...]:
    return execution.status, execution.run, execution.attempt


def _status_document(history: History) -> dict[str, Any]:
    execution = history.execution
    return {
        "execution_id": execution.id,
        "status": execution.status,
        "run": execution.run,
        "attempt": execution.attempt,
        "at": moment(history.now),
    }


async def _looks(client: Client, execution_id: str) -> AsyncIterator[History]:
    while True:
        history = await client.history(execution_id)
        yield history
        if history.execution.status.terminal:
            return
        await asyncio.sleep(LOOK_S)


async def _as_lines(client: Client, execution_id: str) -> Execution:
    before: History | None = None
    async for history in _looks(client, execution_id):
        for change in changes(before, history):
            put_json_line(change)
        before = history
    return _last(before)


async def _live(client: Client, execution_id: str) -> Execution:
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

    last: History | None = None
    with Live(auto_refresh=False) as live:
        async for last in _looks(client, execution_id):
            live.update(_picture(last), refresh=True)
    return _last(last)


def _last(history: History | None) -> Execution:
    assert history is not None  # noqa: S101 - at least one look was taken
    return history.execution


def _picture(history: History) -> Any:
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    execution = history.execution
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "kind", "state", "attempts", "took", "value"):
        table.add_column(heading, overflow="fold")
    for row in _progress(history):
        table.add_row(*(Text(printable(cell)) for cell in row))
    return Group(Text(f"{execution.workflow} {execution.id}  {execution.status}", style="bold"), table)


def _progress(history: History) -> Iterator[tuple[str, ...]]:
    """What is done, then what is waited for."""
    for entry in history.entries:
        _, id, kind, outcome, attempts, _, took, value = views.entry_row(entry)
        yield id, kind, outcome, attempts, took, value
    for wait in history.waits:
        id, kind, name, _, deadline, attempts = views.wait_row(wait)
        yield id, kind, "waiting", attempts, "", f"{name} until {deadline}".strip()
