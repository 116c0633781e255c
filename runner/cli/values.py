"""JSON of the command line to the values that workflows take, and payloads back to what can be shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runner.app import App
from runner.attributes import Attribute
from runner.codec import decode, encode
from runner.errors import UsageError
from runner.failures import Failure
from runner.plain import plain
from runner.records import Execution
from runner.workflow import Workflow

#: Characters of JSON from the command line: more than any payload holds, and not so much that it fills the memory.
MAX_TEXT = 16 * 1024 * 1024


def read_json(text: str | None, *, what: str) -> Any:
    """The value of JSON text, of ``@file``, or of ``-`` (standard input); None for nothing. Raises UsageError."""
    if text is None:
        return None
    source = _source(text, what)
    if len(source) > MAX_TEXT:
        raise UsageError(f"{what}: more than {MAX_TEXT:,} characters; keep the data elsewhere and pass a reference")
    try:
        return json.loads(source)
    except (ValueError, RecursionError) as error:  # also a number that is too long for Python to read
        quoting = "; a text needs quotes of its own: '\"text\"'" if text is source else ""
        raise UsageError(f"{what} is no JSON: {error}{quoting}") from None


def _source(text: str, what: str) -> str:
    try:
        if text == "-":
            return sys.stdin.read(MAX_TEXT + 1)
        if text.startswith("@"):
            with Path(text[1:]).open(encoding="utf-8") as file:
                return file.read(MAX_TEXT + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what}: cannot read {text!r}: {error}") from None
    return text


def read_attributes(pairs: Iterable[str]) -> dict[str, Attribute]:
    """``name=value`` each: a value is JSON where it can be (7, true, "7"), else a text. Raises UsageError."""
    found: dict[str, Attribute] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--attribute {pair!r}: give name=value")
        found[name] = _scalar(text)
    return found


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def input_for(workflow: Workflow[Any, Any], value: Any) -> Any:
    """The JSON value as the workflow's input type. Raises PayloadError, naming the path that does not fit."""
    if not workflow.takes_input:
        return value
    return decode(encode(value, what="input"), workflow.input_type, what="input")


# -- what was stored, to be shown ------------------------------------------------------------------------


def shown_failure(failure: Failure | None) -> dict[str, Any] | None:
    """A recorded failure as a document."""
    if failure is None:
        return None
    facts = {"type": failure.type, "message": failure.message, "attempts": failure.attempts}
    return {**facts, "step": failure.step, "traceback": failure.traceback}


def result_shown(app: App, execution: Execution) -> Any:
    """A result, as the workflow's own type when the app is here."""
    workflow = app.find(execution.workflow, execution.version)
    return plain(execution.result, Any if workflow is None else workflow.output_type)
