"""``runner executions``: look at them, and reach them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from runner.app import App
from runner.cli import views
from runner.cli.exits import Exit
from runner.cli.looking import LOOKING
from runner.cli.operating import OPERATING
from runner.cli.options import Command, duration, json_option
from runner.cli.output import as_json as json_text
from runner.cli.output import put, put_json, put_table, say
from runner.cli.target import Target, connected, for_target
from runner.cli.values import read_attributes, read_json, result_shown
from runner.cli.watch import watch_until_ended
from runner.detail import unread
from runner.reader import no_status
from runner.records import ChildLink, History, Page, Status


@click.group()
def executions() -> None:
    """List, show, watch, signal and cancel executions, and help those that need an operator."""


for _command in (*LOOKING, *OPERATING):
    executions.add_command(_command)


def _run(ctx: click.Context, work: Coroutine[Any, Any, Exit]) -> None:
    ctx.exit(asyncio.run(work))


# -- list ----------------------------------------------------------------------------------------------


class StatusChoice(click.Choice[str]):
    """A status; for a word that is none but is looked for as one, it says where to find it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r}: {no_status(str(value))} (with --json).", param, ctx)


@executions.command("list", cls=Command)
@for_target
@click.option("--status", type=StatusChoice(list(map(str, Status))), help="Only in this status.")
@click.option("--workflow", help="Only of this workflow.")
@click.option("--since", type=duration, help="Only those created within this time, such as 1h or 2d.")
@click.option(
    "--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="Only with this one; again for more."
)
@click.option("--stuck", is_flag=True, help="Only those that need an operator: what they had done is not undone.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", help="Go on where the page before ended.")
@json_option
@click.pass_context
def list_executions(
    ctx: click.Context,
    *,
    target: Target,
    status: str | None,
    workflow: str | None,
    since: timedelta | None,
    attributes: tuple[str, ...],
    stuck: bool,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List executions, newest first."""
    created_after = None if since is None else datetime.now(UTC) - since
    filters = {
        "status": status,
        "workflow": workflow,
        "created_after": created_after,
        "attributes": read_attributes(attributes),
        "stuck": stuck,
        "limit": limit,
        "cursor": cursor,
    }
    _run(ctx, _list(target, filters, as_json=as_json))


async def _list(target: Target, filters: dict[str, Any], *, as_json: bool) -> Exit:
    async with connected(target, publishing=False) as client:
        page = await client.executions(**filters)
    if as_json:
        documents = [views.execution_document(execution) for execution in page.executions]
        put_json({"executions": documents, "cursor": page.cursor, "unreadable": dict(page.unreadable)})
    else:
        _put_page(page)
    return Exit.OK


def _put_page(page: Page) -> None:
    put_table(views.EXECUTION_HEADINGS, [views.execution_row(execution) for execution in page.executions])
    for id, why in page.unreadable.items():
        say(f"left out: {id}: {why}")
    if page.cursor is not None:
        say(f"there are more: --cursor {page.cursor}")


# -- show ----------------------------------------------------------------------------------------------


@executions.command(cls=Command)
@click.argument("id")
@for_target
@json_option
@click.pass_context
def show(
    ctx: click.Context,
    *,
    id: str,
    target: Target,
    as_json: bool,
) -> None:
    """Show an execution: its record, its journal, what it waits for, and how it ended."""
    _run(ctx, _show(target, id, as_json=as_json))


async def _show(target: Target, id: str, *, as_json: bool) -> Exit:
    async with connected(target, publishing=False) as client:
        history = await client.history(id)
        children = await client.store.children(id)
    if as_json:
        put_json(views.history_document(client.app, history, children))
    else:
        _put_history(client.app, history, children)
    return Exit.OK


def _put_history(app: App, history: History, children: Sequence[ChildLink]) -> None:
    document = views.history_document(app, history, children)
    facts = {name: document[name] for name in (*views.execution_document(history.execution), *_FACTS)}
    put_table(("field", "value"), [(name, _text(value)) for name, value in facts.items() if value is not None])
    _put_part(views.JOURNAL_HEADINGS, [views.entry_row(entry) for entry in history.entries])
    _put_part(views.WAIT_HEADINGS, [views.wait_row(wait) for wait in history.waits])
    _put_part(views.INBOX_HEADINGS, [views.inbox_row(item) for item in unread(history)])
    _put_part(views.CHILD_HEADINGS, [views.child_row(child) for child in children])
    execution = history.execution
    if execution.result is not None:
        put("")
        put(f"result: {json_text(result_shown(app, execution))}")
    if document["error"] is not None:
        put("")
        put(f"error: {document['error']['type']}: {document['error']['message']}")
        for line in document["error"]["traceback"].splitlines():
            put(line)


_FACTS = ("position", "next_at", "input")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _put_part(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        put("")
        put_table(headings, rows)


# -- signal --------------------------------------------------------------------------------------------


@executions.command(cls=Command)
@click.argument("id")
@click.argument("name")
@click.argument("payload", required=False)
@for_target
@click.option("--dedup-id", help="The same signal with the same id again is one signal.")
@json_option
@click.pass_context
def signal(
    ctx: click.Context,
    *,
    id: str,
    name: str,
    payload: str | None,
    target: Target,
    dedup_id: str | None,
    as_json: bool,
) -> None:
    """Send signal NAME to an execution. PAYLOAD is JSON, @file, or - for standard input."""
    value = read_json(payload, what="payload")
    _run(ctx, _signal(target, id, name, value, dedup_id, as_json=as_json))


async def _signal(target: Target, id: str, name: str, value: Any, dedup_id: str | None, *, as_json: bool) -> Exit:
    async with connected(target, publishing=True) as client:
        delivered = await client.signal(id, name, value, dedup_id=dedup_id)
    return _tell_delivery(id, delivered, as_json=as_json)


def _tell_delivery(id: str, delivered: bool, *, as_json: bool) -> Exit:
    if as_json:
        put_json({"execution_id": id, "delivered": delivered})
    if not delivered:
        say(f"execution {id} has ended: no effect")
    return Exit.OK if delivered else Exit.FAILED


# -- cancel --------------------------------------------------------------------------------------------


@executions.command(cls=Command)
@click.argument("id")
@for_target
@click.option("--reason", help="Kept with the execution.")
@json_option
@click.pass_context
def cancel(
    ctx: click.Context,
    *,
    id: str,
    target: Target,
    reason: str | None,
    as_json: bool,
) -> None:
    """Ask an execution to end; its code may still clean up."""
    _run(ctx, _cancel(target, id, reason, as_json=as_json))


async def _cancel(target: Target, id: str, reason: str | None, *, as_json: bool) -> Exit:
    async with connected(target, publishing=True) as client:
        delivered = await client.cancel(id, reason)
    return _tell_delivery(id, delivered, as_json=as_json)


# -- watch ---------------------------------------------------------------------------------------------


@executions.command(cls=Command)
@click.argument("id")
@for_target
@json_option
@click.pass_context
def watch(
    ctx: click.Context,
    *,
    id: str,
    target: Target,
    as_json: bool,
) -> None:
    """Follow an execution until it ends: live on a terminal, as JSON lines otherwise. Exit 1 when it has no result."""
    _run(ctx, _watch(target, id, as_json=as_json))


async def _watch(target: Target, id: str, *, as_json: bool) -> Exit:
    async with connected(target, publishing=False) as client:
        return await watch_until_ended(client, id, as_json=as_json)
