"""Executions as documents for programs, and as rows for tables."""

from __future__ import annotations

from typing import Any

from runner.app import App
from runner.cli.output import as_json, moment, span
from runner.cli.text import shortened
from runner.cli.values import result_shown, shown, shown_failure
from runner.records import (
    Entry,
    Execution,
    History,
    InboxItem,
    Wait,
)

_VALUE_WIDTH = 60

EXECUTION_HEADINGS = ("id", "workflow", "version", "status", "queue", "created", "ended")
JOURNAL_HEADINGS = ("#", "id", "kind", "outcome", "attempts", "started", "took", "value")
WAIT_HEADINGS = ("waits for", "kind", "name", "since", "deadline", "attempts")
INBOX_HEADINGS = ("#", "kind", "name", "arrived", "payload")


def execution_document(execution: Execution) -> dict[str, Any]:
    """The record, without payloads."""
    return {
        "id": execution.id,
        "workflow": execution.workflow,
        "version": execution.version,
        "queue": execution.queue,
        "status": execution.status,
        "cause": execution.cause or None,
        "key": execution.key,
        "run": execution.run,
        "attempt": execution.attempt,
        "crashes": execution.crashes,
        "created_at": moment(execution.created_at),
        "started_at": moment(execution.started_at),
        "ended_at": moment(execution.ended_at),
        "deadline": moment(execution.deadline),
        "worker": execution.worker or None,
        "lease_until": moment(execution.lease_until),
        "cancel_reason": execution.reason or None,
        "passed_over": execution.passed or None,
    }


def execution_row(execution: Execution) -> tuple[str, ...]:
    return (
        execution.id,
        execution.workflow,
        str(execution.version),
        execution.status,
        execution.queue,
        moment(execution.created_at) or "",
        moment(execution.ended_at) or "",
    )


def history_document(app: App, history: History) -> dict[str, Any]:
    """All there is to know of an execution."""
    execution = history.execution
    return {
        **execution_document(execution),
        "input": shown(execution.input),
        "journal": [entry_document(entry) for entry in history.entries],
        "waits": [wait_document(wait) for wait in history.waits],
        "unread": [inbox_document(item) for item in unread(history)],
        "result": result_shown(app, execution),
        "error": shown_failure(execution.error),
    }


# -- the journal ---------------------------------------------------------------------------------------


def entry_document(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "id": entry.id,
        "kind": entry.kind,
        "outcome": entry.outcome,
        "attempts": entry.attempts,
        "started_at": moment(entry.started_at or None),
        "at": moment(entry.at),
        "duration_ms": _took(entry),
        **({"error": shown_failure(entry.payload)} if entry.outcome == "failed" else {"value": _value(entry)}),
    }


def entry_row(entry: Entry) -> tuple[str, ...]:
    took = _took(entry)
    return (
        str(entry.number),
        entry.id,
        entry.kind,
        entry.outcome,
        str(entry.attempts) if entry.kind == "step" else "",
        moment(entry.started_at or entry.at) or "",
        "" if took is None else span(took),
        _summary(entry),
    )


def _took(entry: Entry) -> int | None:
    return entry.at - entry.started_at if entry.started_at else None


def _value(entry: Entry) -> Any:
    return shown(entry.payload or None)


def _summary(entry: Entry) -> str:
    if entry.outcome == "failed":
        error = shown_failure(entry.payload) or {}
        return shortened(f"{error['type']}: {error['message']}", _VALUE_WIDTH)
    return shortened(as_json(_value(entry)), _VALUE_WIDTH) if entry.payload else ""


# -- what it waits for ---------------------------------------------------------------------------------


def wait_document(wait: Wait) -> dict[str, Any]:
    return {
        "id": wait.id,
        "kind": wait.kind,
        "name": wait.name or None,
        "opened_at": moment(wait.opened_at),
        "deadline": moment(wait.deadline),
        "attempts": wait.attempts,
    }


def wait_row(wait: Wait) -> tuple[str, ...]:
    return (
        wait.id,
        wait.kind,
        shortened(wait.name, _VALUE_WIDTH),
        moment(wait.opened_at) or "",
        moment(wait.deadline) or "none",
        str(wait.attempts) if wait.kind == "retry" else "",
    )


def unread(history: History) -> list[InboxItem]:
    """What has arrived and was not consumed."""
    consumed = {entry.consumes for entry in history.entries}
    return [item for item in history.inbox if item.index not in consumed]


def inbox_document(item: InboxItem) -> dict[str, Any]:
    return {
        "index": item.index,
        "kind": item.kind,
        "name": item.name,
        "at": moment(item.at),
        "payload": shown(item.payload or None),
    }


def inbox_row(item: InboxItem) -> tuple[str, ...]:
    payload = shortened(as_json(shown(item.payload or None)), _VALUE_WIDTH)
    return (str(item.index), item.kind, item.name, moment(item.at) or "", payload)
