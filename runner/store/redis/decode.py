"""Replies to records.

What the scripts put before a blob is text: ``<at> <blob>`` for an inbox item and a heartbeat,
``<deadline or -> <opened_at> <blob>`` for a wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgpack

from runner.errors import StoreConflict
from runner.records import (
    Cause,
    Entry,
    Execution,
    History,
    InboxItem,
    Status,
    Wait,
    WorkerInfo,
)
from runner.store.redis.connection import Reply
from runner.transactions import (
    Commit,
    Committed,
    Delivered,
    Outgoing,
    Parcel,
    Reception,
    Started,
    Wake,
    Woken,
)


def pairs(flat: Sequence[Reply]) -> Iterator[tuple[Reply, Reply]]:
    """A hash as the server answers it: field, value, field, value, …"""
    return zip(flat[::2], flat[1::2], strict=True)


def started(reply: Reply) -> Started:
    new, digest, woken = reply
    return Started(new=bool(new), digest=digest.decode(), wake=woken and wake(woken))


def delivered(reply: Reply) -> Delivered:
    reception, woken = reply
    return Delivered(reception=Reception(reception.decode()), wake=woken and wake(woken))


def wake(reply: Reply) -> Wake:
    id, queue, workflow, version, seq = reply
    return Wake(id=id.decode(), queue=queue.decode(), workflow=workflow.decode(), version=int(version), seq=seq)


def wakes(reply: Reply) -> tuple[Wake, ...]:
    return tuple(map(wake, reply))


def woken(reply: Reply) -> Woken:
    now, next_at, made_ready = reply
    return Woken(wakes=wakes(made_ready), next_at=next_at, now=now)


def committed(reply: Reply, commit: Commit) -> Committed | None:
    """Raises StoreConflict."""
    verdict, *rest = reply
    if verdict == b"lost":
        return None
    if verdict == b"conflict":
        raise StoreConflict(f"execution {commit.id!r}: {rest[0].decode()!r} is recorded already, with other content")
    now, released, status, deadlines, news = rest
    times = (int(time) if time else None for time in deadlines)
    return Committed(
        now=now,
        released=bool(released),
        status=Status(status.decode()),
        deadlines=dict(zip((wait.id for wait in commit.opens), times, strict=True)),
        news=_inbox(news, commit.seen),
    )


def history(reply: Reply, id: str) -> History:
    now, lease_until, fields, journal, waits, inbox = reply
    return History(
        execution=execution(id, lease_until, fields),
        entries=tuple(sorted((Entry.unpack(blob) for _, blob in pairs(journal)), key=lambda entry: entry.number)),
        waits=tuple(_wait(id.decode(), blob) for id, blob in pairs(waits)),
        inbox=_inbox(inbox, 0),
        now=now,
    )


def execution(id: str, lease_until: Reply, flat: Sequence[Reply]) -> Execution:
    fields = dict(pairs(flat))

    def text(name: bytes) -> str:
        value: bytes = fields[name]
        return value.decode()

    return Execution(
        id=id,
        workflow=text(b"workflow"),
        version=int(fields[b"version"]),
        queue=text(b"queue"),
        status=Status(text(b"status")),
        input=fields[b"input"],
        digest=text(b"digest"),
        key=text(b"key") if b"key" in fields else None,
        run=int(fields[b"run"]),
        attempt=int(fields[b"attempt"]),
        crashes=int(fields[b"crashes"]),
        created_at=int(fields[b"created_at"]),
        started_at=_time(fields, b"started_at"),
        ended_at=_time(fields, b"ended_at"),
        deadline=_time(fields, b"deadline"),
        seq=int(fields[b"seq"]),
        worker=text(b"worker"),
        lease_until=None if lease_until is None else int(lease_until),
        result=fields.get(b"result"),
        error=fields.get(b"error"),
        cause=Cause(text(b"cause")),
        reason=text(b"reason"),
        passed=text(b"passed"),
    )


def parcel(reply: Reply) -> Parcel:
    place, flat = reply
    fields = dict(pairs(flat))
    return Parcel(
        place=place.decode(),
        outgoing=Outgoing(
            target=fields[b"target"].decode(),
            request=fields[b"request"].decode(),
            kind=fields[b"kind"].decode(),
            name=fields[b"name"].decode(),
            payload=fields[b"payload"],
        ),
    )


def worker(reply: bytes) -> WorkerInfo:
    seen_at, _, blob = reply.partition(b" ")
    id, build, queues, workflows, slots, lease_ms, *_ = msgpack.unpackb(blob)
    return WorkerInfo(
        id=id,
        build=build,
        queues=tuple(queues),
        workflows=tuple((name, version, queue) for name, version, queue in workflows),
        slots=slots,
        lease_ms=lease_ms,
        seen_at=int(seen_at),
    )


def counts(flat: Sequence[Reply]) -> dict[str, int]:
    return {name.decode(): count for name, count in pairs(flat)}


def _wait(id: str, value: bytes) -> Wait:
    deadline, opened_at, blob = value.split(b" ", 2)
    kind, name, attempts, *_ = msgpack.unpackb(blob)
    return Wait(
        id=id,
        kind=kind,
        name=name,
        opened_at=int(opened_at),
        deadline=None if deadline == b"-" else int(deadline),
        attempts=attempts,
    )


def _inbox(items: Iterable[bytes], first: int) -> tuple[InboxItem, ...]:
    return tuple(_item(first + place, item) for place, item in enumerate(items))


def _item(index: int, value: bytes) -> InboxItem:
    at, _, blob = value.partition(b" ")
    kind, name, payload, *_ = msgpack.unpackb(blob)
    return InboxItem(index=index, at=int(at), kind=kind, name=name, payload=payload)


def _time(fields: Mapping[bytes, bytes], name: bytes) -> int | None:
    return int(fields[name]) if name in fields else None
