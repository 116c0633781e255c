"""What comes from outside: starts, signals, cancels, notices."""

from __future__ import annotations

from collections.abc import Sequence

from runner.records import AuditEntry, Status
from runner.store.sqlite import journal, kin, moves, requests, saving, trail
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.transactions import (
    Deliver,
    Delivered,
    Reception,
    Start,
    Started,
    Wake,
)

#: How long a cancel waits for the start it has overtaken, in ms: the default retention of an execution.
TOMBSTONE_MS = 7 * 24 * 3600 * 1000


def start(s: Session, starts: Sequence[Start], partitions: int) -> list[Started]:
    """Create what is new, answer for the rest; in the order given."""
    return [_start(s, one, partitions) for one in starts]


def _start(s: Session, asked: Start, partitions: int) -> Started:
    row = s.load(asked.id)
    if row is None:
        row = _create(s, asked, partitions)
    elif asked.parent and asked.request != row.request:
        kin.add_follower(s, row, asked.parent, asked.parent_run)
    parcels, rows = s.harvest()
    return Started(
        new=row.request == asked.request,
        digest=row.digest,
        wake=row.wake if _unheard(row) else None,
        parcels=parcels,
        rows=rows,
    )


def _unheard(row: Row) -> bool:
    """Ready since its start and never claimed: the hint may be lost."""
    return row.status is Status.PENDING and row.started_at is None and row.ready_at is not None


def _create(s: Session, asked: Start, partitions: int) -> Row:
    row = saving.insert(s, moves.created(asked, s.ns, partitions, s.now), asked.input)
    row = saving.save(s, row, journal.record(s, row, asked.entries))
    saving.set_attributes(s, row, asked.attributes)
    if asked.parent:
        kin.add_follower(s, row, asked.parent, asked.parent_run)
    cancel = _overtaken_by(s, asked.id)
    return row if cancel is None else _take_in(s, row, cancel)[0]


def deliver(s: Session, asked: Deliver) -> Delivered:
    """Append to an inbox, once per request."""
    if asked.kind == "reopened":
        return kin.take_reopened(s, asked)
    row = s.load(asked.id)
    if row is None:
        return Delivered(reception=_bury(s, asked) if asked.tombstone else Reception.UNKNOWN)
    if (before := requests.before(s, row, _once(asked))) is not None:
        return Delivered(reception=Reception.DELIVERED, wake=before.wake)
    if asked.kind == "ended":
        kin.mark_ended(s, row, asked)
    if row.status.terminal or asked.run not in (0, row.run):
        return Delivered(reception=Reception.TERMINAL)
    if asked.kind == "cancel" and row.cancelled:
        return Delivered(reception=Reception.DELIVERED)
    _, wake = _take_in(s, row, asked)
    parcels, rows = s.harvest()
    return Delivered(reception=Reception.DELIVERED, wake=wake, parcels=parcels, rows=rows)


def _once(asked: Deliver) -> str:
    """What is not to happen twice. A run takes its notices along: the next one can hear of the same end again."""
    return f"{asked.request} {asked.run}" if asked.kind == "ended" else asked.request


def _take_in(s: Session, row: Row, asked: Deliver) -> tuple[Row, Wake | None]:
    item = (row.x, row.inbox, s.now, asked.kind, asked.name, asked.payload)
    s.db.execute("INSERT INTO inbox VALUES (?, ?, ?, ?, ?, ?)", item)
    changed = saving.save(s, row, moves.received(row, asked, s.now), [_line(s, row, asked)])
    if row.owned:
        s.words.append((f"worker/{row.worker}", row.id))
    return changed, requests.remember(s, row, changed, _once(asked))


def _line(s: Session, row: Row, asked: Deliver) -> AuditEntry:
    if asked.kind == "cancel":
        return trail.line(s, row, "cancel", reason=asked.name)
    # ``kind`` is a field of this line too.
    return AuditEntry(execution_id=row.id, at=s.now, kind="delivered", fields={"kind": asked.kind, "name": asked.name})


# -- cancels that overtake their start ------------------------------------------------------------


def _bury(s: Session, cancel: Deliver) -> Reception:
    """Leave a tombstone, and clear those away that no start has come for."""
    s.db.execute("DELETE FROM tombstone WHERE ns = ? AND until <= ?", (s.ns, s.now))
    values = (s.ns, cancel.id, cancel.request, cancel.name, s.now + TOMBSTONE_MS)
    s.db.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?, ?, ?, ?)", values)
    return Reception.DELIVERED


def _overtaken_by(s: Session, id: str) -> Deliver | None:
    """The cancel that was here before the execution; it counts once."""
    found = s.db.execute("SELECT request, reason, until FROM tombstone WHERE ns = ? AND id = ?", (s.ns, id)).fetchone()
    if found is None:
        return None
    s.db.execute("DELETE FROM tombstone WHERE ns = ? AND id = ?", (s.ns, id))
    request, reason, until = found
    return Deliver(id=id, request=request, kind="cancel", name=reason, payload=b"") if until > s.now else None
