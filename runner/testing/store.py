"""The store of a test: SQLite in memory, with a window on what is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from runner.records import History
from runner.store.sqlite import SqliteStore
from runner.store.sqlite.turns import renew
from runner.testing.clock import SkipClock
from runner.transactions import Commit, Committed, Deliver, Delivered, Lease, Refusal, Start, Started, Woken

#: Everything in one place: nothing here is ever large.
PARTITION = 0
LIMIT = 200

#: Told of a commit that was written. True: the worker died right after, and never hears of it.
Watched = Callable[[Commit, Committed], Awaitable[bool]]


class KitStore(SqliteStore):
    """``watched`` is asked after every commit, ``doubles`` which signals come twice.

    ``stirred`` is set by whatever comes from outside.
    """

    def __init__(self, namespace: str, clock: SkipClock, watched: Watched, doubles: Callable[[str], bool]) -> None:
        super().__init__(None, namespace=namespace, partitions=1, clock=clock)
        self.stirred = asyncio.Event()
        self._watched = watched
        self._doubles = doubles
        self._nonces: dict[str, str] = {}

    async def start(self, starts: Sequence[Start]) -> list[Started]:
        answers = await super().start(starts)
        self.stirred.set()
        return answers

    async def deliver(self, deliver: Deliver) -> Delivered:
        answer = await super().deliver(deliver)
        if deliver.kind == "signal" and self._doubles(deliver.name):
            await super().deliver(replace(deliver, request=f"{deliver.request}-again"))
        self.stirred.set()
        return answer

    async def claim(self, id: str, nonce: str, worker: str, lease_ms: int, hinted: int = 0) -> History | Refusal:
        claimed = await super().claim(id, nonce, worker, lease_ms, hinted)
        if isinstance(claimed, History):
            self._nonces[id] = nonce
        return claimed

    async def commit(self, commit: Commit) -> Committed | None:
        committed = await super().commit(commit)
        died = committed is not None and await self._watched(commit, committed)
        return None if died else committed

    async def take_away(self, execution_id: str) -> Woken:
        """End the lease of a worker that has died, and reap it: a crash is counted."""
        lease = Lease(id=execution_id, nonce=self._nonces[execution_id])
        await self._do(partial(renew, leases=(lease,), lease_ms=0))
        return await self.reap(PARTITION, LIMIT, ())
