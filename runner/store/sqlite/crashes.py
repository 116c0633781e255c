"""Turns that broke, and leases that ran out, on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from runner.records import Cause
from runner.store.crashes import CrashLimit
from runner.store.sqlite import moves, saving
from runner.store.sqlite.rows import Row
from runner.store.sqlite.session import Session
from runner.transactions import Wake, Woken

T = TypeVar("T")


class _Doing(Protocol):
    async def _do(self, operation: Callable[[Session], T]) -> T: ...


class SqliteCrashes:
    """``runner.store.crashes.Crashes`` on SQLite."""

    async def break_off(self: _Doing, id: str, nonce: str, crashes: CrashLimit) -> Woken:
        return await self._do(partial(break_off, id=id, nonce=nonce, crashes=crashes))


def break_off(s: Session, id: str, nonce: str, crashes: CrashLimit) -> Woken:
    """Hand back what broke, or end it."""
    row = s.load(id)
    wakes: tuple[Wake, ...] = ()
    if row is not None and row.owned and row.nonce == nonce:
        broken = moves.broken(row, crashes.crashes, s.now)
        give_back(s, row, broken, crashes)
        wakes = () if broken.status.terminal else (broken.wake,)
    parcels, rows = s.harvest()
    return Woken(wakes=wakes, next_at=None, now=s.now, parcels=parcels, rows=rows)


def give_back(s: Session, row: Row, changed: Row, crashes: CrashLimit) -> None:
    """Write what time or a crash has made of a row: before the end that is one crash too many its error, as notices carry it."""
    if changed.cause is Cause.POISONED and crashes.error:
        s.db.execute("UPDATE payload SET error = ? WHERE x = ?", (crashes.error, row.x))
    saving.save(s, row, changed)
