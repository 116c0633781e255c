"""What a turn asks of the store: claim, commit, renew, release; and passing one over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgpack

from runner.codec import unpack_as
from runner.core.status import Move
from runner.records import AuditEntry, History, Status
from runner.store.sqlite import journal, kin, losses, moves, outbox, reading, runs, saving
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.transactions import (
    Commit,
    Committed,
    Complete,
    ContinueAsNew,
    End,
    Fail,
    FailCompensation,
    Lease,
    Open,
    Refusal,
    Renewed,
    RetryAttempt,
    Suspend,
    Wake,
)


def claim(s: Session, id: str, nonce: str, worker: str, lease_ms: int, hinted: int) -> History | Refusal:
    """Take the lease and read everything, or say why not."""
    row = s.load(id)
    if row is None:
        return _unknown(s, id, hinted)
    row = losses.rewind(s, row, hinted)
    if row.owned and row.nonce == nonce:
        # The worker trusts its lease from the moment it asked again.
        mine = row._replace(lease_until=s.now + lease_ms)
    elif not row.owned and not row.status.terminal and row.late(s.now):
        saving.save(s, row, moves.ended(row, Move.TIME_OUT, s.now))
        return Refusal.TERMINAL
    elif refused := moves.refusal(row, nonce):
        return refused
    else:
        mine = moves.claimed(row, nonce, worker, lease_ms, s.now)
    return reading.history_of(s, saving.save(s, row, mine))


def told(s: Session, asked: Callable[[Session], History | Refusal]) -> tuple[History | Refusal, tuple[AuditEntry, ...]]:
    """What a claim came to, with the rows that it added to the trail: also one that is refused may have found a loss."""
    claimed = asked(s)
    return claimed, claimed.rows if isinstance(claimed, History) else s.harvest()[1]


def _unknown(s: Session, id: str, hinted: int) -> Refusal:
    if hinted and losses.is_gone(s, id):
        return Refusal.TERMINAL
    if hinted:
        losses.orphan(s, id)
    return Refusal.UNKNOWN


def commit(s: Session, asked: Commit) -> Committed | None:
    """The fenced write; None when the lease is not the asker's."""
    row = s.load(asked.id)
    if row is None:
        return None
    if asked.nonce == row.left_nonce and asked.count == row.left_commits:
        return _answer(s, row, row.left_answer, asked.seen)
    if not row.owned or asked.nonce != row.nonce:
        return None
    if asked.count <= row.commits:
        return _again(s, row, asked)
    if asked.count > row.commits + 1 or asked.seen > row.inbox:
        return None  # the store went back in time under this lease: what it recorded since must leave no gap
    grown = journal.record(s, row, asked.entries)
    deadlines = _open_and_close(s, row, asked)
    _send(s, row, asked)
    held = moves.held(grown, asked, s.now)
    nearest = _nearest(s, row) if isinstance(asked.end, Suspend) else None
    gone = None if asked.end is None else moves.over(held, asked.end, asked.seen, nearest, s.now)
    left = held if gone is None or asked.end is None else _settle(s, held, gone, asked.end, asked.seen)
    changed = saving.save(s, row, _remember(left, asked, deadlines, s.now), asked.audit)
    return _answer(s, changed, changed.answer if gone is None else changed.left_answer, asked.seen)


def _again(s: Session, row: Row, asked: Commit) -> Committed | None:
    """The last commit of this lease once more; an older one comes too late to be answered."""
    if asked.count < row.commits or not row.answer:
        return None
    # The worker trusts its lease from the moment it asked again.
    saving.save(s, row, row._replace(lease_until=s.now + asked.lease_ms))
    return _answer(s, row, row.answer, asked.seen)


def renew(s: Session, leases: Sequence[Lease], lease_ms: int) -> list[Renewed]:
    return [_renew(s, lease, lease_ms) for lease in leases]


