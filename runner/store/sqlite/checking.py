"""Looking at what a file holds: where each execution stands, and rows that belong to nothing.

Indexes are the database's own and cannot contradict a row; what a row says in two places can.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from runner.codec import unpack_as
from runner.core.facts import Facts, Look, ScheduleFacts, Stray, Unreadable
from runner.errors import PayloadError
from runner.records import Schedule, Status, Wait
from runner.store import partition_of
from runner.store.inspection import Followed
from runner.store.sqlite import journal
from runner.store.sqlite.rows import COLUMNS, Row, id_of, row_of
from runner.store.sqlite.session import Session

_PAGE = 100
#: Tables whose rows belong to an execution.
_OWNED = ("payload", "entry", "wait", "inbox", "request", "attribute", "audit", "child", "follower")
#: Each status that there is, from one to the next along the index: there may be a million executions.
_STATUSES = """
    WITH RECURSIVE present (status) AS (
        SELECT min(status) FROM execution WHERE ns = ?
        UNION ALL SELECT (SELECT min(status) FROM execution WHERE ns = ? AND status > present.status)
        FROM present WHERE present.status IS NOT NULL
    ) SELECT status FROM present WHERE status IS NOT NULL
"""
#: What comes of bytes and values that none of ours wrote.
_ODD = (PayloadError, ValueError, TypeError, KeyError)
_LIVING = tuple(status for status in Status if not status.terminal)


def page(s: Session, after: int, partitions: int) -> tuple[Look, int | None]:
    """Executions behind the ``after``-th; None when there are no more."""
    rows = s.raw("x > ? ORDER BY x LIMIT ?", after, _PAGE)
    (last,) = s.db.execute("SELECT max(x) FROM execution").fetchone()
    share = min(rows[-1][0] / last, 0.99) if rows else 0.99
    return replace(_look(s, rows, partitions), share=share), rows[-1][0] if rows else None


def strays(s: Session, table: str, after: int) -> tuple[Look, int | None]:
    """Rows of a table whose execution is not there, behind the one of number ``after``."""
    sql = f"SELECT DISTINCT x FROM {table} WHERE x > ? ORDER BY x LIMIT ?"  # noqa: S608 - our own names
    numbers = [x for (x,) in s.db.execute(sql, (after, _PAGE))]
    found = tuple(Stray(kind="data", place=f"{table}:{x}", id=str(x)) for x in numbers if not _is_there(s, x))
    return Look(strays=found, share=0.99), numbers[-1] if numbers else None


def schedules(s: Session) -> Look:
    kept = s.db.execute("SELECT id, packed, due_at FROM schedule WHERE ns = ?", (s.ns,)).fetchall()
    read = [_schedule(*one) for one in kept]
    return Look(
        schedules=tuple(one for one in read if isinstance(one, ScheduleFacts)),
        unreadable=tuple(one for one in read if isinstance(one, Unreadable)),
        share=1.0,
    )


def _schedule(id: str, packed: bytes, due_at: int | None) -> ScheduleFacts | Unreadable:
    try:
        return ScheduleFacts(id=id, due_at=Schedule.unpack(packed).due_at, index_at=due_at)
    except _ODD as error:
        return Unreadable(id="", place=f"table schedule, id {id}", why=str(error))


def tables() -> Sequence[str]:
    return _OWNED


def sweep(s: Session, asked: Iterable[Stray]) -> int:
    """Remove rows whose execution is not there."""
    count = 0
    for stray in asked:
        table, _, x = stray.place.partition(":")
        if table in _OWNED and not _is_there(s, int(x)):
            count += bool(s.db.execute(f"DELETE FROM {table} WHERE x = ?", (int(x),)).rowcount)  # noqa: S608 - our own names
    return count


def living(s: Session, partition: int, cursor: str, limit: int, partitions: int) -> tuple[Look, str]:
    """A page along the index of the status that the cursor names by its place among them, behind a row."""
    place, created_at, x = map(int, (cursor or "0:-1:-1").split(":"))
    condition = "status = ? AND p = ? AND (created_at, x) > (?, ?) ORDER BY created_at, x LIMIT ?"
    rows = s.raw(condition, _LIVING[place].value, partition, created_at, x, limit)
    found = _look(s, rows if cursor else [*rows, *_of_no_status(s, partition, limit)], partitions)
    if len(rows) == limit:
        return found, f"{place}:{rows[-1][COLUMNS.index('created_at')]}:{rows[-1][0]}"
    return found, f"{place + 1}:-1:-1" if place + 1 < len(_LIVING) else ""


def _of_no_status(s: Session, partition: int, limit: int) -> list[Sequence[Any]]:
    """The first of those whose status is none: they are in no page of the living."""
    found = [status for (status,) in s.db.execute(_STATUSES, (s.ns, s.ns)) if status not in set(Status)]
    return [row for status in found for row in s.raw("status = ? AND p = ? LIMIT ?", status, partition, limit)]


def facts(s: Session, ids: Iterable[str], partitions: int) -> Look:
    return _look(s, [row for id in ids for row in s.raw("id = ?", id)], partitions)


def _look(s: Session, rows: Iterable[Sequence[Any]], partitions: int) -> Look:
    found = [_facts_or_not(s, row, partitions) for row in rows]
    return Look(
        facts=tuple(one for one in found if isinstance(one, Facts)),
        unreadable=tuple(one for one in found if isinstance(one, Unreadable)),
    )


def _facts_or_not(s: Session, found: Sequence[Any], partitions: int) -> Facts | Unreadable:
    try:
        row = row_of(found)
        if s.db.execute("SELECT 1 FROM payload WHERE x = ?", (row.x,)).fetchone() is None:
            raise ValueError("it has no row in the table payload")
        return facts_of(s, row, partitions)
    except _ODD as error:
        return Unreadable(id=id_of(found), place=f"table execution, x = {found[0]}", why=str(error))


def facts_of(s: Session, row: Row, partitions: int) -> Facts:
    missing, surplus = misplaced(s, row, partitions)
    return Facts(
        id=row.id,
        status=row.status,
        now=s.now,
        run=row.run,
        owned=bool(row.nonce),
        claimed=row.started_at is not None,
        deadline=row.deadline,
        timeout_ms=row.timeout_ms,
        news=_has_news(s, row),
        waits=_waits(s, row),
        lease_until=row.lease_until,
        ready_at=row.ready_at,
        timer_at=row.timer_at,
        expires_at=row.expires_at,
        missing=missing,
        surplus=surplus,
        children=_unended(s, row),
        entries=row.entries,
        recorded=journal.length(s, row),
        arrived=row.inbox,
        inbox=s.db.execute("SELECT count(*) FROM inbox WHERE x = ?", (row.x,)).fetchone()[0],
    )


def misplaced(s: Session, row: Row, partitions: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a row says in two places: its partition, which is its id's; its age, which its attributes repeat; its need."""
    missing = [f"partition {row.p}"] if row.p != partition_of(row.id, partitions) else []
    sql = "SELECT name FROM attribute WHERE x = ? AND (ns <> ? OR created_at <> ?) ORDER BY name"
    missing += [f"by attribute {name}" for (name,) in s.db.execute(sql, (row.x, row.ns, row.created_at))]
    in_line = row.ready_at is not None and not row.passed
    missing += ["the line of its queue"] if in_line and row.since is None else []
    needs = needs_operator(row)
    missing += ["those that need an operator"] if needs and not row.stuck else []
    surplus = ["those that need an operator"] if needs is False and row.stuck else []
    surplus += ["the line of its queue"] if not in_line and row.since is not None else []
    return tuple(missing), tuple(surplus)


