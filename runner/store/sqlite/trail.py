"""The audit trail: a line for everything that happens to an execution, and no more lines than it keeps."""

from __future__ import annotations

from collections.abc import Sequence

from runner.records import AuditEntry, Plain
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session


def line(s: Session, row: Row, kind: str, **fields: Plain) -> AuditEntry:
    """A row of the store's own."""
    return AuditEntry(execution_id=row.id, at=s.now, kind=kind, fields=fields)


def move(s: Session, old: Row, new: Row) -> AuditEntry:
    """The line of a change of status; of a claim it names the worker, of an end the cause."""
    fields: dict[str, Plain] = {"from": old.status.value, "to": new.status.value}
    if new.owned and not old.owned:
        fields["worker"] = new.worker
    if new.status.terminal:
        fields["cause"] = new.cause.value
    return line(s, new, "status", **fields)


def add(s: Session, row: Row, rows: Sequence[AuditEntry]) -> int:
    """Append to the trail, and drop what is too old for it. Returns the number of lines there ever were."""
    s.rows += rows
    if not row.audit:
        return 0
    for place, one in enumerate(rows, row.lines):
        s.db.execute("INSERT INTO audit VALUES (?, ?, ?)", (row.x, place, one.pack()))
    lines = row.lines + len(rows)
    if lines > row.audit:
        s.db.execute("DELETE FROM audit WHERE x = ? AND place < ?", (row.x, lines - row.audit))
    return lines


def audit(s: Session, id: str) -> tuple[AuditEntry, ...]:
    """The trail, oldest first."""
    found = s.db.execute(
        "SELECT packed FROM audit WHERE x = (SELECT x FROM execution WHERE ns = ? AND id = ?) ORDER BY place",
        (s.ns, id),
    )
    return tuple(AuditEntry.unpack(id, packed) for (packed,) in found)
