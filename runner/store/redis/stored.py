"""What is stored, back to records.

What the scripts put before a blob is text: ``<at> <kind> <blob>`` for an inbox item, ``<at> <blob>`` for a heartbeat,
``<deadline or -> <opened_at> <blob>`` for a wait. A child is ``<policy> <run> <phase, odd when it has ended>``, an
attribute a field ``@<name>`` of the record with a JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from runner.codec import unpack_as
from runner.errors import PayloadError
from runner.load import Load
from runner.records import (
    AuditEntry,
    Cause,
    ChildLink,
    Entry,
    Execution,
    History,
    InboxItem,
    Notice,
    Status,
    Wait,
    WorkerInfo,
)
from runner.store.redis.connection import Reply
from runner.store.unreadable import unreadable
from runner.transactions import Outgoing, Parcel


def pairs(flat: Sequence[Reply]) -> Iterator[tuple[Reply, Reply]]:
    """A hash as the server answers it: field, value, field, value, …"""
    return zip(flat[::2], flat[1::2], strict=True)


def history(reply: Reply, id: str, added: tuple[AuditEntry, ...] = ()) -> History:
    now, lease_until, fields, journal, waits, items = reply
    return History(
        execution=execution(id, lease_until, fields),
        entries=tuple(sorted((Entry.unpack(blob) for _, blob in pairs(journal)), key=lambda entry: entry.number)),
        waits=tuple(wait(id.decode(), blob) for id, blob in pairs(waits)),
        inbox=inbox(items, 0),
        now=now,
        rows=added,
    )


def execution(id: str, lease_until: Reply, flat: Sequence[Reply]) -> Execution:
    """Raises PayloadError, naming the execution, for a record that is none of ours: it must not look like a bug of ours."""
    try:
        return _execution(id, lease_until, dict(pairs(flat)))
    except (PayloadError, KeyError, ValueError) as error:
        raise unreadable(id, why(error)) from error


def why(error: Exception) -> str:
    """What was wrong with a record, in a few words."""
    missing = isinstance(error, KeyError) and isinstance(error.args[0], bytes)
    return f"its field {error.args[0].decode()!r} is missing" if missing else str(error)


def _execution(id: str, lease_until: Reply, fields: Mapping[bytes, Reply]) -> Execution:
    return Execution(
        id=id,
        workflow=_text(fields, b"workflow"),
        version=int(fields[b"version"]),
        queue=_text(fields, b"queue"),
        status=Status(_text(fields, b"status")),
        input=fields[b"input"],
        digest=_text(fields, b"digest"),
        key=fields[b"key"].decode() if b"key" in fields else None,
        run=int(fields[b"run"]),
        attempt=int(fields[b"attempt"]),
        crashes=int(fields[b"crashes"]),
        created_at=int(fields[b"created_at"]),
        started_at=_number(fields, b"started_at"),
        ended_at=_number(fields, b"ended_at"),
        deadline=_number(fields, b"deadline"),
        seq=int(fields[b"seq"]),
        worker=_text(fields, b"worker"),
        lease_until=None if lease_until is None else int(lease_until),
        result=fields.get(b"result"),
        error=fields.get(b"error"),
        cause=Cause(_text(fields, b"cause")),
        reason=_text(fields, b"reason"),
        passed=_text(fields, b"passed"),
        parent=_text(fields, b"parent"),
        parent_run=int(fields[b"parent_run"]),
        seed=_text(fields, b"seed") or id,
        run_at=_number(fields, b"run_at"),
        timeout_ms=_number(fields, b"timeout_ms"),
        attributes={name[1:].decode(): json.loads(text) for name, text in fields.items() if name[:1] == b"@"},
        outstanding=int(fields[b"outstanding"]),
        rollback=b"rollback" in fields,
        escaped=tuple(unpack_as(fields[b"escaped"], "escaped")) if b"escaped" in fields else (),
        openings=int(fields[b"openings"]),
    )


def inbox(items: Iterable[bytes], first: int) -> tuple[InboxItem, ...]:
    return tuple(_item(first + place, item) for place, item in enumerate(items))


def children(flat: Sequence[Reply]) -> tuple[ChildLink, ...]:
    return tuple(
        sorted((_child(id.decode(), value) for id, value in pairs(flat)), key=lambda child: child.execution_id)
    )


def parcel(reply: Reply, partition: int) -> Parcel:
    place, flat = reply
    fields = dict(pairs(flat))
    return Parcel(
        place=place.decode(),
        outgoing=Outgoing(
            target=_text(fields, b"target"),
            request=_text(fields, b"request"),
            kind=_text(fields, b"kind"),
            name=_text(fields, b"name"),
            # What lacks something is no parcel of ours: that is told where it cannot be carried.
            payload=_notice(fields).pack() if b"status" in fields else fields.get(b"payload", b""),
            run=_number(fields, b"run") or 0,
        ),
        partition=partition,
    )


def worker(reply: bytes) -> WorkerInfo:
    seen_at, _, blob = reply.partition(b" ")
    id, build, queues, workflows, slots, lease_ms, load, host, pid, *_ = unpack_as(blob, "worker", 9)
    return WorkerInfo(
        id=id,
        build=build,
        queues=tuple(queues),
        workflows=tuple((name, version, queue) for name, version, queue in workflows),
        slots=slots,
        lease_ms=lease_ms,
        seen_at=int(seen_at),
        load=Load.of_row(load),
        host=host,
        pid=pid,
    )


def _notice(fields: Mapping[bytes, bytes]) -> Notice:
    return Notice(
        execution_id=_text(fields, b"name"),
        status=_text(fields, b"status"),
        workflow=_text(fields, b"workflow"),
        attempt=_number(fields, b"attempt") or 0,
        key=fields[b"key"].decode() if b"key" in fields else None,
        cause=_text(fields, b"cause"),
        reason=_text(fields, b"reason"),
        result=fields.get(b"result"),
        error=fields.get(b"error"),
    )


def wait(id: str, value: bytes) -> Wait:
    deadline, opened_at, blob = value.split(b" ", 2)
    kind, name, attempts, details, *_ = unpack_as(blob, "wait", 4)
    return Wait(
        id=id,
        kind=kind,
        name=name,
        opened_at=int(opened_at),
        deadline=None if deadline == b"-" else int(deadline),
        attempts=attempts,
        details=details,
    )


def _item(index: int, value: bytes) -> InboxItem:
    at, kind, blob = value.split(b" ", 2)
    name, payload, *_ = unpack_as(blob, "inbox item", 2)
    return InboxItem(index=index, at=int(at), kind=kind.decode(), name=name, payload=payload)


def _child(id: str, value: bytes) -> ChildLink:
    policy, _, phase = value.split()
    return ChildLink(execution_id=id, policy=policy.decode(), ended=int(phase) % 2 == 1)


def _text(fields: Mapping[bytes, bytes], name: bytes) -> str:
    return fields.get(name, b"").decode()


def _number(fields: Mapping[bytes, bytes], name: bytes) -> int | None:
    return int(fields[name]) if name in fields else None
