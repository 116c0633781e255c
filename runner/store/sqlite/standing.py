"""Where executions stand, and who leads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from runner.records import Leadership
from runner.store.sqlite.session import Session
from runner.store.standing import Standing

T = TypeVar("T")

_OWN = "SELECT p, since, ready_at, timer_at FROM execution WHERE ns = ? AND id = ?"
_READY = "FROM execution WHERE ns = ? AND queue = ? AND ready_at IS NOT NULL"  # what names the index
_LINE = f"SELECT count(*), count(since), min(since) {_READY}"
_AHEAD = f"SELECT count(*) {_READY} AND since < ?"
_OUTBOX = "SELECT at FROM outbox WHERE ns = ? AND p = ? ORDER BY place LIMIT 1"
_NOWHERE = (-1, None, None, None)


class _Doing(Protocol):
    async def _do(self, operation: Callable[[Session], T]) -> T: ...


class SqliteStandings:
    """``runner.store.standing.Standings``, of a SqliteStore."""

    async def standing(self: _Doing, id: str, queue: str) -> Standing:
        return await self._do(partial(standing, id=id, queue=queue))

    async def leader(self: _Doing) -> Leadership | None:
        return await self._do(leader)


def standing(s: Session, id: str, queue: str) -> Standing:
    p, since, offered_at, timer_at = s.db.execute(_OWN, (s.ns, id)).fetchone() or _NOWHERE
    ready, waiting, oldest = s.db.execute(_LINE, (s.ns, queue)).fetchone()
    outbox = s.db.execute(_OUTBOX, (s.ns, p)).fetchone()
    return Standing(
        since=since,
        ahead=waiting if since is None else s.db.execute(_AHEAD, (s.ns, queue, since)).fetchone()[0],
        waiting=waiting,
        oldest=oldest,
        ready=ready,
        offered_at=offered_at,
        timer_at=timer_at,
        outbox_at=None if outbox is None else outbox[0],
    )


def leader(s: Session) -> Leadership | None:
    found = s.db.execute("SELECT name, until FROM seat WHERE ns = ?", (s.ns,)).fetchone()
    if found is None or found[1] <= s.now:
        return None
    return Leadership(leading=False, leader=found[0], expires_in_ms=found[1] - s.now)
