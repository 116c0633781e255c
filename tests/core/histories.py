"""Histories for tests of what is pure: as small as they can be."""

from __future__ import annotations

from typing import Any

from runner.codec import encode
from runner.records import (
    Cause,
    Entry,
    Execution,
    History,
    InboxItem,
    Status,
    Wait,
)

NOW = 1_000


def execution(status: Status, **more: Any) -> Execution:
    facts: dict[str, Any] = {
        "id": "e1",
        "workflow": "order",
        "version": 2,
        "queue": "gpu",
        "status": status,
        "input": encode("in"),
        "digest": "d",
        "key": "k",
        "run": 1,
        "attempt": 1,
        "crashes": 0,
        "created_at": 1,
        "started_at": 2,
        "ended_at": 3 if status.terminal else None,
        "deadline": None,
        "seq": 1,
        "worker": "",
        "lease_until": None,
        "result": None,
        "error": None,
        "cause": Cause.NONE,
        "reason": "",
        "passed": "",
    }
    return Execution(**(facts | more))


def history(
    status: Status, *entries: Entry, waits: tuple[Wait, ...] = (), inbox: tuple[InboxItem, ...] = (), **more: Any
) -> History:
    return History(execution=execution(status, **more), entries=entries, waits=waits, inbox=inbox, now=NOW)


def entry(number: int, id: str, outcome: str = "ok", **more: Any) -> Entry:
    facts: dict[str, Any] = {"kind": "step", "payload": b"", "at": 5, "attempts": 3, "started_at": 4}
    return Entry(number=number, id=id, outcome=outcome, **(facts | more))


def step_wait(id: str, deadline: int | None = 2_000) -> Wait:
    return Wait(id=id, kind="step", name="Boom: no", opened_at=1, deadline=deadline, attempts=2)


def sleep(id: str, deadline: int = 2_000) -> Wait:
    return Wait(id=id, kind="sleep", name="", opened_at=1, deadline=deadline)
