"""The next run of an execution: what it takes along from the one before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.store.sqlite import kin
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.transactions import ContinueAsNew


def begin(s: Session, row: Row, end: ContinueAsNew, seen: int) -> Row:
    """Empty what belongs to a run, and renumber the inbox; the row with what it now says of it."""
    s.db.execute("UPDATE payload SET input = ? WHERE x = ?", (end.input, row.x))
    for table in ("entry", "wait"):
        s.db.execute(f"DELETE FROM {table} WHERE x = ?", (row.x,))  # noqa: S608 - our own names
    kin.forget_ended(s, row)
    items = s.db.execute("SELECT place, kind FROM inbox WHERE x = ? ORDER BY place", (row.x,)).fetchall()
    kept = carried(items, end.keep, seen)
    gone = {place for place, _ in items} - {*kept}
    s.db.executemany("DELETE FROM inbox WHERE x = ? AND place = ?", [(row.x, place) for place in gone])
    # In ascending order: a place is free again before it is taken.
    moved = [(new, row.x, old) for new, old in enumerate(kept) if new != old]
    s.db.executemany("UPDATE inbox SET place = ? WHERE x = ? AND place = ?", moved)
    cancel = None if row.cancel_index not in kept else kept.index(row.cancel_index)
    return row._replace(inbox=len(kept), cancel_index=cancel, entries=0)


def carried(items: Iterable[tuple[int, str]], keep: Sequence[int], seen: int) -> list[int]:
    """The places of an inbox that go into the next run, in order; notices were for the run that is over."""
    wanted = {*keep}
    return [place for place, kind in items if kind != "ended" and (place >= seen or place in wanted)]
