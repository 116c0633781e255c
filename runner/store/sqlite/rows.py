"""One execution's row: loaded into a frozen record, changed by pure functions, written back by its difference."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from runner.records import Cause, Execution, Status
from runner.store.sqlite.topics import Word
from runner.transactions import Wake


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An execution without its payloads. The names are those of the columns."""

    x: int
    ns: int
    p: int
    id: str
    request: str
    workflow: str
    version: int
    queue: str
    digest: str
    key: str | None
    created_at: int
    deadline: int | None
    retention_ms: int
    status: Status = Status.PENDING
    run: int = 1
    attempt: int = 1
    crashes: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    seq: int = 0
    worker: str = ""
    nonce: str = ""
    lease_until: int | None = None
    count: int = 0  # of the last commit under this lease, with the answer it got
    answer: bytes = b""
    last_nonce: str = ""  # of the last lease that is over
    left_nonce: str = ""  # the last commit that gave a lease back, with the answer it got
    left_count: int = 0
    left_answer: bytes = b""
    cause: Cause = Cause.NONE
    reason: str = ""
    passed: str = ""
    passes: int = 0
    ready_at: int | None = None
    timer_at: int | None
    expires_at: int | None = None
    inbox: int = 0  # its length
    cancel_index: int | None = None  # where in the inbox the cancel lies

    @property
    def owned(self) -> bool:
        return self.lease_until is not None

    def late(self, now: int) -> bool:
        """True when its own deadline has passed."""
        return self.deadline is not None and self.deadline <= now

    @property
    def wake(self) -> Wake:
        return Wake(id=self.id, queue=self.queue, workflow=self.workflow, version=self.version, seq=self.seq)


COLUMNS = tuple(f.name for f in fields(Row))
SELECT = f"SELECT {', '.join('execution.' + name for name in COLUMNS)}"
_INSERT = f"INSERT INTO execution ({', '.join(COLUMNS[1:])}) VALUES ({', '.join('?' * (len(COLUMNS) - 1))})"  # noqa: S608


def row_of(values: Sequence[Any]) -> Row:
    """A row as SELECT gives it."""
    named: dict[str, Any] = dict(zip(COLUMNS, values, strict=False))
    named["status"] = Status(named["status"])
    named["cause"] = Cause(named["cause"])
    return Row(**named)


def execution_of(row: Row, input: bytes, result: bytes | None, error: bytes | None) -> Execution:
    """The record that the outside sees."""
    return Execution(
        id=row.id,
        workflow=row.workflow,
        version=row.version,
        queue=row.queue,
        status=row.status,
        input=input,
        digest=row.digest,
        key=row.key,
        run=row.run,
        attempt=row.attempt,
        crashes=row.crashes,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        deadline=row.deadline,
        seq=row.seq,
        worker=row.worker,
        lease_until=row.lease_until,
        result=result,
        error=error,
        cause=row.cause,
        reason=row.reason,
        passed=row.passed,
    )


@dataclass(slots=True, kw_only=True)
class Session:
    """What one operation works with: the open transaction, its namespace, its moment, its words for later."""

    db: sqlite3.Connection
    ns: int
    now: int
    words: list[Word] = field(default_factory=list)

    def load(self, id: str) -> Row | None:
        found = self.db.execute(f"{SELECT} FROM execution WHERE ns = ? AND id = ?", (self.ns, id)).fetchone()
        return None if found is None else row_of(found)

    def several(self, condition: str, *values: object) -> list[Row]:
        """Rows by a condition on this namespace; it names the index that serves it by its columns."""
        sql = f"{SELECT} FROM execution WHERE ns = ? AND {condition}"
        return [row_of(found) for found in self.db.execute(sql, (self.ns, *values)).fetchall()]

    def insert(self, row: Row, input: bytes) -> None:
        """A new row; its ``x`` is given by the table."""
        x = self.db.execute(_INSERT, [getattr(row, name) for name in COLUMNS[1:]]).lastrowid or 0
        self.db.execute("INSERT INTO payload (x, input) VALUES (?, ?)", (x, input))
        self._announce(None, row, x)

    def save(self, old: Row, new: Row) -> None:
        """Write what differs: an index is touched only when its column changed."""
        changed = [name for name in COLUMNS if getattr(old, name) != getattr(new, name)]
        if not changed:
            return
        sets = ", ".join(f"{name} = ?" for name in changed)
        values = [getattr(new, name) for name in changed]
        self.db.execute(f"UPDATE execution SET {sets} WHERE x = ?", (*values, old.x))  # noqa: S608 - our own names
        if new.status.terminal:
            self.db.execute("DELETE FROM wait WHERE x = ?", (old.x,))
        self._announce(old, new, old.x)

    def earliest(self, column: str, partition: int) -> int | None:
        """The first moment of a time index."""
        sql = f"SELECT min({column}) FROM execution WHERE ns = ? AND p = ? AND {column} IS NOT NULL"  # noqa: S608
        (found,) = self.db.execute(sql, (self.ns, partition)).fetchone()
        return None if found is None else int(found)

    def _announce(self, old: Row | None, new: Row, x: int) -> None:
        if new.status.terminal and (old is None or not old.status.terminal):
            self.words.append((f"ended/{new.id}", new.status.value))
        if new.timer_at is None or (old is not None and old.timer_at == new.timer_at):
            return
        sooner = "ns = ? AND p = ? AND timer_at IS NOT NULL AND timer_at <= ? AND x <> ? LIMIT 1"
        found = self.db.execute(f"SELECT 1 FROM execution WHERE {sooner}", (self.ns, new.p, new.timer_at, x))  # noqa: S608
        if found.fetchone() is None:
            self.words.append(("timers", str(new.p)))
