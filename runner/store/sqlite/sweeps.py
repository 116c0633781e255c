"""What time does to executions: timers, leases, grace, retention, the outbox; one partition at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.store import GRACE_MS, PASS_LAST_MS
from runner.store.crashes import GIVE_UP, CrashLimit
from runner.store.sqlite import losses, moves, saving
from runner.store.sqlite.crashes import give_back
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.transactions import (
    Overdue,
    Wake,
    Woken,
)

_DEPENDENT = (
    "entry",
    "wait",
    "inbox",
    "request",
    "attribute",
    "audit",
    "child",
    "follower",
    "payload",
    "execution",
)


def due(s: Session, partition: int, limit: int) -> Woken:
    """Wake what its timer calls, end what its own deadline calls."""
    rows = _reached(s, "timer_at", partition, limit)
    return _woken(s, "timer_at", partition, [(row, moves.timer_fired(row, s.now)) for row in rows])


def reap(s: Session, partition: int, limit: int, alive: frozenset[str], crashes: CrashLimit) -> Woken:
    """Take leases away that have run out."""
    rows = _reached(s, "lease_until", partition, limit)
    changes = [(row, moves.reaped(row, row.worker not in alive, crashes.crashes, s.now)) for row in rows]
    return _woken(s, "lease_until", partition, changes, crashes)


def overdue(s: Session, partition: int, limit: int, backoff_ms: int) -> Overdue:
    """What is ready and was not claimed in time, pushed into the future."""
    rows = _reached(s, "ready_at", partition, limit)
    for row in rows:
        saving.save(s, row, row._replace(ready_at=s.now + backoff_ms))
    ready = s.db.execute(
        "SELECT queue, count(*) FROM execution WHERE ns = ? AND p = ? AND ready_at IS NOT NULL GROUP BY queue",
        (s.ns, partition),
    )
    return Overdue(
        lost=tuple(row.wake for row in rows if not row.passed),
        passed=tuple(row.wake for row in rows if row.passed),
        ready=dict(ready.fetchall()),
        next_at=s.earliest("ready_at", partition),
        now=s.now,
    )


def rush(s: Session, workflows: Iterable[tuple[str, int]], limit: int) -> list[Wake]:
    """Offer again what was passed over; it stays so, with its reason, until it is claimed."""
    wakes: list[Wake] = []
    for workflow, version in workflows:
        # ``passes > 0`` names the index; what was claimed since keeps its passes, but not the reason.
        offered = "passes > 0 AND passed <> '' AND ready_at IS NOT NULL"
        condition = f"workflow = ? AND version = ? AND {offered} ORDER BY ready_at LIMIT ?"
        for row in s.several(condition, workflow, version, limit - len(wakes)):
            saving.save(s, row, row._replace(ready_at=s.now + GRACE_MS))
            wakes.append(row.wake)
    return wakes


def purge(s: Session, partition: int, limit: int) -> tuple[int, int | None]:
    """Delete what is past its retention, whole."""
    rows = _reached(s, "expires_at", partition, limit)
    for table in _DEPENDENT:
        s.db.executemany(f"DELETE FROM {table} WHERE x = ?", [(row.x,) for row in rows])  # noqa: S608 - our own names
    if rows:
        losses.remember_gone(s, [row.id for row in rows])
    return len(rows), s.earliest("expires_at", partition)


def next_due(s: Session, partition: int) -> dict[str, int | None]:
    """The earliest moment of each index."""
    oldest = s.db.execute("SELECT at FROM outbox WHERE ns = ? AND p = ? ORDER BY place LIMIT 1", (s.ns, partition))
    parcel = oldest.fetchone()
    return {
        "timers": s.earliest("timer_at", partition),
        "leases": s.earliest("lease_until", partition),
        "ready": s.earliest("ready_at", partition),
        "expiry": s.earliest("expires_at", partition),
        "outbox": parcel[0] if parcel else None,
        "now": s.now,
    }


def recover(s: Session, crashes: CrashLimit = GIVE_UP) -> int:
    """The file has just been opened: no lease in this namespace can be alive, and every hint is lost.

    Returns how many leases were taken away.
    """
    held = s.several("lease_until IS NOT NULL")
    for row in held:
        give_back(s, row, moves.reaped(row, True, crashes.crashes, s.now), crashes)
    s.db.execute("UPDATE execution SET ready_at = ? WHERE ns = ? AND ready_at > ?", (s.now, s.ns, s.now))
    for table in ("seat", "worker"):
        s.db.execute(f"DELETE FROM {table} WHERE ns = ?", (s.ns,))  # noqa: S608 - our own names
    return len(held)


def _reached(s: Session, column: str, partition: int, limit: int) -> list[Row]:
    """What cannot be read comes again later, and holds up no other."""
    condition = f"p = ? AND {column} IS NOT NULL AND {column} <= ? ORDER BY {column}, x LIMIT ?"
    rows: list[Row] = []
    for found in s.raw(condition, partition, s.now, limit):
        row = s.row_or_not(found)
        if row is None:
            s.db.execute(f"UPDATE execution SET {column} = ? WHERE x = ?", (s.now + PASS_LAST_MS, found[0]))  # noqa: S608
        else:
            rows.append(row)
    return rows


def _woken(
    s: Session, column: str, partition: int, changes: Sequence[tuple[Row, Row]], crashes: CrashLimit = GIVE_UP
) -> Woken:
    for row, changed in changes:
        give_back(s, row, changed, crashes)
    parcels, rows = s.harvest()
    return Woken(
        wakes=tuple(changed.wake for row, changed in changes if changed.seq > row.seq),
        next_at=s.earliest(column, partition),
        now=s.now,
        parcels=parcels,
        rows=rows,
    )