def _renew(s: Session, lease: Lease, lease_ms: int) -> Renewed:
    row = s.load(lease.id)
    if row is None:
        return Renewed(id=lease.id, held=False, inbox=0)
    held = row.owned and row.nonce == lease.nonce
    if held:
        saving.save(s, row, row._replace(lease_until=s.now + lease_ms))
    return Renewed(id=lease.id, held=held, inbox=row.inbox)


def release(s: Session, id: str, nonce: str) -> Wake | None:
    """Hand back, ready at once."""
    row = s.load(id)
    if row is None or not row.owned or row.nonce != nonce:
        return None
    ready = moves.released(row, s.now)
    saving.save(s, row, ready)
    return ready.wake


def pass_over(s: Session, id: str, reason: str) -> None:
    row = s.load(id)
    if row is not None and row.ready_at is not None:
        saving.save(s, row, moves.passed_over(row, reason, s.now))


# -- the parts of a commit --------------------------------------------------------------------------


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
    values = (row.x, wait.id, wait.kind, wait.name, s.now, deadline, wait.attempts, wait.details)
    s.db.execute("INSERT OR REPLACE INTO wait VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    return deadline


def _close(s: Session, row: Row, ids: Sequence[str]) -> None:
    for id in ids:
        s.db.execute("DELETE FROM wait WHERE x = ? AND id = ?", (row.x, id))


def _send(s: Session, row: Row, asked: Commit) -> None:
    """What a commit puts beside the journal: into the outbox, among the children and the attributes."""
    for going in asked.outgoing:
        outbox.post(s, row.p, going)
    if asked.children:
        kin.add_children(s, row, asked.children)
    if asked.attributes:
        saving.set_attributes(s, row, asked.attributes)


def _nearest(s: Session, row: Row) -> int | None:
    found: tuple[int | None] = s.db.execute("SELECT min(deadline) FROM wait WHERE x = ?", (row.x,)).fetchone()
    return found[0]


def _settle(s: Session, held: Row, gone: Row, end: End, seen: int) -> Row:
    """What an end that was taken leaves beside the row; the row as it is then."""
    match end:
        case Complete(result=result) if gone.status is Status.COMPLETED:
            s.db.execute("UPDATE payload SET result = ?, error = NULL WHERE x = ?", (result, gone.x))
        case Fail(error=error) | FailCompensation(error=error) | RetryAttempt(error=error):
            s.db.execute("UPDATE payload SET error = ? WHERE x = ?", (error, gone.x))
        case ContinueAsNew() if gone.run > held.run:
            return runs.begin(s, gone, end, seen)
        case _:
            pass
    if isinstance(end, RetryAttempt) and gone.status is Status.RETRYING:
        s.db.execute("DELETE FROM wait WHERE x = ?", (gone.x,))
        return journal.drop(s, gone, end.drop)
    return gone


def _remember(row: Row, asked: Commit, deadlines: dict[str, int | None], now: int) -> Row:
    """Keep the answer, for the same commit asked again; of one that began a run, with the wake it caused."""
    begun = row.seq if row.ready_at is not None else 0
    answer = msgpack.packb((now, not row.owned, row.status.value, deadlines, begun))
    if row.owned:
        return row._replace(commits=asked.count, answer=answer)
    return row._replace(left_nonce=asked.nonce, left_commits=asked.count, left_answer=answer)


def _answer(s: Session, row: Row, kept: bytes, seen: int) -> Committed:
    now, released, status, deadlines, begun = unpack_as(kept, "answer", 5)
    parcels, rows = s.harvest()
    return Committed(
        now=now,
        released=released,
        status=Status(status),
        deadlines=deadlines,
        # What the run that is over had not seen is the next one's, under other numbers.
        news=reading.inbox_of(s, row, seen) if row.inbox > seen and not begun else (),
        wake=row.wake if begun and begun == row.seq and row.ready_at is not None else None,
        parcels=parcels,
        rows=rows,
    )
