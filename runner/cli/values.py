"""JSON of the command line to the values that workflows take, and payloads back to what can be shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.app import App
from runner.codec import decode, encode
from runner.errors import PayloadError, UsageError
from runner.failures import Failure
from runner.records import Execution
from runner.workflow import Workflow


def read_json(text: str | None, *, what: str) -> Any:
    """The value of JSON text, of ``@file``, or of ``-`` (standard input); None for nothing. Raises UsageError."""
    if text is None:
        return None
    source = _source(text, what)
    try:
        return json.loads(source)
    except (json.JSONDecodeError, RecursionError) as error:
        quoting = "; a text needs quotes of its own: '\"text\"'" if text is source else ""
        raise UsageError(f"{what} is no JSON: {error}{quoting}") from None


def _source(text: str, what: str) -> str:
    try:
        if text == "-":
            return sys.stdin.read()
        if text.startswith("@"):
            return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what}: cannot read {text!r}: {error}") from None
    return text


def input_for(workflow: Workflow[Any, Any], value: Any) -> Any:
    """The JSON value as the workflow's input type. Raises PayloadError, naming the path that does not fit."""
    if not workflow.takes_input:
        return value
    return decode(encode(value, what="input"), workflow.input_type, what="input")


# -- what was stored, to be shown ------------------------------------------------------------------------


def shown(payload: bytes | None) -> Any:
    """A payload as plain values; one that cannot be read says so, for looking must never fail."""
    return None if payload is None else _readable(payload, decode)


def shown_failure(error: bytes | None) -> dict[str, Any] | None:
    """A recorded failure, without its traceback."""
    if error is None:
        return None
    failure = _readable(error, Failure.unpack)
    return _facts(failure) if isinstance(failure, Failure) else {"type": "", "message": failure, "traceback": ""}


def _facts(failure: Failure) -> dict[str, Any]:
    facts = {"type": failure.type, "message": failure.message, "attempts": failure.attempts}
    return {**facts, "step": failure.step, "traceback": failure.traceback}


def _readable(payload: bytes, read: Callable[[bytes], Any]) -> Any:
    try:
        return read(payload)
    except (PayloadError, ValueError, TypeError) as error:
        return f"({len(payload)} bytes that this version cannot read: {error})"


def result_shown(app: App, execution: Execution) -> Any:
    """A result, as the workflow's own type when the app is here."""
    workflow = app.find(execution.workflow, execution.version)
    if workflow is None or execution.result is None:
        return shown(execution.result)
    output_type = workflow.output_type
    return _readable(execution.result, lambda payload: decode(payload, output_type))
