"""What one operation works with: its transaction, its moment, and what it will have to tell."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.errors import PayloadError
from runner.records import AuditEntry
from runner.store.sqlite.rows import SELECT, Row, row_of
from runner.store.sqlite.topics import Word
from runner.transactions import Parcel

_LOAD = f"{SELECT} FROM execution WHERE ns = ? AND id = ?"


@dataclass(slots=True)
class Session:
    """The open transaction of one operation.

    ``words`` are published after the commit; ``parcels`` and ``rows`` are what was put into the outbox and into audit
    trails since the last ``harvest``.
    """

    db: sqlite3.Connection
    ns: int
    now: int
    words: list[Word] = field(default_factory=list)
    parcels: list[Parcel] = field(default_factory=list)
    rows: list[AuditEntry] = field(default_factory=list)

    def load(self, id: str) -> Row | None:
        found = self.db.execute(_LOAD, (self.ns, id)).fetchone()
        return None if found is None else row_of(found)

    def several(self, condition: str, *values: object) -> list[Row]:
        """Rows by a condition on this namespace, which names the index that serves it by its columns.

        What cannot be read is left out: it must hold up no other.
        """
        rows = (self.row_or_not(found) for found in self.raw(condition, *values))
        return [row for row in rows if row is not None]

    def raw(self, condition: str, *values: object) -> list[Sequence[Any]]:
        """As ``several``, all of them, as the file has them."""
        return self.db.execute(f"{SELECT} FROM execution WHERE ns = ? AND {condition}", (self.ns, *values)).fetchall()

    @staticmethod
    def row_or_not(found: Sequence[Any]) -> Row | None:
        """None when it cannot be read."""
        try:
            return row_of(found)
        except PayloadError:
            return None

    def earliest(self, column: str, partition: int) -> int | None:
        """The first moment of a time index."""
        sql = f"SELECT min({column}) FROM execution WHERE ns = ? AND p = ? AND {column} IS NOT NULL"  # noqa: S608
        (found,) = self.db.execute(sql, (self.ns, partition)).fetchone()
        return None if found is None else int(found)

    def harvest(self) -> tuple[tuple[Parcel, ...], tuple[AuditEntry, ...]]:
        """The parcels and rows for an answer; they are told once."""
        parcels, rows = tuple(self.parcels), tuple(self.rows)
        self.parcels.clear()
        self.rows.clear()
        return parcels, rows
