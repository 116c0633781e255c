"""The audit trail: what may be written into it, and the rows that a turn adds to it. Pure.

By the stores, with the change itself:

| kind | fields |
|---|---|
| ``created`` | ``workflow``, ``version``, ``parent`` (an execution's id, or empty) |
| ``status`` | ``from``, ``to``; ``worker`` at a claim; ``cause`` at an end |
| ``delivered`` | ``kind`` (signal or ended), ``name`` (the signal's, or the execution that ended) |
| ``cancel`` | ``reason`` |
| ``operator`` | ``action``, ``actor``; where there is more to say also ``verb`` (skip_step, edit_step, force_fail or fork), and the ``step``, the ``reason``, or the id of the ``fork`` |
| ``repaired`` | ``done`` (what a check has set right, in words) |
| ``rewound`` | ``seq``, ``hint``: a hint knew of a later wake-up than the record did: the store went back in time, or it was forged |

By a turn's commit, made here; ``id`` is always that of the journal's entry or of the open wait:

| kind | fields |
|---|---|
| ``step``, ``compensation`` | ``id``, ``outcome``, ``attempts``, ``duration_ms`` (of the last attempt), ``worker`` |
| ``attempt_failed`` | ``id``, ``attempt``, ``error``, ``again`` (whether it is tried again), ``worker`` |
| ``sleep`` | ``id``: it is over |
| ``signal`` | ``id``, ``name``: a wait has got it |
| ``ended`` | ``id``, ``execution_id``, ``status``: a wait has heard of that execution's end |
| ``timeout`` | ``id``, ``what`` (signal or ended), ``name`` |
| ``wait`` | ``id``, ``wait`` (sleep, signal or ended), ``name``: it was opened |
| ``switch`` | ``id``, ``case`` |
| ``race`` | ``id``, ``winner`` |
| ``patch`` | ``id`` |
| ``emit`` | ``id``, ``event`` |
| ``note`` | ``id``, ``message``, ``fields`` (a dict, as the codec's bytes) |
| ``child`` | ``id``, ``execution_id``, ``workflow`` |
| ``rollback`` | ``id``, ``ids`` (a list, as the codec's bytes): what is to be compensated |
| ``continued`` | ``run``: the number of the next one |

The payload of an entry of kind ``switch`` to ``rollback`` is what the codec makes of the fields behind ``id``: of the one
value, or of a list or tuple of all of them in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runner.codec import decode, encode
from runner.errors import PayloadError
from runner.failures import Failure
from runner.records import AuditEntry, Entry, Notice, Plain
from runner.transactions import ContinueAsNew, End, Open

#: An error in a row is cut to this many characters.
MAX_ERROR = 500

Fields = dict[str, Plain]

_DECISIONS: Mapping[str, tuple[str, ...]] = {
    "switch": ("case",),
    "race": ("winner",),
    "patch": (),
    "emit": ("event",),
    "note": ("message", "fields"),
    "child": ("execution_id", "workflow"),
    "rollback": ("ids",),
}
_NO_NAMES: Mapping[str, str] = {}


def rows(
    execution_id: str,
    worker: str,
    entries: Iterable[Entry],
    opens: Iterable[Open],
    *,
    now: int,
    names: Mapping[str, str] = _NO_NAMES,
    end: End | None = None,
    run: int = 1,
) -> tuple[AuditEntry, ...]:
    """What a commit with these entries, waits and end, in the run ``run``, adds to the trail.

    In the order of the journal, then of the waits. ``now`` is the store's time as far as the turn knows it, ``names`` what the waits behind the entries wait for (the
    signal's name, the execution), by id. Raises nothing, whatever the payloads are: a row is never worth a turn.
    """
    told = [
        AuditEntry(execution_id=execution_id, at=entry.at, kind=kind, fields={"id": entry.id, **fields})
        for entry in entries
        for kind, fields in _of_entry(entry, worker, names.get(entry.id, ""))
    ]
    opened = [
        AuditEntry(execution_id=execution_id, at=now, kind=kind, fields={"id": one.id, **fields})
        for one in opens
        for kind, fields in _of_wait(one, worker)
    ]
    if isinstance(end, ContinueAsNew):
        opened.append(AuditEntry(execution_id=execution_id, at=now, kind="continued", fields={"run": run + 1}))
    return (*told, *opened)


def _of_entry(entry: Entry, worker: str, name: str) -> list[tuple[str, Fields]]:
    match entry.kind, entry.outcome:
        case (("step" | "compensation"), _):
            return [*_last_failure(entry, worker), (entry.kind, _performed(entry, worker))]
        case (("signal" | "ended"), "timed_out"):
            return [("timeout", {"what": entry.kind, "name": name})]
        case "sleep", _:
            return [("sleep", {})]
        case "signal", _:
            return [("signal", {"name": name})]
        case "ended", _:
            return [("ended", _notice(entry.payload))]
        case kind, _ if kind in _DECISIONS:
            return [(kind, _decided(_DECISIONS[kind], entry.payload))]
        case _:  # a cancel and an attempt are told by the store
            return []


def _of_wait(one: Open, worker: str) -> list[tuple[str, Fields]]:
    if one.kind != "step":
        return [("wait", {"wait": one.kind, "name": one.name})]
    if one.after_ms is None:  # a heartbeat
        return []
    failed: Fields = {"attempt": one.attempts, "error": one.name[:MAX_ERROR], "again": True, "worker": worker}
    return [("attempt_failed", failed)]


def _performed(entry: Entry, worker: str) -> Fields:
    duration = max(entry.at - entry.started_at, 0) if entry.started_at else 0
    return {"outcome": entry.outcome, "attempts": entry.attempts, "duration_ms": duration, "worker": worker}


def _last_failure(entry: Entry, worker: str) -> list[tuple[str, Fields]]:
    if entry.outcome == "ok":
        return []
    try:
        failure = Failure.unpack(entry.payload)
        error = f"{failure.type}: {failure.message}"
    except PayloadError:
        error = ""
    failed: Fields = {"attempt": entry.attempts, "error": error[:MAX_ERROR], "again": False, "worker": worker}
    return [("attempt_failed", failed)]


def _notice(payload: bytes) -> Fields:
    try:
        notice = Notice.unpack(payload)
    except Exception:  # noqa: BLE001 - msgpack raises many kinds for bytes that it did not write
        return {}
    return {"execution_id": notice.execution_id, "status": notice.status}


def _decided(names: tuple[str, ...], payload: bytes) -> Fields:
    try:
        value = decode(payload)
    except PayloadError:
        return {}
    values = value if isinstance(value, list | tuple) and len(names) != 1 else (value,)
    return {name: _plain(one) for name, one in zip(names, values, strict=False)}


def _plain(value: Any) -> Plain:
    """What a trail can hold as it is; anything else as the codec's bytes."""
    return value if isinstance(value, str | int | float | bool | bytes | None) else encode(value)
