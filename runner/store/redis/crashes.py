"""Turns that broke, on Redis."""

from __future__ import annotations

from runner.store import partition_of
from runner.store.crashes import BrokenOff, CrashLimit
from runner.store.keys import Keys
from runner.store.redis import decode
from runner.store.redis.pipeline import Pipeline
from runner.store.redis.scripts import scripts


class RedisCrashes:
    """``runner.store.crashes.Crashes`` on Redis."""

    _keys: Keys
    _pipeline: Pipeline

    async def break_off(self, id: str, nonce: str, crashes: CrashLimit) -> BrokenOff:
        words = (id, nonce, crashes.crashes, crashes.error)
        now, woken, sent, added, poisoned = await self._pipeline.run(scripts().break_off, self._keys.home(id), *words)
        return BrokenOff(
            wakes=decode.wakes(woken),
            next_at=None,
            now=now,
            parcels=decode.parcels(sent, partition_of(id, self._keys.partitions)),
            rows=decode.rows(added),
            poisoned=bool(poisoned),
        )
