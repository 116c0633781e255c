"""Executions as documents for programs, and as rows for tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from runner.app import App
from runner.cli.output import as_json, moment, span
from runner.cli.text import shortened
from runner.cli.values import result_shown, shown_failure
from runner.detail import STEP_KINDS, AuditLine, StepLine, position_of, unread
from runner.plain import failure_of, failure_of_entry, plain, value_of_entry, value_of_item
from runner.records import (
    ChildLink,
    Entry,
    Execution,
    History,
    InboxItem,
    Wait,
)
from runner.tree import Tree

_VALUE_WIDTH = 60

EXECUTION_HEADINGS = ("id", "workflow", "version", "status", "queue", "created", "ended")
JOURNAL_HEADINGS = ("#", "id", "kind", "outcome", "attempts", "started", "took", "value")
WAIT_HEADINGS = ("waits for", "kind", "name", "since", "deadline", "attempts")
CHILD_HEADINGS = ("child", "at our end", "ended")
STEP_HEADINGS = ("step", "kind", "state", "attempts", "took", "next", "last error or value")
AUDIT_HEADINGS = ("at", "kind", "fields")
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
        "parent": execution.parent or None,
        "attributes": dict(execution.attributes) or None,
        "outstanding": execution.outstanding or None,
        "reopened": execution.openings or None,
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


def history_document(app: App, history: History, children: Sequence[ChildLink]) -> dict[str, Any]:
    """All there is to know of an execution."""
    execution = history.execution
    position = position_of(history)
    return {
        **execution_document(execution),
        "position": position.doing,
        "next_at": moment(position.next_at),
        "input": plain(execution.input),
        "journal": [entry_document(entry) for entry in history.entries],
        "waits": [wait_document(wait) for wait in history.waits],
        "unread": [inbox_document(item) for item in unread(history)],
        "children": [child_document(child) for child in children],
        "result": result_shown(app, execution),
        "error": shown_failure(failure_of(execution.error)),
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
        **_outcome(entry),
    }


def _outcome(entry: Entry) -> dict[str, Any]:
    failure = failure_of_entry(entry)
    return {"value": value_of_entry(entry)} if failure is None else {"error": shown_failure(failure)}


def entry_row(entry: Entry) -> tuple[str, ...]:
    took = _took(entry)
    return (
        str(entry.number),
        entry.id,
        entry.kind,
        entry.outcome,
        str(entry.attempts) if entry.kind in STEP_KINDS else "",
        moment(entry.started_at or entry.at) or "",
        "" if took is None else span(took),
        _summary(entry),
    )


def _took(entry: Entry) -> int | None:
    return entry.at - entry.started_at if entry.started_at else None


def _summary(entry: Entry) -> str:
    failure = failure_of_entry(entry)
    if failure is not None:
        return shortened(f"{failure.type}: {failure.message}", _VALUE_WIDTH)
    return shortened(as_json(value_of_entry(entry)), _VALUE_WIDTH) if entry.payload else ""


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
        str(wait.attempts) if wait.kind == "step" else "",
    )


def inbox_document(item: InboxItem) -> dict[str, Any]:
    return {
        "index": item.index,
        "kind": item.kind,
        "name": item.name,
        "at": moment(item.at),
        "payload": value_of_item(item),
    }


def inbox_row(item: InboxItem) -> tuple[str, ...]:
    payload = shortened(as_json(value_of_item(item)), _VALUE_WIDTH)
    return (str(item.index), item.kind, item.name, moment(item.at) or "", payload)


# -- children, steps, trails -----------------------------------------------------------------------------


def child_document(child: ChildLink) -> dict[str, Any]:
    return {"execution_id": child.execution_id, "policy": child.policy, "ended": child.ended}


def child_row(child: ChildLink) -> tuple[str, ...]:
    return (child.execution_id, child.policy, "yes" if child.ended else "no")


def step_document(step: StepLine) -> dict[str, Any]:
    return {
        "id": step.id,
        "kind": step.kind,
        "state": step.state,
        "attempts": step.attempts,
        "started_at": moment(step.started_at),
        "ended_at": moment(step.ended_at),
        "duration_ms": step.duration_ms,
        "retry_at": moment(step.retry_at),
        "value": step.value,
        "error": shown_failure(step.error),
        "last_error": step.last_error or None,
        "heartbeat": step.heartbeat,
        "progress": step.progress,
        "tries": [
            {
                "attempt": one.attempt,
                "started_at": moment(one.started_at),
                "ended_at": moment(one.ended_at),
                "worker": one.worker,
                "error": one.error,
            }
            for one in step.tries
        ],
    }


def step_row(step: StepLine) -> tuple[str, ...]:
    last = step.last_error if step.error is None else f"{step.error.type}: {step.error.message}"
    return (
        step.id,
        step.kind,
        step.state,
        str(step.attempts),
        "" if step.duration_ms is None else span(step.duration_ms),
        moment(step.retry_at) or "",
        shortened(last or ("" if step.value is None else as_json(step.value)), _VALUE_WIDTH),
    )


def audit_document(line: AuditLine) -> dict[str, Any]:
    return {"at": moment(line.at), "kind": line.kind, "fields": dict(line.fields)}


def audit_row(line: AuditLine) -> tuple[str, ...]:
    said = ", ".join(f"{name}={as_json(value)}" for name, value in line.fields.items() if value not in ("", None))
    return (moment(line.at) or "", line.kind, said)


def tree_document(tree: Tree) -> dict[str, Any]:
    record = {"id": tree.id} if tree.execution is None else execution_document(tree.execution)
    return {
        **record,
        "policy": tree.policy or None,
        "children": [tree_document(child) for child in tree.children],
        "complete": tree.complete,
    }


def tree_lines(tree: Tree, depth: int = 0) -> Iterator[str]:
    """One line an execution, children under their parent."""
    what = "not there" if tree.execution is None else f"{tree.execution.workflow}  {tree.execution.status}"
    yield f"{'  ' * depth}{tree.id}  {what}"
    for child in tree.children:
        yield from tree_lines(child, depth + 1)
    if not tree.complete:
        yield f"{'  ' * (depth + 1)}…"
