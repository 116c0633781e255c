"""The scripts' replies to answers."""

from __future__ import annotations

from collections.abc import Sequence

from runner.errors import StoreConflict
from runner.records import AuditEntry, History, Status
from runner.store.redis.connection import Reply
from runner.store.redis.stored import history, inbox, pairs, parcel
from runner.transactions import (
    Commit,
    Committed,
    Delivered,
    Operated,
    Parcel,
    Reception,
    Refusal,
    Started,
    Verdict,
    Wake,
    Woken,
)


def started(reply: Reply, partition: int) -> Started:
    new, digest, woken, sent, added = reply
    return Started(
        new=bool(new),
        digest=digest.decode(),
        wake=_wake_or_none(woken),
        parcels=parcels(sent, partition),
        rows=rows(added),
    )


def claimed(reply: Reply, id: str) -> History | Refusal:
    verdict, *rest = reply
    if verdict != b"ok":
        return Refusal(verdict.decode())
    found, added = rest
    return history(found, id, rows(added))


def delivered(reply: Reply, partition: int) -> Delivered:
    reception, woken, sent, added = reply
    return Delivered(
        reception=Reception(reception.decode()),
        wake=_wake_or_none(woken),
        parcels=parcels(sent, partition),
        rows=rows(added),
    )


def operated(reply: Reply, partition: int) -> Operated:
    verdict, status, woken, sent, added = reply
    return Operated(
        verdict=Verdict(verdict.decode()),
        status=Status(status.decode()) if status else None,
        wake=_wake_or_none(woken),
        parcels=parcels(sent, partition),
        rows=rows(added),
    )


def committed(reply: Reply, commit: Commit, partition: int) -> Committed | None:
    """Raises StoreConflict."""
    verdict, *rest = reply
    if verdict == b"lost":
        return None
    if verdict == b"conflict":
        raise StoreConflict(f"execution {commit.id!r}: {rest[0].decode()!r} is recorded already, with other content")
    now, released, status, deadlines, news, woken, sent, added = rest
    times = (int(time) if time else None for time in deadlines)
    return Committed(
        now=now,
        released=bool(released),
        status=Status(status.decode()),
        deadlines=dict(zip((wait.id for wait in commit.opens), times, strict=True)),
        news=inbox(news, commit.seen),
        wake=_wake_or_none(woken),
        parcels=parcels(sent, partition),
        rows=rows(added),
    )


def woken(reply: Reply, partition: int) -> Woken:
    now, next_at, made_ready, sent, added = reply
    return Woken(
        wakes=wakes(made_ready),
        next_at=next_at,
        now=now,
        parcels=parcels(sent, partition),
        rows=rows(added),
    )


def wake(reply: Reply) -> Wake:
    id, queue, workflow, version, seq = reply
    return Wake(id=id.decode(), queue=queue.decode(), workflow=workflow.decode(), version=int(version), seq=seq)


def wakes(reply: Reply) -> tuple[Wake, ...]:
    return tuple(map(wake, reply))


def parcels(reply: Reply, partition: int) -> tuple[Parcel, ...]:
    return tuple(parcel(entry, partition) for entry in reply)


def rows(reply: Reply) -> tuple[AuditEntry, ...]:
    return tuple(AuditEntry.unpack(id.decode(), row) for id, row in reply)


def counts(flat: Sequence[Reply]) -> dict[str, int]:
    return {name.decode(): count for name, count in pairs(flat)}


def _wake_or_none(reply: Reply) -> Wake | None:
    return wake(reply) if reply else None
