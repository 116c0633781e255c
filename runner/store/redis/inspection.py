"""Checking and repairing on Redis: see ``runner.store.inspection.Inspection``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from runner.core.facts import Look, Stray
from runner.records import Status
from runner.store.inspection import Followed, Mended, Repair
from runner.store.keys import Keys
from runner.store.redis import decode, survey
from runner.store.redis.connection import Word
from runner.store.redis.pipeline import Pipeline
from runner.store.redis.scripts import scripts
from runner.transactions import Parcel

#: Parcels of one page: each may hold a payload.
_PARCELS = 200


class RedisInspection:
    """The part of a RedisStore that checks and repairs it."""

    _pipeline: Pipeline
    _keys: Keys

    def survey(self) -> AsyncIterator[Look]:
        return survey.survey(self._pipeline, self._keys)

    async def living(self, partition: int, cursor: str, limit: int) -> tuple[Look, str]:
        return await survey.living(self._pipeline, self._keys, partition, cursor, limit)

    async def facts(self, ids: Sequence[str]) -> Look:
        return await survey.facts(self._pipeline, self._keys, ids)

    async def followed(self, target: str, waiter: str, run: int) -> Followed | None:
        reply = await self._pipeline.run(scripts().followed, self._keys.home(target), target, waiter, run)
        if reply is None:
            return None
        status, workflow, followed = reply
        return Followed(status=Status(status.decode()), workflow=workflow.decode(), followed=bool(followed))

    async def outbox(self, partition: int, after: str, limit: int) -> list[Parcel]:
        first = f"({after}" if after else "-"
        key = f"{self._keys.prefix(partition)}outbox"
        reply = await self._pipeline.command("XRANGE", key, first, "+", "COUNT", min(limit, _PARCELS))
        return list(decode.parcels(reply, partition))

    async def mend(self, id: str, repair: Repair) -> Mended:
        words: tuple[Word, ...] = (id, int(repair.wake), repair.lease_ms, len(repair.lost), *repair.lost, *repair.again)
        done, woken, rows = await self._pipeline.run(scripts().mend, self._keys.home(id), *words)
        return Mended(
            done=tuple(one.decode() for one in done),
            wake=decode.wake(woken) if woken else None,
            rows=decode.rows(rows),
        )

    async def sweep(self, strays: Iterable[Stray]) -> int:
        return await survey.sweep(self._pipeline, self._keys, tuple(strays))
