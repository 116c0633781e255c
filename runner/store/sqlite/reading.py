"""Reading: one execution, or a page of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.errors import PayloadError, UsageError
from runner.records import (
    Entry,
    Execution,
    Filter,
    History,
    InboxItem,
    Page,
    Wait,
)
from runner.store.sqlite.rows import COLUMNS, SELECT, Row, execution_of, id_of, row_of
from runner.store.sqlite.session import Session
from runner.store.unreadable import unreadable

_ATTRIBUTES = "(SELECT json_group_object(name, json(text)) FROM attribute WHERE attribute.x = payload.x)"
_PAYLOADS = f"payload.input, payload.result, payload.error, {_ATTRIBUTES}"
_ALONE = f"SELECT {_PAYLOADS} FROM payload WHERE x = ?"  # noqa: S608 - our own names
_ATTRIBUTE = (
    "EXISTS (SELECT 1 FROM attribute AS other WHERE other.x = execution.x AND other.name = ? AND other.text = ?)"
)
_CREATED_AT = COLUMNS.index("created_at")
_WHOLE = f"{SELECT}, {_PAYLOADS} FROM"


def record(s: Session, id: str) -> Execution | None:
    row = s.load(id)
    return None if row is None else execution_of_row(s, row)


def history(s: Session, id: str) -> History | None:
    row = s.load(id)
    return None if row is None else history_of(s, row)


def history_of(s: Session, row: Row) -> History:
    """All that a replay of this row needs."""
    entries = s.db.execute("SELECT packed FROM entry WHERE x = ? ORDER BY number, id", (row.x,))
    waits = s.db.execute(
        "SELECT id, kind, name, opened_at, deadline, attempts, details FROM wait WHERE x = ?", (row.x,)
    )
    return History(
        execution=execution_of_row(s, row),
        entries=tuple(Entry.unpack(packed) for (packed,) in entries),
        waits=tuple(
            Wait(
                id=id,
                kind=kind,
                name=name,
                opened_at=opened_at,
                deadline=deadline,
                attempts=attempts,
                details=details,
            )
            for id, kind, name, opened_at, deadline, attempts, details in waits
        ),
        inbox=inbox_of(s, row, 0) if row.inbox else (),
        now=s.now,
        rows=s.harvest()[1],
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
    source, age = _source(filter)
    where = "".join(f" AND {one}" for one in conditions)
    sql = f"{_WHOLE} {source} WHERE {age}.ns = ? {where} ORDER BY {age}.created_at DESC, {age}.x DESC LIMIT ?"
    # One more than shown tells whether this is the last page.
    found = s.db.execute(sql, (s.ns, *values, filter.limit + 1)).fetchall()
    shown = found[: filter.limit]
    read = {id_of(one): _read(one) for one in shown}
    return Page(
        executions=tuple(one for one in read.values() if isinstance(one, Execution)),
        cursor=f"{shown[-1][_CREATED_AT]}.{shown[-1][0]}" if len(found) > len(shown) else None,
        unreadable={id: why for id, why in read.items() if isinstance(why, str)},
    )


def _read(values: Sequence[Any]) -> Execution | str:
    """An execution, or why it cannot be read."""
    try:
        return execution_of(row_of(values), *values[len(COLUMNS) :])
    except (PayloadError, ValueError, TypeError) as error:
        return str(error)


def _source(filter: Filter) -> tuple[str, str]:
    """The tables, and which of them leads: of attributes one is looked up. CROSS JOIN keeps it first."""
    if filter.attributes:
        return "attribute AS first CROSS JOIN execution USING (x) JOIN payload USING (x)", "first"
    return "execution JOIN payload USING (x)", "execution"


def _conditions(filter: Filter) -> tuple[list[str], list[object]]:
    _, age = _source(filter)
    wanted: list[tuple[str, tuple[object, ...]]] = []
    for place, (name, text) in enumerate(filter.attributes):
        wanted.append((_ATTRIBUTE if place else "first.name = ? AND first.text = ?", (name, text)))
    if filter.status is not None:
        wanted.append(("execution.status = ?", (filter.status.value,)))
    if filter.workflow is not None:
        wanted.append(("execution.workflow = ?", (filter.workflow,)))
    if filter.stuck:
        wanted.append(("execution.stuck = 1", ()))
    if filter.created_after is not None:
        wanted.append((f"{age}.created_at >= ?", (filter.created_after,)))
    if filter.created_before is not None:
        wanted.append((f"{age}.created_at < ?", (filter.created_before,)))
    if filter.cursor is not None:
        wanted.append((f"({age}.created_at, {age}.x) < (?, ?)", _place(filter.cursor)))
    return [sql for sql, _ in wanted], [value for _, values in wanted for value in values]


def _place(cursor: str) -> tuple[int, int]:
    created_at, dot, x = cursor.partition(".")
    if not (dot and created_at.isdecimal() and x.isdecimal()):
        raise UsageError(f"{cursor!r} is no cursor of a listing: pass on the one that the last page gave")
    return int(created_at), int(x)


def execution_of_row(s: Session, row: Row) -> Execution:
    payloads = s.db.execute(_ALONE, (row.x,)).fetchone()
    if payloads is None:
        raise unreadable(row.id, "it has no row in the table payload")
    return execution_of(row, *payloads)
