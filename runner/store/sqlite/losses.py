"""What a file that went back in time has lost, as the hints that outlived it tell; and what was purged lately."""

from __future__ import annotations

from collections.abc import Iterable

from runner.store.sqlite import saving, trail
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.store.vitals import GONE_KEPT, GONE_MS, KEPT_LOSSES, LEAP, SHOWN_LOSSES, Losses


def rewind(s: Session, row: Row, hinted: int) -> Row:
    """The row, caught up with what a hint knows of it; not with what is forged."""
    if not 0 < hinted - row.seq <= LEAP or is_gone(s, row.id):
        return row
    _lose(s, "rewound", row.id)
    noted = trail.line(s, row, "rewound", seq=row.seq, hint=hinted)
    return saving.save(s, row, row._replace(seq=hinted), [noted])


def orphan(s: Session, id: str) -> None:
    """Counted once for as long as it is among the examples."""
    _lose(s, "orphaned", id)


def is_gone(s: Session, id: str) -> bool:
    """Purged a while ago: its hint is late, and no trace of anything."""
    return s.db.execute("SELECT 1 FROM gone WHERE ns = ? AND id = ?", (s.ns, id)).fetchone() is not None


def remember_gone(s: Session, ids: Iterable[str]) -> None:
    s.db.executemany("INSERT OR REPLACE INTO gone VALUES (?, ?, ?)", [(s.ns, id, s.now) for id in ids])
    s.db.execute("DELETE FROM gone WHERE ns = ? AND at <= ?", (s.ns, s.now - GONE_MS))
    _keep_latest(s, "gone", "ns = ?", (s.ns,), GONE_KEPT)


def losses(s: Session) -> Losses:
    return Losses(
        rewound=_count(s, "rewound"),
        orphaned=_count(s, "orphaned"),
        last_at=_count(s, "at") or None,
        rewound_ids=_latest(s, "rewound"),
        orphaned_ids=_latest(s, "orphaned"),
    )


def forget_losses(s: Session) -> None:
    s.db.execute("DELETE FROM loss WHERE ns = ?", (s.ns,))
    s.db.executemany("DELETE FROM meta WHERE key = ?", [(_key(s, name),) for name in ("rewound", "orphaned", "at")])


def _lose(s: Session, kind: str, id: str) -> None:
    known = s.db.execute("SELECT 1 FROM loss WHERE ns = ? AND kind = ? AND id = ?", (s.ns, kind, id)).fetchone()
    s.db.execute("INSERT OR REPLACE INTO loss VALUES (?, ?, ?, ?)", (s.ns, kind, id, s.now))
    if known is None or kind == "rewound":
        _set(s, kind, _count(s, kind) + 1)
        _set(s, "at", s.now)
        _keep_latest(s, "loss", "ns = ? AND kind = ?", (s.ns, kind), KEPT_LOSSES)


def _keep_latest(s: Session, table: str, where: str, values: tuple[object, ...], most: int) -> None:
    latest = f"SELECT id FROM {table} WHERE {where} ORDER BY at DESC LIMIT ?"  # noqa: S608 - our own names
    s.db.execute(f"DELETE FROM {table} WHERE {where} AND id NOT IN ({latest})", (*values, *values, most))  # noqa: S608


def _latest(s: Session, kind: str) -> tuple[str, ...]:
    found = s.db.execute(
        "SELECT id FROM loss WHERE ns = ? AND kind = ? ORDER BY at DESC, id DESC LIMIT ?", (s.ns, kind, SHOWN_LOSSES)
    )
    return tuple(id for (id,) in found)


def _key(s: Session, name: str) -> str:
    return f"lost:{s.ns}:{name}"


def _count(s: Session, name: str) -> int:
    found = s.db.execute("SELECT value FROM meta WHERE key = ?", (_key(s, name),)).fetchone()
    return int(found[0]) if found else 0


def _set(s: Session, name: str, value: int) -> None:
    s.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_key(s, name), str(value)))
