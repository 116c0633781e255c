"""What a turn asks of the store: claim, commit, renew, release; and passing one over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgpack

from runner.core.status import Move
from runner.errors import StoreConflict
from runner.records import Entry, History, Status
from runner.store.sqlite import moves, reading
from runner.store.sqlite.rows import Row, Session
from runner.transactions import (
    Commit,
    Committed,
    Complete,
    End,
    Fail,
    Lease,
    Open,
    Refusal,
    Renewed,
    RetryAttempt,
    Wake,
)


def claim(s: Session, id: str, nonce: str, worker: str, lease_ms: int) -> History | Refusal:
    """Take the lease and read everything, or say why not."""
    row = s.load(id)
    if row is None:
        return Refusal.UNKNOWN
    if row.owned and row.nonce == nonce:
        # The worker trusts its lease from the moment it asked again.
        mine = replace(row, lease_until=s.now + lease_ms)
    elif not row.owned and not row.status.terminal and row.late(s.now):
        s.save(row, moves.ended(row, Move.TIME_OUT, s.now))
        return Refusal.TERMINAL
    elif refused := moves.refusal(row, nonce):
        return refused
    else:
        mine = moves.claimed(row, nonce, worker, lease_ms, s.now)
    s.save(row, mine)
    return reading.history_of(s, mine)


def commit(s: Session, asked: Commit) -> Committed | None:
    """The fenced write; None when the lease is not the asker's."""
    row = s.load(asked.id)
    if row is None:
        return None
    if asked.nonce == row.left_nonce and asked.count == row.left_count:
        return _answer(s, row, row.left_answer, asked.seen)
    if not row.owned or asked.nonce != row.nonce:
        return None
    if asked.count <= row.count:
        return _again(s, row, asked)
    _record(s, row, asked.entries)
    deadlines = _open_and_close(s, row, asked)
    _send(s, row, asked)
    held = moves.held(row, asked.lease_ms, bool(asked.entries), s.now)
    gone = None if asked.end is None else moves.over(held, asked.end, asked.seen, _nearest(s, row), s.now)
    if gone is not None and asked.end is not None:
        _settle(s, gone, asked.end)
    changed = _remember(held if gone is None else gone, asked, deadlines, s.now)
    s.save(row, changed)
    return _answer(s, changed, changed.answer if gone is None else changed.left_answer, asked.seen)


def _again(s: Session, row: Row, asked: Commit) -> Committed | None:
    """The last commit of this lease once more; an older one comes too late to be answered."""
    if asked.count < row.count or not row.answer:
        return None
    # The worker trusts its lease from the moment it asked again.
    s.save(row, replace(row, lease_until=s.now + asked.lease_ms))
    return _answer(s, row, row.answer, asked.seen)


def renew(s: Session, leases: Sequence[Lease], lease_ms: int) -> list[Renewed]:
    return [_renew(s, lease, lease_ms) for lease in leases]


def _renew(s: Session, lease: Lease, lease_ms: int) -> Renewed:
    row = s.load(lease.id)
    if row is None:
        return Renewed(id=lease.id, held=False, inbox=0)
    held = row.owned and row.nonce == lease.nonce
    if held:
        s.save(row, replace(row, lease_until=s.now + lease_ms))
    return Renewed(id=lease.id, held=held, inbox=row.inbox)


def release(s: Session, id: str, nonce: str) -> Wake | None:
    """Hand back, ready at once."""
    row = s.load(id)
    if row is None or not row.owned or row.nonce != nonce:
        return None
    ready = moves.released(row, s.now)
    s.save(row, ready)
    return ready.wake


def pass_over(s: Session, id: str, reason: str) -> None:
    row = s.load(id)
    if row is not None and row.ready_at is not None:
        s.save(row, moves.passed_over(row, reason, s.now))


# -- the parts of a commit --------------------------------------------------------------------------


def _record(s: Session, row: Row, entries: Sequence[Entry]) -> None:
    for entry in entries:
        packed = entry.pack()
        found = s.db.execute("SELECT packed FROM entry WHERE x = ? AND id = ?", (row.x, entry.id)).fetchone()
        if found is None:
            s.db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (row.x, entry.id, entry.number, packed))
        elif found[0] != packed:
            raise StoreConflict(
                f"execution {row.id!r} has recorded {entry.id!r} already, with other content: nothing was written"
            )


def _open_and_close(s: Session, row: Row, asked: Commit) -> dict[str, int | None]:
    """The deadlines of the waits in ``opens``."""
    _close(s, row, [entry.id for entry in asked.entries])
    deadlines = {wait.id: _open(s, row, wait) for wait in asked.opens}
    _close(s, row, asked.closes)
    return deadlines


def _open(s: Session, row: Row, wait: Open) -> int | None:
    found = s.db.execute("SELECT deadline FROM wait WHERE x = ? AND id = ?", (row.x, wait.id)).fetchone()
    if found is not None and not wait.replace:
        known: int | None = found[0]
        return known
    deadline = wait.until_ms if wait.after_ms is None else s.now + wait.after_ms
    values = (row.x, wait.id, wait.kind, wait.name, s.now, deadline, wait.attempts)
    s.db.execute("INSERT OR REPLACE INTO wait VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    return deadline


def _close(s: Session, row: Row, ids: Sequence[str]) -> None:
    s.db.executemany("DELETE FROM wait WHERE x = ? AND id = ?", [(row.x, id) for id in ids])


def _send(s: Session, row: Row, asked: Commit) -> None:
    s.db.executemany(
        "INSERT INTO outbox (ns, p, at, target, request, kind, name, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(row.ns, row.p, s.now, o.target, o.request, o.kind, o.name, o.payload) for o in asked.outgoing],
    )


def _nearest(s: Session, row: Row) -> int | None:
    found: tuple[int | None] = s.db.execute("SELECT min(deadline) FROM wait WHERE x = ?", (row.x,)).fetchone()
    return found[0]


def _settle(s: Session, row: Row, end: End) -> None:
    """What an end that was taken leaves beside the row."""
    match end:
        case Complete(result=result) if row.status is Status.COMPLETED:
            s.db.execute("UPDATE payload SET result = ?, error = NULL WHERE x = ?", (result, row.x))
        case Fail(error=error) | RetryAttempt(error=error):
            s.db.execute("UPDATE payload SET error = ? WHERE x = ?", (error, row.x))
        case _:
            pass
    if isinstance(end, RetryAttempt) and row.status is Status.RETRYING:
        s.db.executemany("DELETE FROM entry WHERE x = ? AND id = ?", [(row.x, id) for id in end.drop])
        s.db.execute("DELETE FROM wait WHERE x = ?", (row.x,))


def _remember(row: Row, asked: Commit, deadlines: dict[str, int | None], now: int) -> Row:
    """Keep the answer, for the same commit asked again."""
    answer = msgpack.packb((now, not row.owned, row.status.value, deadlines))
    if row.owned:
        return replace(row, count=asked.count, answer=answer)
    return replace(row, left_nonce=asked.nonce, left_count=asked.count, left_answer=answer)


def _answer(s: Session, row: Row, kept: bytes, seen: int) -> Committed:
    now, released, status, deadlines = msgpack.unpackb(kept)
    return Committed(
        now=now,
        released=released,
        status=Status(status),
        deadlines=deadlines,
        news=reading.inbox_of(s, row, seen) if row.inbox > seen else (),
    )
