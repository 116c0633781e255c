"""Schedules: whole records that are compared and set, and an index of when each must be looked at."""

from __future__ import annotations

from collections.abc import Sequence

from runner.records import Schedule
from runner.store.sqlite.session import Session
from runner.transactions import DueSchedules

_KEPT = "SELECT revision, created_at, packed FROM schedule WHERE ns = ? AND id = ?"
_PUT = (
    "INSERT INTO schedule VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
    "SET revision = excluded.revision, created_at = excluded.created_at, due_at = excluded.due_at, packed = excluded.packed"
)
_DUE = "SELECT packed FROM schedule WHERE ns = ? AND due_at IS NOT NULL AND due_at <= ? ORDER BY due_at, id LIMIT ?"
_NEXT = "SELECT due_at FROM schedule WHERE ns = ? AND due_at IS NOT NULL ORDER BY due_at, id LIMIT 1 OFFSET ?"


def put(s: Session, schedules: Sequence[Schedule]) -> list[bool]:
    """Compare and set each, on its own."""
    return [_put(s, one) for one in schedules]


def _put(s: Session, new: Schedule) -> bool:
    packed = new.pack()
    kept = s.db.execute(_KEPT, (s.ns, new.id)).fetchone()
    if kept == (new.revision, new.created_at, packed):
        return True
    if not _follows(new, kept):
        return False
    first = _first(s)
    s.db.execute(_PUT, (s.ns, new.id, new.revision, new.created_at, new.due_at, packed))
    if new.due_at is not None:
        _tell(s, new.id, new.due_at, first)
    return True


def _follows(new: Schedule, kept: tuple[int, int, bytes] | None) -> bool:
    """It is the next revision of what is kept. One that was removed and made anew counts from 1 too: it is another."""
    return new.revision == 1 if kept is None else kept[:2] == (new.revision - 1, new.created_at)


def drop(s: Session, id: str, revision: int) -> bool:
    s.db.execute("DELETE FROM schedule WHERE ns = ? AND id = ? AND revision = ?", (s.ns, id, revision))
    return schedule(s, id) is None


def due(s: Session, limit: int) -> DueSchedules:
    found = s.db.execute(_DUE, (s.ns, s.now, limit)).fetchall()
    behind = s.db.execute(_NEXT, (s.ns, len(found))).fetchone()
    schedules = tuple(Schedule.unpack(packed) for (packed,) in found)
    return DueSchedules(schedules=schedules, next_at=None if behind is None else behind[0], now=s.now)


def stir(s: Session, id: str) -> None:
    """Due now, if it was not before."""
    first = _first(s)
    stirred = s.db.execute(
        "UPDATE schedule SET due_at = ? WHERE ns = ? AND id = ? AND (due_at IS NULL OR due_at > ?)",
        (s.now, s.ns, id, s.now),
    )
    if stirred.rowcount:
        _tell(s, id, s.now, first)


def schedule(s: Session, id: str) -> Schedule | None:
    kept = s.db.execute("SELECT packed FROM schedule WHERE ns = ? AND id = ?", (s.ns, id)).fetchone()
    return None if kept is None else Schedule.unpack(kept[0])


def schedules(s: Session, limit: int, after: str) -> list[Schedule]:
    found = s.db.execute(
        "SELECT packed FROM schedule WHERE ns = ? AND id > ? ORDER BY id LIMIT ?", (s.ns, after, limit)
    )
    return [Schedule.unpack(packed) for (packed,) in found]


def _first(s: Session) -> int | None:
    (moment,) = s.db.execute("SELECT min(due_at) FROM schedule WHERE ns = ? AND due_at IS NOT NULL", (s.ns,)).fetchone()
    return None if moment is None else int(moment)


def _tell(s: Session, id: str, due_at: int, first: int | None) -> None:
    """Whoever sleeps until the first of the others would sleep too long."""
    if first is None or due_at < first:
        s.words.append(("schedules", id))
