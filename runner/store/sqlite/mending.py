"""Making a row agree with itself: pure functions find what is wrong with it and set it right, one change at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.core.status import Move, after
from runner.core.wakefulness import READY_WITHIN_MS
from runner.records import Status
from runner.store import GRACE_MS, partition_of
from runner.store.inspection import Mended, Repair
from runner.store.sqlite import checking, moves, saving, trail
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session

#: What was set right, and the row as it is then.
Step = tuple[str, Row]


def mend(s: Session, id: str, asked: Repair, partitions: int) -> Mended:
    """See ``Inspection.mend``."""
    row = s.load(id)
    if row is None:
        return Mended()
    done = [*_beside(s, row, asked)]
    changed = row
    for what, changed in _steps(row, asked, partitions, _nearest(s, row), s.now):  # noqa: B007 - the last one is kept
        done.append(what)
    if not done:
        return Mended()
    saved = saving.save(s, row, changed, [trail.line(s, row, "repaired", done=", ".join(done))])
    return Mended(done=tuple(done), wake=saved.wake if saved.seq > row.seq else None, rows=s.harvest()[1])


def _steps(row: Row, asked: Repair, partitions: int, nearest: int | None, now: int) -> Iterator[Step]:
    for step in _moves(row, asked, nearest, now):
        row = step[1]
        yield step
    # Last: what was set right has changed where it must stand.
    yield from _places(row, partitions, now)


def _moves(row: Row, asked: Repair, nearest: int | None, now: int) -> Iterator[Step]:
    if row.status.terminal:
        yield from _ended(row)
        return
    if row.expires_at is not None:
        row = row._replace(expires_at=None)
        yield "expiry", row
    if row.nonce:
        yield from _owned(row, asked, now)
    else:
        yield from _free(row, asked, nearest, now)


def _places(row: Row, partitions: int, now: int) -> Iterator[Step]:
    home = partition_of(row.id, partitions)
    if row.p != home:
        row = row._replace(p=home)
        yield f"into partition {home}", row
    needs = checking.needs_operator(row)
    if needs is not None and bool(row.stuck) is not needs:
        row = row._replace(stuck=int(needs))
        yield "need of an operator", row
    in_line = row.ready_at is not None and not row.passed
    if in_line is not (row.since is not None):
        yield "line", row._replace(since=now if in_line else None)


def _ended(row: Row) -> Iterator[Step]:
    if row.nonce or row.lease_until is not None:
        row = moves.given_back(row)
        yield "owner", row
    if row.ready_at is not None or row.timer_at is not None:
        row = row._replace(ready_at=None, timer_at=None)
        yield "ready", row
    if row.expires_at is None:
        yield "expiry", row._replace(expires_at=(row.ended_at or row.created_at) + row.retention_ms)


def _owned(row: Row, asked: Repair, now: int) -> Iterator[Step]:
    if row.ready_at is not None or row.timer_at is not None:
        row = row._replace(ready_at=None, timer_at=None)
        yield "ready", row
    if row.lease_until is None:
        yield "owner", moves.released(row, now)
    elif row.lease_until > now + 2 * asked.lease_ms:
        yield "lease", row._replace(lease_until=now + 2 * asked.lease_ms)


def _free(row: Row, asked: Repair, nearest: int | None, now: int) -> Iterator[Step]:
    if row.lease_until is not None:
        row = moves.given_back(row)
        yield "lease", row
    if row.ready_at is not None:
        if row.ready_at > now + READY_WITHIN_MS:
            row = row._replace(ready_at=now + GRACE_MS)
            yield "ready", row
        yield from _timer(row, row.deadline)
    elif row.status is Status.RUNNING:
        yield "status", moves.readied(row._replace(status=after(row.status, Move.RELEASE)), now)
    elif asked.wake or (row.status not in (Status.SLEEPING, Status.CANCELLING) and row.timer_at is None):
        yield "ready", moves.readied(row, now)
    else:
        moments = [moment for moment in (nearest, row.deadline) if moment is not None]
        yield from _timer(row, min(moments, default=None))


def _timer(row: Row, latest: int | None) -> Iterator[Step]:
    if latest is not None and (row.timer_at is None or row.timer_at > latest):
        yield "timer", row._replace(timer_at=latest)


# -- beside the row -----------------------------------------------------------------------------------


def _beside(s: Session, row: Row, asked: Repair) -> Iterator[str]:
    sql = "UPDATE attribute SET ns = ?, created_at = ? WHERE x = ? AND (ns <> ? OR created_at <> ?)"
    if s.db.execute(sql, (row.ns, row.created_at, row.x, row.ns, row.created_at)).rowcount:
        yield "attributes"
    if row.status.terminal and s.db.execute("DELETE FROM wait WHERE x = ?", (row.x,)).rowcount:
        yield "waits"
    yield from _lost_children(s, row, asked.lost)
    yield from (f"follows {target} again" for target in asked.again)


def _lost_children(s: Session, row: Row, lost: Sequence[str]) -> Iterator[str]:
    for child in lost:
        sql = "UPDATE child SET phase = phase + 1 WHERE x = ? AND id = ? AND phase % 2 = 0"
        if s.db.execute(sql, (row.x, child)).rowcount:
            yield f"child {child}"


def _nearest(s: Session, row: Row) -> int | None:
    (found,) = s.db.execute("SELECT min(deadline) FROM wait WHERE x = ?", (row.x,)).fetchone()
    return None if found is None else int(found)
