"""Who works: the workers of a namespace, by what was last heard of them."""

from __future__ import annotations

from runner.records import WorkerInfo
from runner.store import HEARD_MS, Store

#: A worker says that it lives every few seconds, more seldom with a long lease. One that was not heard of for so long is
#: gone, in ms.
WORKERS_SEEN_MS = 60_000


async def workers_of(store: Store) -> list[WorkerInfo]:
    """Those that were heard of lately, of which some may be gone: ``lives`` tells."""
    return await store.workers(WORKERS_SEEN_MS)


async def heard_of(store: Store) -> list[WorkerInfo]:
    """Also those that died a while ago: for a person to look at."""
    return await store.workers(HEARD_MS)


async def living(store: Store) -> tuple[str, ...]:
    """The ids of those that live."""
    now = await store.now()
    return tuple(one.id for one in await workers_of(store) if lives(one, now))


def lives(worker: WorkerInfo, now: int) -> bool:
    """A worker says that it lives whenever it renews, so one that was heard of within its lease does. ``now``: the store's."""
    return now - worker.seen_at < worker.lease_ms
