"""Checking and repairing on SQLite: see ``runner.store.inspection.Inspection``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from runner.core.facts import Look, Stray
from runner.store.inspection import Followed, Mended, Repair
from runner.store.sqlite import checking, mending, outbox
from runner.store.sqlite.session import Session
from runner.transactions import Parcel

T = TypeVar("T")


class SqliteInspection(ABC):
    """The part of a SqliteStore that checks and repairs it."""

    partitions: int

    @abstractmethod
    async def _do(self, operation: Callable[[Session], T]) -> T: ...

    async def survey(self) -> AsyncIterator[Look]:
        after: int | None = 0
        while after is not None:
            look, after = await self._do(partial(checking.page, after=after, partitions=self.partitions))
            yield look
        for table in checking.tables():
            behind: int | None = 0
            while behind is not None:
                look, behind = await self._do(partial(checking.strays, table=table, after=behind))
                yield look
        yield await self._do(checking.schedules)

    async def living(self, partition: int, cursor: str, limit: int) -> tuple[Look, str]:
        ask = partial(checking.living, partition=partition, cursor=cursor, limit=limit, partitions=self.partitions)
        return await self._do(ask)

    async def facts(self, ids: Sequence[str]) -> Look:
        return await self._do(partial(checking.facts, ids=tuple(ids), partitions=self.partitions))

    async def followed(self, target: str, waiter: str, run: int) -> Followed | None:
        return await self._do(partial(checking.followed, target=target, waiter=waiter, run=run))

    async def outbox(self, partition: int, after: str, limit: int) -> list[Parcel]:
        return await self._do(partial(outbox.page, partition=partition, after=after, limit=limit))

    async def mend(self, id: str, repair: Repair) -> Mended:
        return await self._do(partial(mending.mend, id=id, asked=repair, partitions=self.partitions))

    async def sweep(self, strays: Iterable[Stray]) -> int:
        return await self._do(partial(checking.sweep, asked=tuple(strays)))
