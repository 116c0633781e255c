"""The requests that an execution has seen: what comes twice is answered as before, with the wake it caused."""

from __future__ import annotations

from dataclasses import dataclass

from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.transactions import Wake


@dataclass(frozen=True, slots=True)
class Before:
    """A request was here before. ``wake`` is what it caused, while nobody has followed it."""

    wake: Wake | None


def before(s: Session, row: Row, request: str) -> Before | None:
    """What is remembered of a request; None when it is new."""
    found = s.db.execute("SELECT seq FROM request WHERE x = ? AND request = ?", (row.x, request)).fetchone()
    if found is None:
        return None
    unheard = found[0] == row.seq and row.ready_at is not None
    return Before(row.wake if unheard else None)


def remember(s: Session, old: Row, new: Row, request: str) -> Wake | None:
    """Keep a request, with the wake that its change caused; that wake."""
    woke = new.seq > old.seq
    s.db.execute("INSERT INTO request VALUES (?, ?, ?)", (old.x, request, new.seq if woke else 0))
    return new.wake if woke else None
