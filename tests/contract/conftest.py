"""The stores under contract: SQLite on a file, SQLite in memory, Redis.

Time passes by itself in Redis and on request in SQLite; ``elapse`` is the same word for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from runner.broker.memory import MemoryBroker
from runner.courier import Courier
from runner.fsck import FsckReport, fsck
from runner.hooks import Hooks
from runner.store import PARTITIONS, Store
from runner.store.vitals import LOOKING, Demands, Durability
from tests.contract.fsck_kit import Check
from tests.contract.hands import Hand, hand_into
from tests.contract.kit import Elapse

START_OF_TIME = 1_700_000_000_000


class SkipClock:
    """A clock that stands until it is told to move."""

    def __init__(self) -> None:
        self.now = START_OF_TIME

    def __call__(self) -> int:
        return self.now


class Backend:
    """One kind of store, and how to make more of them on the same data."""

    def __init__(
        self, kind: str, make: Callable[[str, int, Demands], Store], namespace: str, clock: SkipClock | None
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self._make = make
        self._clock = clock

    def store(
        self,
        namespace: str | None = None,
        partitions: int = PARTITIONS,
        durability: Durability | None = None,
        *,
        looking: bool = False,
    ) -> Store:
        """A store that is not open yet. SQLite takes one at a time on its file."""
        demands = LOOKING if looking else Demands(durability=durability)
        return self._make(namespace or self.namespace, partitions, demands)

    async def elapse(self, store: Store, ms: int) -> None:
        """Return when the store's clock has moved on by ``ms``."""
        if self._clock is not None:
            self._clock.now += ms
            return
        until = await store.now() + ms
        while (now := await store.now()) < until:
            await asyncio.sleep((until - now) / 1000)


@pytest.fixture(params=["sqlite-file", "sqlite-memory", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> Backend:
    kind: str = request.param
    if kind == "redis":
        url: str = request.getfixturevalue("redis_url")

        def redis(namespace: str, partitions: int, demands: Demands) -> Store:
            from runner.store.redis import RedisStore

            return RedisStore(url, namespace=namespace, partitions=partitions, demands=demands)

        return Backend(kind, redis, namespace, None)

    clock = SkipClock()
    path = str(tmp_path / "state.db") if kind == "sqlite-file" else None

    def sqlite(namespace: str, partitions: int, demands: Demands) -> Store:
        from runner.store.sqlite import SqliteStore

        return SqliteStore(path, namespace=namespace, partitions=partitions, clock=clock, demands=demands)

    return Backend(kind, sqlite, namespace, clock)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    store = backend.store()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def elapse(backend: Backend, store: Store) -> Elapse:
    """``await elapse(ms)``: that much of the store's time has passed."""

    async def elapse(ms: int) -> None:
        await backend.elapse(store, ms)

    return elapse


@pytest.fixture
def hand(store: Store) -> Iterator[Hand]:
    hand = hand_into(store)
    yield hand
    hand.close()


@pytest.fixture
async def broker(namespace: str) -> AsyncIterator[MemoryBroker]:
    broker = MemoryBroker(namespace)
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture
def check(store: Store, broker: MemoryBroker) -> Check:
    """``await check()``, ``await check(repair=True)``."""

    async def run(*, repair: bool = False) -> FsckReport:
        courier = Courier(store, broker)
        return await fsck(store, broker, courier, Hooks(), repair=repair, most=100, progress=lambda _: None)

    return run
