"""What comes from outside: starts, signals, cancels."""

from __future__ import annotations

from collections.abc import Sequence

from runner.records import Status
from runner.store.sqlite import moves
from runner.store.sqlite.rows import Row, Session
from runner.transactions import (
    Deliver,
    Delivered,
    Reception,
    Start,
    Started,
)


def start(s: Session, starts: Sequence[Start], partitions: int) -> list[Started]:
    """Create what is new, answer for the rest; in the order given."""
    return [_start(s, one, partitions) for one in starts]


def _start(s: Session, asked: Start, partitions: int) -> Started:
    row = s.load(asked.id)
    if row is None:
        row = moves.created(asked, s.ns, partitions, s.now)
        s.insert(row, asked.input)
    return Started(new=row.request == asked.request, digest=row.digest, wake=row.wake if _unheard(row) else None)


def _unheard(row: Row) -> bool:
    """Ready since its start and never claimed: the hint may be lost."""
    return row.status is Status.PENDING and row.started_at is None and row.ready_at is not None


def deliver(s: Session, asked: Deliver) -> Delivered:
    """Append to an inbox, once per request."""
    row = s.load(asked.id)
    if row is None:
        return Delivered(reception=Reception.UNKNOWN)
    if (before := _before(s, row, asked.request)) is not None:
        return before
    if row.status.terminal:
        return Delivered(reception=Reception.TERMINAL)
    if asked.kind == "cancel" and row.cancel_index is not None:
        return Delivered(reception=Reception.DELIVERED)
    item = (row.x, row.inbox, s.now, asked.kind, asked.name, asked.payload)
    s.db.execute("INSERT INTO inbox VALUES (?, ?, ?, ?, ?, ?)", item)
    changed = moves.received(row, asked, s.now)
    s.save(row, changed)
    woke = changed.seq > row.seq
    s.db.execute("INSERT INTO request VALUES (?, ?, ?)", (row.x, asked.request, changed.seq if woke else 0))
    if row.owned:
        s.words.append((f"worker/{row.worker}", row.id))
    return Delivered(reception=Reception.DELIVERED, wake=changed.wake if woke else None)


def _before(s: Session, row: Row, request: str) -> Delivered | None:
    """The answer to a request that was here before: its wake too, while nobody has followed it."""
    found = s.db.execute("SELECT seq FROM request WHERE x = ? AND request = ?", (row.x, request)).fetchone()
    if found is None:
        return None
    unheard = found[0] == row.seq and row.ready_at is not None
    return Delivered(reception=Reception.DELIVERED, wake=row.wake if unheard else None)