def needs_operator(row: Row) -> bool | None:
    """None where both can be right: of what ended as cancelled, it depends on why."""
    if row.status is Status.CANCELLED and row.outstanding > 0:
        return None
    return row.status is Status.COMPENSATION_FAILED or (row.status is Status.FAILED and row.outstanding > 0)


def followed(s: Session, target: str, waiter: str, run: int) -> Followed | None:
    row = s.load(target)
    if row is None:
        return None
    found = s.db.execute(
        "SELECT 1 FROM follower WHERE x = ? AND waiter = ? AND run = ?", (row.x, waiter, run)
    ).fetchone()
    return Followed(status=row.status, workflow=row.workflow, followed=found is not None)


def _is_there(s: Session, x: int) -> bool:
    return s.db.execute("SELECT 1 FROM execution WHERE x = ?", (x,)).fetchone() is not None


def _has_news(s: Session, row: Row) -> bool:
    """Something came after the turn had ended, with its last commit."""
    if not row.left_answer:
        return False
    (last,) = s.db.execute("SELECT max(at) FROM inbox WHERE x = ?", (row.x,)).fetchone()
    return last is not None and last > unpack_as(row.left_answer, "answer", 5)[0]


def _waits(s: Session, row: Row) -> tuple[Wait, ...]:
    found = s.db.execute("SELECT id, kind, name, opened_at, deadline FROM wait WHERE x = ? ORDER BY id", (row.x,))
    return tuple(
        Wait(id=id, kind=kind, name=name, opened_at=opened_at, deadline=deadline)
        for id, kind, name, opened_at, deadline in found
    )


def _unended(s: Session, row: Row) -> tuple[str, ...]:
    found = s.db.execute("SELECT id FROM child WHERE x = ? AND phase % 2 = 0 ORDER BY id", (row.x,))
    return tuple(id for (id,) in found)
