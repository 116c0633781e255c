"""Turns that broke, and leases that ran out, on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from runner.records import Cause
from runner.store.crashes import BrokenOff, CrashLimit
from runner.store.sqlite import moves, saving
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session

T = TypeVar("T")

#: What a turn that broke left: handed back, or ended.
_BROKEN, _POISONED = b"broken", b"poisoned"


class _Doing(Protocol):
    async def _do(self, operation: Callable[[Session], T]) -> T: ...


class SqliteCrashes:
    """``runner.store.crashes.Crashes`` on SQLite."""

    async def break_off(self: _Doing, id: str, nonce: str, crashes: CrashLimit) -> BrokenOff:
        return await self._do(partial(break_off, id=id, nonce=nonce, crashes=crashes))


def break_off(s: Session, id: str, nonce: str, crashes: CrashLimit) -> BrokenOff:
    """Hand back what broke, or end it."""
    row = s.load(id)
    if row is not None and row.owned and row.nonce == nonce:
        broken = moves.broken(row, crashes.crashes, s.now)
        left = broken._replace(answer=_POISONED if broken.status.terminal else _BROKEN)
        give_back(s, row, left, crashes)
        row = left
    # Until somebody claims it, or it ends otherwise, a repeat finds the mark in the place of a commit's answer.
    mark = row.answer if row is not None and nonce and not row.owned and row.last_nonce == nonce else b""
    parcels, rows = s.harvest()
    return BrokenOff(
        wakes=(row.wake,) if row is not None and mark == _BROKEN and row.ready_at is not None else (),
        next_at=None,
        now=s.now,
        parcels=parcels,
        rows=rows,
        poisoned=row is not None and mark == _POISONED and row.cause is Cause.POISONED,
    )


def give_back(s: Session, row: Row, changed: Row, crashes: CrashLimit) -> None:
    """Write what time or a crash has made of a row: before the end that is one crash too many its error, as notices carry it."""
    if changed.cause is Cause.POISONED and crashes.error:
        s.db.execute("UPDATE payload SET error = ? WHERE x = ?", (crashes.error, row.x))
    saving.save(s, row, changed)
