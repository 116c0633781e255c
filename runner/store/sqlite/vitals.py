"""What the file says of itself, what its namespace is declared to promise, and what is known to be lost."""

from __future__ import annotations

import os
import sqlite3
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from runner.errors import ConfigError
from runner.store.durability import disagreement, judge, refused
from runner.store.sqlite import losses
from runner.store.sqlite.schema import NOWHERE
from runner.store.sqlite.session import Session
from runner.store.vitals import Demands, Durability, Losses, StoreVitals, declared_of

T = TypeVar("T")


class SqliteVitals:
    """``runner.store.vitals.Vitals``, and the checks of opening, for the store that has these."""

    namespace: str
    partitions: int
    _demands: Demands
    _path: Path | None

    async def laid_out(self) -> bool:
        return await self._do(lambda session: session.ns != NOWHERE)

    async def vitals(self) -> StoreVitals:
        return await self._do(partial(_vitals, path=self._path, partitions=self.partitions))

    async def declare(self, durability: Durability | None) -> None:
        await self._do(partial(_declare, durability=durability))

    async def backlog(self) -> Mapping[str, int]:
        return await self._do(_backlog)

    async def losses(self) -> Losses:
        return await self._do(losses.losses)

    async def forget_losses(self) -> None:
        await self._do(losses.forget_losses)

    @abstractmethod
    async def _do(self, operation: Callable[[Session], T]) -> T: ...

    async def _check(self) -> None:
        """Raises ConfigError; nothing is declared when it does."""
        if self._demands.looking or not self._demands.refusing:
            return
        vitals = await self.vitals()
        if conflict := disagreement(self._demands.durability, vitals.declared, self.namespace):
            raise ConfigError(f"{vitals.name}: {conflict}")
        if reasons := refused(judge(vitals, self._demands), self._demands):
            raise ConfigError("; ".join(f"{vitals.name}: {one.told}" for one in reasons))
        if self._demands.durability is not None and vitals.declared is None:
            await self.declare(self._demands.durability)


def _backlog(s: Session) -> dict[str, int]:
    ready = "SELECT queue, count(*) FROM execution WHERE ns = ? AND ready_at IS NOT NULL GROUP BY queue"
    return dict(s.db.execute(ready, (s.ns,)).fetchall())


def _vitals(s: Session, path: Path | None, partitions: int) -> StoreVitals:
    return StoreVitals(
        kind="sqlite",
        name="memory" if path is None else str(path),
        facts=_facts(s, path),
        now=s.now,
        skew_ms=s.now - time.time_ns() // 1_000_000,
        partitions=partitions,
        declared=_declared(s),
    )


def _facts(s: Session, path: Path | None) -> dict[str, str]:
    """``lock_holder`` is the process that has the file: whoever reads this."""
    pages, size = _pragma(s, "page_count"), _pragma(s, "page_size")
    return {
        "version": sqlite3.sqlite_version,
        "file": "" if path is None else str(path),
        "journal_mode": _pragma(s, "journal_mode"),
        "synchronous": _pragma(s, "synchronous"),
        "size": str(int(pages) * int(size)),
        "lock_holder": str(os.getpid()),
    }


def _pragma(s: Session, name: str) -> str:
    (value,) = s.db.execute(f"PRAGMA {name}").fetchone()
    return str(value)


def _key(s: Session) -> str:
    return f"durability:{s.ns}"


def _declared(s: Session) -> Durability | None:
    found = s.db.execute("SELECT value FROM meta WHERE key = ?", (_key(s),)).fetchone()
    return declared_of(found[0] if found else "")


def _declare(s: Session, durability: Durability | None) -> None:
    s.db.execute("DELETE FROM meta WHERE key = ?", (_key(s),))
    if durability is not None:
        s.db.execute("INSERT INTO meta VALUES (?, ?)", (_key(s), durability))
