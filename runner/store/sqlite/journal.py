"""The journal's rows. An execution's row knows how many there must be: what is missing then was taken by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from runner.errors import StoreConflict
from runner.records import Entry
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session


def record(s: Session, row: Row, entries: Sequence[Entry]) -> Row:
    """Append. The same line again is no write; another one under its id raises StoreConflict."""
    return _counted(row, sum(_add(s, row, entry) for entry in entries))


def drop(s: Session, row: Row, ids: Iterable[str]) -> Row:
    gone = s.db.executemany("DELETE FROM entry WHERE x = ? AND id = ?", [(row.x, id) for id in ids]).rowcount
    return _counted(row, -max(gone, 0))


def put(s: Session, row: Row, entry: Entry) -> Row:
    """In the place of the one of its id, or behind the last."""
    found = s.db.execute("SELECT number FROM entry WHERE x = ? AND id = ?", (row.x, entry.id)).fetchone()
    sql = "SELECT coalesce(max(number), 0) + 1 FROM entry WHERE x = ?"
    number = s.db.execute(sql, (row.x,)).fetchone() if found is None else found
    placed = replace(entry, number=number[0])
    s.db.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)", (row.x, placed.id, placed.number, placed.pack()))
    return _counted(row, int(found is None))


def length(s: Session, row: Row) -> int:
    (found,) = s.db.execute("SELECT count(*) FROM entry WHERE x = ?", (row.x,)).fetchone()
    return int(found)


def _add(s: Session, row: Row, entry: Entry) -> int:
    packed = entry.pack()
    values = (row.x, entry.id, entry.number, packed)
    if s.db.execute("INSERT INTO entry VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", values).rowcount:
        return 1
    found = s.db.execute("SELECT packed FROM entry WHERE x = ? AND id = ?", (row.x, entry.id)).fetchone()
    if found[0] != packed:
        raise StoreConflict(
            f"execution {row.id!r} has recorded {entry.id!r} already, with other content: nothing was written"
        )
    return 0


def _counted(row: Row, change: int) -> Row:
    return row._replace(entries=row.entries + change) if change else row
