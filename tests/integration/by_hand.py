"""A turn taken by hand: what a worker would write, without one."""

from __future__ import annotations

from typing import Any

from runner.codec import encode
from runner.failures import Failure
from runner.records import Entry, History
from runner.store import Store
from runner.transactions import Commit, Committed

LEASE_MS = 60_000


class Turn:
    """A claimed execution, and the commits under its lease."""

    def __init__(self, store: Store, history: History, nonce: str) -> None:
        self.history = history
        self._store = store
        self._nonce = nonce
        self._count = 0

    async def commit(self, **parts: Any) -> Committed:
        self._count += 1
        committed = await self._store.commit(
            Commit(
                **{
                    "id": self.history.execution.id,
                    "nonce": self._nonce,
                    "count": self._count,
                    "lease_ms": LEASE_MS,
                    "seen": len(self.history.inbox),
                    **parts,
                }
            )
        )
        assert committed is not None
        return committed


async def claimed(store: Store, id: str, worker: str = "by hand") -> Turn:
    nonce = f"nonce of {id}"
    history = await store.claim(id, nonce, worker, LEASE_MS)
    assert isinstance(history, History), history
    return Turn(store, history, nonce)


def done(number: int, id: str, value: object = None, *, kind: str = "step") -> Entry:
    return Entry(number=number, id=id, kind=kind, outcome="ok", payload=encode(value), at=1, started_at=1)


def failed(number: int, id: str, *, kind: str = "step") -> Entry:
    return Entry(number=number, id=id, kind=kind, outcome="failed", payload=failure(id), at=1, started_at=1)


def failure(step: str) -> bytes:
    return Failure.of(RuntimeError("no luck"), known={}, step=step).pack()
