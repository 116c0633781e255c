"""Which parts of records and transactions hold what users gave: those are sealed and opened, nothing else is touched.

``change`` is always one of a Sealing's: to seal, to open, or to open where that is possible. What comes back unchanged is the
record that was given. Pure.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from runner.codec import SEALED
from runner.errors import PayloadError
from runner.messages import Emission
from runner.records import AuditEntry, Entry, Execution, History, InboxItem, Notice, Plain, Schedule, Wait
from runner.transactions import (
    Commit,
    Complete,
    ContinueAsNew,
    End,
    Fail,
    FailCompensation,
    Open,
    Operate,
    Outgoing,
    RetryAttempt,
    Start,
)

T = TypeVar("T")
Change = Callable[[bytes], bytes]

#: Texts of audit rows that repeat what users said; what rows hold as bytes is always theirs.
_TEXTS: Mapping[str, tuple[str, ...]] = {"attempt_failed": ("error",), "note": ("message",)}
#: What a text begins with that is sealed bytes in Base64.
_SEALED_TEXT = "sealed:"


def _changed(record: T, change: Change, *names: str) -> T:
    """The record with these fields changed."""
    changes = {}
    for name in names:
        before: bytes | None = getattr(record, name)
        if before and (after := change(before)) is not before:
            changes[name] = after
    return replace(record, **changes) if changes else record  # type: ignore[type-var]


def execution(record: Execution, change: Change) -> Execution:
    return _changed(record, change, "input", "result", "error")


def schedule(record: Schedule, change: Change) -> Schedule:
    return _changed(record, change, "input")


def entry(record: Entry, change: Change) -> Entry:
    """Whatever its kind: what the protocol needs to know of an entry is in its other fields."""
    return _changed(record, change, "payload", "tries")


def history(record: History, change: Change) -> History:
    return replace(
        record,
        execution=execution(record.execution, change),
        entries=tuple(entry(one, change) for one in record.entries),
        waits=tuple(_wait(one, change) for one in record.waits),
        inbox=tuple(item(one, change) for one in record.inbox),
    )


def holds_sealed(record: History) -> bool:
    """True when something in it may be sealed."""
    payloads = (
        record.execution.input,
        *(one.payload for one in record.entries),
        *(one.details for one in record.waits),
        *(one.payload for one in record.inbox),
    )
    return any(SEALED in payload for payload in payloads)


def item(record: InboxItem, change: Change) -> InboxItem:
    if record.kind != "ended" or SEALED not in record.payload:
        return _changed(record, change, "payload")
    # The store writes notices itself, from records whose result and error are sealed.
    notice = _changed(Notice.unpack(record.payload), change, "result", "error")
    return replace(record, payload=notice.pack())


def _wait(record: Wait, change: Change) -> Wait:
    """A step's last error is its wait's name."""
    record = _changed(record, change, "details")
    return replace(record, name=_opened_text(record.name, change)) if record.kind == "step" else record


def _opened_text(text: str, change: Change) -> str:
    """It is there to be shown, so one that cannot be opened stays as it is."""
    if not text.startswith(_SEALED_TEXT):
        return text
    try:
        return change(base64.b64decode(text.removeprefix(_SEALED_TEXT), validate=True)).decode()
    except (PayloadError, binascii.Error, UnicodeDecodeError):
        return text


# -- audit rows ----------------------------------------------------------------------------------------


def sealed_row(row: AuditEntry, seal: Change) -> AuditEntry:
    texts = _TEXTS.get(row.kind, ())
    return replace(row, fields={name: _sealed(value, seal, text=name in texts) for name, value in row.fields.items()})


def _sealed(value: Plain, seal: Change, *, text: bool) -> Plain:
    if isinstance(value, bytes):
        return seal(value)
    return seal(value.encode()) if text and isinstance(value, str) else value


def opened_row(row: AuditEntry, change: Change) -> AuditEntry:
    if not any(isinstance(value, bytes) for value in row.fields.values()):
        return row
    texts = _TEXTS.get(row.kind, ())
    return replace(row, fields={name: _opened(value, change, text=name in texts) for name, value in row.fields.items()})


def _opened(value: Plain, change: Change, *, text: bool) -> Plain:
    if not isinstance(value, bytes):
        return value
    opened = change(value)
    return opened.decode() if text and not opened.startswith(SEALED) else opened


# -- what the store is asked ---------------------------------------------------------------------------


def start(asked: Start, seal: Change) -> Start:
    sealed = _changed(asked, seal, "input")
    return replace(sealed, entries=tuple(entry(one, seal) for one in asked.entries)) if asked.entries else sealed


def commit(asked: Commit, seal: Change) -> Commit:
    return replace(
        asked,
        entries=tuple(entry(one, seal) for one in asked.entries),
        opens=tuple(_open(one, seal) for one in asked.opens),
        outgoing=tuple(outgoing(one, seal) for one in asked.outgoing),
        audit=tuple(sealed_row(one, seal) for one in asked.audit),
        end=None if asked.end is None else _end(asked.end, seal),
    )


def operate(asked: Operate, seal: Change) -> Operate:
    sealed = _changed(asked, seal, "error")
    return replace(
        sealed,
        entry=None if asked.entry is None else entry(asked.entry, seal),
        audit=None if asked.audit is None else sealed_row(asked.audit, seal),
    )


def outgoing(asked: Outgoing, seal: Change) -> Outgoing:
    """What is packed inside is sealed inside: whoever carries it reads the rest."""
    packed: Any
    match asked.kind:
        case "start":
            packed = start(Start.unpack(asked.payload), seal)
        case "emit":
            packed = _changed(Emission.unpack(asked.payload), seal, "payload")
        case "signal" | "cancel":
            return _changed(asked, seal, "payload")
        case _:
            return asked
    return replace(asked, payload=packed.pack())


def _open(asked: Open, seal: Change) -> Open:
    if asked.kind != "step":
        return asked
    name = asked.name and _SEALED_TEXT + base64.b64encode(seal(asked.name.encode())).decode()
    return replace(_changed(asked, seal, "details"), name=name)


def _end(end: End, seal: Change) -> End:
    match end:
        case Complete():
            return _changed(end, seal, "result")
        case Fail() | FailCompensation() | RetryAttempt():
            return _changed(end, seal, "error")
        case ContinueAsNew():
            return _changed(end, seal, "input")
        case _:
            return end
