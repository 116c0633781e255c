"""Executions that nothing would wake: the leader looks for them all the time, a page at a time, and there must be none.

Each is looked at twice, a while apart, before it counts: what is under way is no reason to wake anybody up at night.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from runner.core.facts import Look, joined
from runner.core.wakefulness import STANDING_STILL, UNREADABLE, check
from runner.errors import InfrastructureError
from runner.fsck import longest_lease_ms
from runner.kin import Kin
from runner.log import Logger
from runner.store import Store

log = Logger("runner.scheduler")

#: Executions of one look.
PAGE = 200
AWAY_S = 1.0


class Unwakeable:
    """``count`` is the metric ``unwakeable_executions``: how many there were when their partitions were last looked at."""

    def __init__(self, store: Store, every_s: float) -> None:
        self._store = store
        self._kin = Kin(store, children=False)
        self._every_s = every_s
        self._found: dict[int, Mapping[str, str]] = {}  # by partition: codes by id

    @property
    def count(self) -> int:
        return sum(map(len, self._found.values()))

    async def run(self) -> None:
        """Until cancelled: one partition after the other, over and over. Whoever does not lead knows of none."""
        try:
            while True:
                for partition in range(self._store.partitions):
                    await self._guarded(partition)
        finally:
            self._found.clear()

    async def _guarded(self, partition: int) -> None:
        """Nothing that one look stumbles over may end the looking."""
        try:
            self._learn(partition, await self.look_through(partition))
        except InfrastructureError as error:
            log.warning("unwakeable.store_unavailable", error=str(error))
            await asyncio.sleep(AWAY_S)
        except Exception:
            log.exception("unwakeable.look_failed", partition=partition)
            await asyncio.sleep(AWAY_S)

    def _learn(self, partition: int, found: Mapping[str, str]) -> None:
        known = self._found.get(partition, {})
        for id in found.keys() - known.keys():
            cure = "runner fsck" if found[id] == UNREADABLE else "runner fsck --repair"
            log.error("execution.unwakeable", execution_id=id, code=found[id], cure=cure)
        self._found[partition] = found

    async def look_through(self, partition: int) -> dict[str, str]:
        """All of one partition, with a rest before each page: codes by id of those that stand still."""
        found: dict[str, str] = {}
        cursor, more = "", True
        while more:
            await asyncio.sleep(self._every_s)
            page: list[Look] = []
            while more and sum(len(look.facts) for look in page) < PAGE:
                look, cursor = await self._store.living(partition, cursor, PAGE)
                page.append(look)
                more = bool(cursor)
            found |= await self._confirmed(joined(page))
        return found

    async def _confirmed(self, page: Look) -> dict[str, str]:
        suspects = await self._standing_still(page)
        if not suspects:
            return {}
        await asyncio.sleep(self._every_s)
        again = await self._standing_still(await self._store.facts(tuple(suspects)))
        return {id: code for id, code in again.items() if suspects.get(id) == code}

    async def _standing_still(self, look: Look) -> dict[str, str]:
        """What cannot be read is among it: nothing can be done with it, whatever would wake it."""
        lease_ms = await longest_lease_ms(self._store)
        lonely = await self._kin.lonely(look.facts)
        found = {one.id: UNREADABLE for one in look.unreadable if one.id}
        found |= {id: "unheard" for id, one in lonely.items() if one.unheard}
        for facts in look.facts:
            codes = [one.code for one in check(facts, lease_ms) if one.code in STANDING_STILL]
            found |= {facts.id: codes[0]} if codes else {}
        return found
