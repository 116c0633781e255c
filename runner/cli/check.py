"""``runner check``: load an app and say what is wrong with it, all at once, without connecting to anything."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from runner.app import App
from runner.cli.exits import Exit
from runner.cli.options import Command, app_options, json_option
from runner.cli.output import put_json, put_table, say
from runner.codec import resolve_hints, roundtrip
from runner.errors import PayloadError
from runner.loading import load_app
from runner.workflow import Workflow


@click.command(cls=Command)
@app_options
@json_option
@click.pass_context
def check(ctx: click.Context, *, app: str, app_dir: Path | None, as_json: bool) -> None:
    """Load an app, list its workflows, and look for mistakes. Opens nothing; exit 2 with all findings."""
    loaded = load_app(app, app_dir)
    found = list(findings(loaded))
    if as_json:
        workflows = [_document(workflow) for workflow in loaded.workflows()]
        put_json({"app": loaded.name, "workflows": workflows, "findings": found})
    else:
        put_table(_HEADINGS, [_row(workflow) for workflow in loaded.workflows()])
    for finding in found:
        say(f"Error: {finding}")
    ctx.exit(Exit.USAGE if found else Exit.OK)


def findings(app: App) -> Iterator[str]:
    """Everything that would go wrong only later."""
    if not app.workflows():
        yield f"app {app.name!r} has no workflow: import the modules that register them where it is made"
    for workflow in app.workflows():
        yield from _findings_of(workflow)


def _findings_of(workflow: Workflow[Any, Any]) -> Iterator[str]:
    what = f"workflow {workflow.name!r} version {workflow.version}"
    for name, annotation in getattr(workflow.fn, "__annotations__", {}).items():
        if isinstance(annotation, str) and _resolved(workflow, name) is Any:
            yield from _unresolvable(workflow, name, annotation, what)
    if workflow.defaults is not None:
        yield from _wrong_defaults(workflow, what)


def _resolved(workflow: Workflow[Any, Any], name: str) -> Any:
    hints = resolve_hints(workflow.fn)
    return hints.returns if name == "return" else hints.params.get(name)


def _unresolvable(workflow: Workflow[Any, Any], name: str, annotation: str, what: str) -> Iterator[str]:
    """It reads as Any: either it says so, or it leads nowhere and its values would not be rebuilt."""
    part = "its result" if name == "return" else f"{name!r}"
    try:
        one = SimpleNamespace(__annotations__={name: annotation})
        typing.get_type_hints(one, getattr(workflow.fn, "__globals__", {}))
    except Exception as error:  # noqa: BLE001 - an annotation is any expression: it can raise anything
        yield f"{what}: the annotation of {part}, {annotation!r}, cannot be resolved: {error}"


def _wrong_defaults(workflow: Workflow[Any, Any], what: str) -> Iterator[str]:
    if not workflow.takes_input:
        yield f"{what}: has defaults but takes no input"
        return
    try:
        roundtrip(workflow.defaults, workflow.input_type, what="defaults")
    except PayloadError as error:
        yield f"{what}: {error}"


_HEADINGS = ("workflow", "version", "queue", "input", "result", "signals", "category")


def _document(workflow: Workflow[Any, Any]) -> dict[str, Any]:
    return {
        "name": workflow.name,
        "version": workflow.version,
        "queue": workflow.queue,
        "input": type_shown(workflow.input_type) if workflow.takes_input else None,
        "result": type_shown(workflow.output_type),
        "signals": None if workflow.signals is None else sorted(workflow.signals),
        "category": workflow.category,
    }


def _row(workflow: Workflow[Any, Any]) -> tuple[str, ...]:
    signals = "any" if workflow.signals is None else ", ".join(sorted(workflow.signals)) or "none"
    return (
        workflow.name,
        str(workflow.version),
        workflow.queue,
        type_shown(workflow.input_type) if workflow.takes_input else "none",
        type_shown(workflow.output_type),
        signals,
        workflow.category or "",
    )


def type_shown(hint: Any) -> str:
    """A type as its author wrote it, more or less."""
    if hint is None or hint is type(None):
        return "None"
    return inspect.formatannotation(hint).removeprefix("typing.")
