"""Who is there: the scheduler's seat and the workers' heartbeats."""

from __future__ import annotations

import msgpack

from runner.codec import unpack_as
from runner.load import Load
from runner.records import Leadership, WorkerInfo
from runner.store import HEARD_MS
from runner.store.sqlite.session import Session


def lead(s: Session, nonce: str, name: str, ttl_ms: int) -> Leadership:
    """Take or keep the seat."""
    found = s.db.execute("SELECT nonce, name, until FROM seat WHERE ns = ?", (s.ns,)).fetchone()
    if found is not None and found[0] != nonce and found[2] > s.now:
        return Leadership(leading=False, leader=found[1], expires_in_ms=found[2] - s.now)
    s.db.execute("INSERT OR REPLACE INTO seat VALUES (?, ?, ?, ?)", (s.ns, nonce, name, s.now + ttl_ms))
    return Leadership(leading=True, leader=name, expires_in_ms=ttl_ms)


def abdicate(s: Session, nonce: str) -> None:
    gone = s.db.execute("DELETE FROM seat WHERE ns = ? AND nonce = ?", (s.ns, nonce))
    if gone.rowcount:
        s.words.append(("leader", "free"))


def heartbeat(s: Session, worker: WorkerInfo) -> None:
    known = s.db.execute("SELECT 1 FROM worker WHERE ns = ? AND id = ?", (s.ns, worker.id)).fetchone()
    told = (
        *(worker.build, worker.queues, worker.workflows, worker.slots, worker.lease_ms),
        *(worker.load.row(), worker.host, worker.pid),
    )
    s.db.execute("INSERT OR REPLACE INTO worker VALUES (?, ?, ?, ?)", (s.ns, worker.id, s.now, msgpack.packb(told)))
    if known is None:
        s.words.append(("workers", worker.id))
        s.db.execute("DELETE FROM worker WHERE ns = ? AND seen_at < ?", (s.ns, s.now - HEARD_MS))


def farewell(s: Session, worker_id: str) -> None:
    s.db.execute("DELETE FROM worker WHERE ns = ? AND id = ?", (s.ns, worker_id))


def workers(s: Session, within_ms: int) -> list[WorkerInfo]:
    """Who was heard of lately."""
    recent = "SELECT id, seen_at, packed FROM worker WHERE ns = ? AND seen_at >= ? ORDER BY id"
    found = s.db.execute(recent, (s.ns, s.now - within_ms)).fetchall()
    return [_worker(id, seen_at, packed) for id, seen_at, packed in found]


def _worker(id: str, seen_at: int, packed: bytes) -> WorkerInfo:
    build, queues, workflows, slots, lease_ms, load, host, pid, *_ = unpack_as(packed, "worker", 8)
    return WorkerInfo(
        id=id,
        build=build,
        queues=tuple(queues),
        workflows=tuple((name, version, queue) for name, version, queue in workflows),
        slots=slots,
        lease_ms=lease_ms,
        seen_at=seen_at,
        load=Load.of_row(load),
        host=host,
        pid=pid,
    )
