"""Writing a row, with all that follows from the change: its trail, what an end does, who is told."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from runner.records import AuditEntry
from runner.store.sqlite import kin, trail
from runner.store.sqlite.rows import COLUMNS, INSERT, Row
from runner.store.sqlite.session import Session


def insert(s: Session, row: Row, input: bytes) -> Row:
    """A new row; its ``x`` is given by the table."""
    x = s.db.execute(INSERT, row._replace(lines=min(row.audit, 1))[1:]).lastrowid or 0
    s.db.execute("INSERT INTO payload (x, input) VALUES (?, ?)", (x, input))
    fresh = row._replace(x=x)
    created = trail.line(s, row, "created", workflow=row.workflow, version=row.version, parent=row.parent)
    fresh = fresh._replace(lines=trail.add(s, fresh, [created]))
    _announce_timer(s, None, fresh)
    return fresh


def save(s: Session, old: Row, new: Row, notes: Iterable[AuditEntry] = ()) -> Row:
    """Write what differs: an index is touched only when its column changed.

    ``notes`` go into the trail before the change of status. Payloads must be written before: an end tells of them.
    """
    rows = [*notes]
    if new.status is not old.status:
        rows.append(trail.move(s, old, new))
    if rows:
        new = new._replace(lines=trail.add(s, new, rows))
    changed = tuple([at for at, (was, now) in enumerate(zip(old, new, strict=True)) if was is not now and was != now])
    if changed:
        s.db.execute(_update(changed), (*[new[at] for at in changed], old.x))
    if new.status.terminal and not old.status.terminal:
        _finish(s, new)
    _announce_timer(s, old, new)
    return new


def set_attributes(s: Session, row: Row, attributes: Iterable[tuple[str, str]]) -> None:
    for name, text in attributes:
        values = (row.x, name, text, row.ns, row.created_at)
        s.db.execute("INSERT OR REPLACE INTO attribute VALUES (?, ?, ?, ?, ?)", values)


@cache
def _update(changed: tuple[int, ...]) -> str:
    return f"UPDATE execution SET {', '.join(COLUMNS[at] + ' = ?' for at in changed)} WHERE x = ?"  # noqa: S608


def _finish(s: Session, row: Row) -> None:
    """What every end does, whoever brought it about."""
    s.db.execute("DELETE FROM wait WHERE x = ?", (row.x,))
    s.words.append((f"ended/{row.id}", row.status.value))
    kin.tell(s, row)


def _announce_timer(s: Session, old: Row | None, new: Row) -> None:
    if new.timer_at is None or (old is not None and old.timer_at == new.timer_at):
        return
    sooner = "ns = ? AND p = ? AND timer_at IS NOT NULL AND timer_at <= ? AND x <> ? LIMIT 1"
    found = s.db.execute(f"SELECT 1 FROM execution WHERE {sooner}", (s.ns, new.p, new.timer_at, new.x))  # noqa: S608
    if found.fetchone() is None:
        s.words.append(("timers", str(new.p)))
