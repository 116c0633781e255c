"""``runner describe``: what a workflow would do, without doing any of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from runner.cli.exits import Exit
from runner.cli.options import Command, app_options, json_option
from runner.cli.output import put, put_json, say
from runner.cli.text import printable
from runner.cli.values import input_for, read_json
from runner.describe import Flow, Node, describe
from runner.describe.mermaid import mermaid
from runner.describe.words import words
from runner.errors import UsageError
from runner.loading import load_app


@click.command("describe", cls=Command)
@click.argument("workflow")
@click.argument("input_json", metavar="[INPUT]", required=False)
@app_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "mermaid"]),
    default="text",
    show_default=True,
    help="A tree for people, a document for programs, or a Mermaid flowchart.",
)
@json_option
@click.pass_context
def describe_workflow(
    ctx: click.Context,
    *,
    workflow: str,
    input_json: str | None,
    app: str,
    app_dir: Path | None,
    form: str,
    as_json: bool,
) -> None:
    """Show what WORKFLOW would do, step by step, without running any. INPUT is JSON, @file, or - for standard input.

    Opens nothing. Without INPUT the workflow's defaults are used, and without those a placeholder.
    """
    if as_json and form == "mermaid":
        raise UsageError("give --json or --format mermaid, not both")
    loaded = load_app(app, app_dir)
    definition = loaded.get(workflow)
    given = None if input_json is None else input_for(definition, read_json(input_json, what="input"))
    _put(describe(definition, given, known=loaded.find), "json" if as_json else form)
    ctx.exit(Exit.OK)


def _put(flow: Flow, form: str) -> None:
    if form == "json":
        put_json(document(flow))
        return
    if form == "mermaid":
        for line in mermaid(flow).splitlines():
            put(line)
    else:
        _put_tree(flow)
    if flow.truncated:
        say("there is more: only the first 1,000 nodes are shown")


# -- for programs --------------------------------------------------------------------------------------


def document(flow: Flow) -> dict[str, Any]:
    """The flow as JSON has it: durations in seconds, and of a node only what it has."""
    return {
        "workflow": flow.workflow,
        "version": flow.version,
        "nodes": [_node_document(node) for node in flow.nodes],
        "truncated": flow.truncated,
    }


def _node_document(node: Node) -> dict[str, Any]:
    facts = {
        "kind": node.kind,
        "id": node.id or None,
        "name": node.name or None,
        "compensates": node.compensates if node.kind == "step" else None,
        "duration_s": None if node.duration is None else node.duration.total_seconds(),
        "timeout_s": None if node.timeout is None else node.timeout.total_seconds(),
        "reason": node.reason or None,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    if not node.branches:
        return known
    arms = [{"id": arm.id, "nodes": [_node_document(one) for one in arm.nodes]} for arm in node.branches]
    return {**known, "branches": arms}


# -- for people ----------------------------------------------------------------------------------------


def _put_tree(flow: Flow) -> None:
    title = f"{flow.workflow} (version {flow.version})"
    if sys.stdout.isatty():
        _put_rich(title, flow.nodes)
    else:
        put(title)
        _put_plain(flow.nodes, 1)


def _put_plain(nodes: tuple[Node, ...], depth: int) -> None:
    for node in nodes:
        put("  " * depth + words(node))
        for arm in node.branches:
            put("  " * (depth + 1) + f"{arm.id}:")
            _put_plain(arm.nodes, depth + 2)


def _put_rich(title: str, nodes: tuple[Node, ...]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.text import Text  # noqa: PLC0415
    from rich.tree import Tree  # noqa: PLC0415

    def grow(tree: Tree, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            # Text, not markup: brackets in data are brackets.
            branch = tree.add(Text(printable(words(node)), style="red" if node.kind == "unknown" else ""))
            for arm in node.branches:
                grow(branch.add(Text(printable(arm.id), style="dim")), arm.nodes)

    tree = Tree(Text(printable(title), style="bold"))
    grow(tree, nodes)
    Console().print(tree)
