"""What a leader does in one partition when its time has come: one method a duty, named as the store's index."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import ClassVar

from runner.clock import boot_ms
from runner.courier import Courier
from runner.fleet import living, workers_of
from runner.hooks import Hooks
from runner.log import Logger
from runner.scheduler.postbox import Postbox
from runner.scheduler.publisher import Depth, NoDepth, Publisher
from runner.scheduler.republish import BACKOFF_MS, Backlog
from runner.store import Store
from runner.store.crashes import GIVE_UP, CrashLimit
from runner.transactions import Woken

log = Logger("runner.scheduler")

LIMIT = 200
#: A queue whose depth the broker has not told after this long is judged without it.
DEPTH_PATIENCE_S = 2.0
#: Who caused an outbox entry relays it at once; the scheduler takes what is older than this, in ms.
OUTBOX_GRACE_MS = 2_000


class Duties:
    """Each duty does what is due in one partition, up to a limit; the store's indexes say when more is."""

    NAMES: ClassVar = ("timers", "leases", "ready", "outbox", "expiry")

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        postbox: Postbox,
        courier: Courier,
        hooks: Hooks,
        *,
        lease_ms: int,
        crashes: CrashLimit = GIVE_UP,
    ) -> None:
        self._store = store
        self._postbox = postbox
        self._courier = courier
        self._hooks = hooks
        self._publisher = publisher
        self._lease_ms = lease_ms
        self._crashes = crashes
        self._backlog = Backlog()
        self._interruptions = store.interruptions
        self._reap_from = 0  # boot time
        self._outbox_from: dict[int, int] = {}  # by partition, the store's time

    def begin(self) -> None:
        """Notice that the store was away: owners of leases were cut off as we were, so let them renew first."""
        if self._store.interruptions != self._interruptions:
            self._pause_reaping()

    def moments(self, partition: int, index: Mapping[str, int | None]) -> dict[str, int | None]:
        """When each duty is due, from what the store's indexes say."""
        now = index["now"] or 0
        if index.get("ready") is None:
            self._backlog.forget(partition)
        allowed = {"leases": now + max(self._reap_from - boot_ms(), 0), "outbox": self._outbox_from.get(partition, 0)}
        delay = {"outbox": OUTBOX_GRACE_MS}
        return {
            duty: None if moment is None else max(moment + delay.get(duty, 0), allowed.get(duty, 0))
            for duty in self.NAMES
            for moment in (index.get(duty),)
        }

    async def carry_out(self, duty: str, partition: int) -> None:
        match duty:
            case "timers":
                await self._fire(partition)
            case "leases":
                await self._reap(partition)
            case "ready":
                await self._republish(partition)
            case "outbox":
                await self._relay(partition)
            case _:
                await self._purge(partition)

    async def rush(self) -> None:
        """Offer passed-over executions again to the workers that are there now."""
        workers = await workers_of(self._store)
        known = {(name, version) for worker in workers for name, version, _ in worker.workflows}
        self._postbox.put(await self._store.rush(known, LIMIT))

    async def _fire(self, partition: int) -> None:
        await self._pass_on(await self._store.due(partition, LIMIT))

    async def _reap(self, partition: int) -> None:
        self.begin()
        if self._reap_from > boot_ms():
            return
        alive = await living(self._store)
        woken = await self._store.reap(partition, LIMIT, alive, self._crashes)
        for wake in woken.wakes:
            log.warning("lease.reaped", execution_id=wake.id, workflow=wake.workflow)
        await self._pass_on(woken)

    async def _pass_on(self, woken: Woken) -> None:
        """What time has done: hints for who is ready, parcels for who hears of an end, rows for who observes."""
        self._postbox.put(woken.wakes)
        self._hooks.fire(woken.rows)
        await self._courier.send(woken.parcels)

    def _pause_reaping(self) -> None:
        self._interruptions = self._store.interruptions
        self._reap_from = boot_ms() + self._lease_ms
        log.warning("reaping.paused", for_ms=self._lease_ms)

    async def _republish(self, partition: int) -> None:
        overdue = await self._store.overdue(partition, LIMIT, BACKOFF_MS)
        self._backlog.heard(partition, overdue.ready, overdue.now)
        self._postbox.put(overdue.passed)
        depths = await self._depths({wake.queue for wake in overdue.lost})
        again = self._backlog.lost(overdue.lost, depths, overdue.now)
        if overdue.passed or again:
            log.info("hints.republished", hints=len(overdue.passed) + len(again), partition=partition)
        self._postbox.put(again)

    async def _depths(self, queues: Iterable[str]) -> dict[str, Depth]:
        """All at once and within bounds: entries of other queues in this partition wait for the answer."""
        asked = tuple(queues)
        return dict(zip(asked, await asyncio.gather(*map(self._depth, asked)), strict=True))

    async def _depth(self, queue: str) -> Depth:
        try:
            async with asyncio.timeout(DEPTH_PATIENCE_S):
                return await self._publisher.depth(queue)
        except TimeoutError:
            log.warning("depth.untold", queue=queue, error=f"no answer in {DEPTH_PATIENCE_S} s")
        except Exception:
            # A queue that cannot be asked about must not hold back the hints of the others.
            log.exception("depth.untold", queue=queue)
        return NoDepth.UNTOLD

    async def _relay(self, partition: int) -> None:
        """Whoever caused an entry has not applied it. Where one was refused, the next look can wait."""
        if await self._courier.send(await self._store.relay(partition, LIMIT, OUTBOX_GRACE_MS)):
            self._outbox_from[partition] = await self._store.now() + OUTBOX_GRACE_MS

    async def _purge(self, partition: int) -> None:
        purged, _ = await self._store.purge(partition, LIMIT)
        if purged:
            log.info("executions.purged", executions=purged, partition=partition)
