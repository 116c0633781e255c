"""A store's answers in the words of the model: times cut down, records as plain tuples and dicts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from runner.errors import StoreConflict
from runner.records import AuditEntry, History
from runner.store.crashes import BrokenOff
from runner.transactions import (
    Committed,
    Delivered,
    Operated,
    Outgoing,
    Parcel,
    Started,
    Wake,
    Woken,
)
from tests.contract.kept import AHEAD, PAST, Moment


def wake(wake: Wake | None) -> Any:
    return wake and (wake.id, wake.queue, wake.workflow, wake.version, wake.seq)


def told(parcels: Sequence[Parcel], rows: Sequence[AuditEntry]) -> Any:
    lines = [(row.execution_id, *line(row)) for row in rows]
    return sorted((timeless(parcel.outgoing) for parcel in parcels), key=repr), sorted(lines, key=repr)


def timeless(going: Outgoing) -> Outgoing:
    """What says when an execution was opened again says it to the millisecond."""
    if going.kind != "reopened":
        return going
    openings, _, run, policy = going.payload.decode().split(" ")
    return replace(going, payload=f"{openings}  {run} {policy}".encode())


def line(row: AuditEntry) -> Any:
    return row.kind, dict(sorted(row.fields.items()))


def started(answers: list[Started]) -> Any:
    (one,) = answers
    return one.new, one.digest, wake(one.wake), told(one.parcels, one.rows)


def delivered(answer: Delivered) -> Any:
    return answer.reception.value, wake(answer.wake), told(answer.parcels, answer.rows)


def claimed(answer: Any) -> Any:
    return (seen(answer), told((), answer.rows)) if isinstance(answer, History) else answer.value


def woken(answer: Woken) -> Any:
    return sorted(wake(one) for one in answer.wakes), told(answer.parcels, answer.rows)


def broken_off(answer: BrokenOff) -> Any:
    return *woken(answer), answer.poisoned


def operated(answer: Operated) -> Any:
    status = None if answer.status is None else answer.status.value
    return answer.verdict.value, status, wake(answer.wake), told(answer.parcels, answer.rows)


def committed(answer: Committed | None) -> Any:
    if answer is None:
        return None
    deadlines = {id: passed(at, answer.now) for id, at in answer.deadlines.items()}
    news = [(item.kind, item.name, item.payload) for item in answer.news]
    told_ = told(answer.parcels, answer.rows)
    return answer.released, answer.status.value, deadlines, news, wake(answer.wake), told_


def conflicts(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except StoreConflict:
        return "conflict"


def passed(at: int | None, now: int) -> Moment:
    return None if at is None else PAST if at <= now else AHEAD


def seen(history: History) -> dict[str, Any]:
    execution, now = history.execution, history.now
    assert [item.index for item in history.inbox] == list(range(len(history.inbox)))
    numbers = [entry.number for entry in history.entries]
    assert numbers == sorted(numbers)
    assert (execution.run_at is None) == (execution.run == 1)
    return {
        "status": execution.status.value,
        "run": execution.run,
        "attempt": execution.attempt,
        "crashes": execution.crashes,
        "seq": execution.seq,
        "worker": execution.worker,
        "input": execution.input,
        "result": execution.result,
        "error": execution.error,
        "cause": execution.cause.value,
        "reason": execution.reason,
        "passed": execution.passed,
        "started": execution.started_at is not None,
        "ended": execution.ended_at is not None,
        "lease": passed(execution.lease_until, now),
        "deadline": passed(execution.deadline, now),
        "parent": (execution.parent, execution.parent_run),
        "attributes": {name: json.dumps(value) for name, value in execution.attributes.items()},
        "outstanding": execution.outstanding,
        "rollback": execution.rollback,
        "escaped": execution.escaped,
        "openings": execution.openings,
        "entries": sorted(history.entries, key=lambda entry: (entry.number, entry.id)),
        "waits": {w.id: (w.kind, w.name, passed(w.deadline, now), w.attempts, w.details) for w in history.waits},
        "inbox": [(item.kind, item.name, item.payload) for item in history.inbox],
    }
