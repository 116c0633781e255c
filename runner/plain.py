"""Stored payloads as plain values, to be looked at: one that cannot be read says so, for looking must never fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runner.codec import decode
from runner.errors import PayloadError
from runner.failures import Failure
from runner.records import AuditEntry, Entry, InboxItem, Notice


def plain(payload: bytes | None, hint: Any = Any) -> Any:
    """The value of a payload; None for none, and for an empty one."""
    return readable(payload, lambda blob: decode(blob, hint)) if payload else None


def failure_of(error: bytes | None) -> Failure | None:
    """The failure that a record or an entry holds; one that cannot be read has its reason for a message."""
    if not error:
        return None
    read = readable(error, Failure.unpack)
    return read if isinstance(read, Failure) else _unreadable(str(read))


def failure_of_entry(entry: Entry) -> Failure | None:
    """What an entry failed with: a step's entry holds a failure whenever it is not ok, others when they failed."""
    of_step = entry.kind in ("step", "compensation") and entry.outcome != "ok"
    return failure_of(entry.payload) if of_step or (entry.outcome == "failed" and entry.kind != "ended") else None


def value_of_entry(entry: Entry) -> Any:
    """What an entry brought to the workflow, when that was no error."""
    return _told(entry.kind, entry.payload) if failure_of_entry(entry) is None else None


def value_of_item(item: InboxItem) -> Any:
    """What reached the inbox."""
    return _told(item.kind, item.payload)


def fields_of_row(row: AuditEntry) -> Mapping[str, Any]:
    """The fields of an audit row; what a note was given is decoded."""
    return {name: plain(value) if isinstance(value, bytes) else value for name, value in row.fields.items()}


def readable(payload: bytes, read: Callable[[bytes], Any]) -> Any:
    """What ``read`` makes of the payload, or a text that says why it could not."""
    try:
        return read(payload)
    except (PayloadError, ValueError, TypeError) as error:
        return f"({len(payload)} bytes that this version cannot read: {error})"


def _told(kind: str, payload: bytes) -> Any:
    return _notice(payload) if kind == "ended" and payload else plain(payload)


def _notice(payload: bytes) -> Any:
    notice = readable(payload, Notice.unpack)
    if not isinstance(notice, Notice):
        return plain(payload)
    failure = failure_of(notice.error)
    return {
        "execution_id": notice.execution_id,
        "status": notice.status,
        "result": plain(notice.result),
        "error": None if failure is None else f"{failure.type}: {failure.message}",
    }


def _unreadable(why: str) -> Failure:
    return Failure(type="", message=why, bases=(), traceback="", step=None, attempts=0, payload=None)
