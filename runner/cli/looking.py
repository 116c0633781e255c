"""``runner executions history|steps|audit|tree``: one execution, seen from several sides."""

from __future__ import annotations

import asyncio

import click

from runner.cli import views
from runner.cli.options import Command, json_option
from runner.cli.output import put, put_json, put_table, put_text
from runner.cli.target import Target, connected, for_target
from runner.detail import AuditLine, StepLine
from runner.history_file import write_history
from runner.records import History
from runner.tree import Tree


@click.command("history", cls=Command)
@click.argument("id")
@for_target
@click.option("--json", "as_json", is_flag=True, help="A history file, with all payloads: `assert_replays` reads it.")
def history(*, id: str, target: Target, as_json: bool) -> None:
    """Show the journal of an execution, or write it as a file that can be replayed elsewhere."""
    found = asyncio.run(_history(target, id))
    if as_json:
        put_text(write_history(found))
    else:
        put_table(views.JOURNAL_HEADINGS, [views.entry_row(entry) for entry in found.entries])


async def _history(target: Target, id: str) -> History:
    async with connected(target, publishing=False) as client:
        return await client.history(id)


@click.command("steps", cls=Command)
@click.argument("id")
@for_target
@json_option
def steps(*, id: str, target: Target, as_json: bool) -> None:
    """Show the steps of an execution: attempts, durations, errors, and when those that failed are tried again."""
    found = asyncio.run(_steps(target, id))
    if as_json:
        put_json({"steps": [views.step_document(step) for step in found]})
    else:
        put_table(views.STEP_HEADINGS, [views.step_row(step) for step in found])


async def _steps(target: Target, id: str) -> tuple[StepLine, ...]:
    async with connected(target, publishing=False) as client:
        return await client.steps(id)


@click.command("audit", cls=Command)
@click.argument("id")
@for_target
@json_option
def audit(*, id: str, target: Target, as_json: bool) -> None:
    """Show the audit trail of an execution, oldest first: what happened to it, and who did it."""
    found = asyncio.run(_audit(target, id))
    if as_json:
        put_json({"audit": [views.audit_document(line) for line in found]})
    else:
        put_table(views.AUDIT_HEADINGS, [views.audit_row(line) for line in found])


async def _audit(target: Target, id: str) -> tuple[AuditLine, ...]:
    async with connected(target, publishing=False) as client:
        return await client.audit(id)


@click.command("tree", cls=Command)
@click.argument("id")
@for_target
@json_option
def tree(*, id: str, target: Target, as_json: bool) -> None:
    """Show an execution with its children, and theirs."""
    found = asyncio.run(_tree(target, id))
    if as_json:
        put_json(views.tree_document(found))
    else:
        for line in views.tree_lines(found):
            put(line)


async def _tree(target: Target, id: str) -> Tree:
    async with connected(target, publishing=False) as client:
        return await client.tree(id)


LOOKING = (history, steps, audit, tree)
