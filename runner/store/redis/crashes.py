"""Turns that broke, on Redis."""

from __future__ import annotations

from runner.store import partition_of
from runner.store.crashes import CrashLimit
from runner.store.keys import Keys
from runner.store.redis import decode
from runner.store.redis.pipeline import Pipeline
from runner.store.redis.scripts import scripts
from runner.transactions import Woken


class RedisCrashes:
    """``runner.store.crashes.Crashes`` on Redis."""

    _keys: Keys
    _pipeline: Pipeline

    async def break_off(self, id: str, nonce: str, crashes: CrashLimit) -> Woken:
        words = (id, nonce, crashes.crashes, crashes.error)
        reply = await self._pipeline.run(scripts().break_off, self._keys.home(id), *words)
        return decode.woken(reply, partition_of(id, self._keys.partitions))
