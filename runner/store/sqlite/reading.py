"""Reading: one execution, or a page of them."""

from __future__ import annotations

from runner.errors import UsageError
from runner.records import (
    Entry,
    Execution,
    Filter,
    History,
    InboxItem,
    Page,
    Wait,
)
from runner.store.sqlite.rows import COLUMNS, SELECT, Row, Session, execution_of, row_of

_WHOLE = f"{SELECT}, payload.input, payload.result, payload.error FROM execution JOIN payload USING (x)"


def record(s: Session, id: str) -> Execution | None:
    row = s.load(id)
    return None if row is None else _execution(s, row)


def history(s: Session, id: str) -> History | None:
    row = s.load(id)
    return None if row is None else history_of(s, row)


def history_of(s: Session, row: Row) -> History:
    """All that a replay of this row needs."""
    entries = s.db.execute("SELECT packed FROM entry WHERE x = ? ORDER BY number, id", (row.x,))
    waits = s.db.execute("SELECT id, kind, name, opened_at, deadline, attempts FROM wait WHERE x = ?", (row.x,))
    return History(
        execution=_execution(s, row),
        entries=tuple(Entry.unpack(packed) for (packed,) in entries),
        waits=tuple(
            Wait(id=id, kind=kind, name=name, opened_at=opened_at, deadline=deadline, attempts=attempts)
            for id, kind, name, opened_at, deadline, attempts in waits
        ),
        inbox=inbox_of(s, row, 0),
        now=s.now,
    )


def inbox_of(s: Session, row: Row, seen: int) -> tuple[InboxItem, ...]:
    """The items behind the first ``seen``."""
    items = s.db.execute(
        "SELECT place, at, kind, name, payload FROM inbox WHERE x = ? AND place >= ? ORDER BY place", (row.x, seen)
    )
    return tuple(
        InboxItem(index=place, at=at, kind=kind, name=name, payload=payload) for place, at, kind, name, payload in items
    )


def executions(s: Session, filter: Filter) -> Page:
    """One page, newest first, along an index that holds exactly what is asked for."""
    conditions, values = _conditions(filter)
    sql = f"{_WHOLE} WHERE ns = ? {conditions} ORDER BY created_at DESC, x DESC LIMIT ?"
    # One more than shown tells whether this is the last page.
    found = s.db.execute(sql, (s.ns, *values, filter.limit + 1)).fetchall()
    shown = found[: filter.limit]
    last = row_of(shown[-1]) if shown else None
    return Page(
        executions=tuple(execution_of(row_of(one), *one[len(COLUMNS) :]) for one in shown),
        cursor=f"{last.created_at}.{last.x}" if last is not None and len(found) > len(shown) else None,
    )


def _conditions(filter: Filter) -> tuple[str, list[object]]:
    wanted: list[tuple[str, tuple[object, ...]]] = []
    if filter.status is not None:
        wanted.append(("status = ?", (filter.status.value,)))
    if filter.workflow is not None:
        wanted.append(("workflow = ?", (filter.workflow,)))
    if filter.created_after is not None:
        wanted.append(("created_at >= ?", (filter.created_after,)))
    if filter.created_before is not None:
        wanted.append(("created_at < ?", (filter.created_before,)))
    if filter.cursor is not None:
        wanted.append(("(created_at, x) < (?, ?)", _place(filter.cursor)))
    return "".join(f" AND {sql}" for sql, _ in wanted), [value for _, values in wanted for value in values]


def _place(cursor: str) -> tuple[int, int]:
    created_at, dot, x = cursor.partition(".")
    if not (dot and created_at.isdecimal() and x.isdecimal()):
        raise UsageError(f"{cursor!r} is no cursor of a listing: pass on the one that the last page gave")
    return int(created_at), int(x)


def _execution(s: Session, row: Row) -> Execution:
    payloads = s.db.execute("SELECT input, result, error FROM payload WHERE x = ?", (row.x,)).fetchone()
    return execution_of(row, *payloads)
