"""Who works: the workers of a namespace, by what was last heard of them."""

from __future__ import annotations

from runner.records import WorkerInfo
from runner.store import Store

#: A worker says that it lives every few seconds, more seldom with a long lease. One that was not heard of for so long is
#: gone, in ms.
WORKERS_SEEN_MS = 60_000


async def workers_of(store: Store) -> list[WorkerInfo]:
    """Those that were heard of lately. The store forgets the others."""
    return await store.workers(WORKERS_SEEN_MS)


async def living(store: Store) -> tuple[str, ...]:
    """The ids of those that live: a worker says so whenever it renews, so one that was heard of within its lease does."""
    now = await store.now()
    return tuple(one.id for one in await workers_of(store) if now - one.seen_at < one.lease_ms)
