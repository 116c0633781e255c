"""Short words for tests of schedules: a store whose time stands, one to be killed at any call, and what came of it all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from runner.broker.memory import MemoryBroker
from runner.core.ticks import ensured
from runner.courier import Courier
from runner.hooks import Hooks
from runner.records import Execution, Filter, Overlap, Schedule
from runner.scheduler.postbox import Postbox
from runner.scheduler.publisher import Publisher
from runner.scheduler.schedules import Schedules
from runner.store import Store
from runner.store.sqlite import SqliteStore
from runner.transactions import Complete
from tests.contract.conftest import SkipClock
from tests.contract.kit import a_schedule, claim

EVERY_MS = 1_000


def in_time(execution: Execution) -> str:
    """Sorts what a schedule has started by tick: a tick on a whole second has no fraction, and "." sorts before "Z"."""
    return execution.id.removesuffix("Z")


class Ticking:
    """A store in memory with a clock of its own, and whoever carries out its schedules."""

    def __init__(self) -> None:
        self.clock = SkipClock()
        self.store = SqliteStore(None, namespace="n", clock=self.clock)
        self.broker = MemoryBroker("n")

    def scheduler(self, store: Store | None = None) -> Schedules:
        store = store or self.store
        postbox = Postbox(Publisher(self.broker))
        return Schedules(store, postbox.put, Courier(store, self.broker, post=postbox.put), Hooks())

    async def carry_on(self, scheduler: Schedules | None = None) -> None:
        """Until nothing is due."""
        scheduler = scheduler or self.scheduler()
        while await scheduler.round() == 0:
            pass

    async def pass_time(self, ms: int = EVERY_MS) -> None:
        self.clock.now += ms
        await self.carry_on()

    async def ensure(self, id: str = "s", **fields: Any) -> Schedule:
        """A schedule that ticks each second from a second on."""
        wanted = replace(a_schedule(id), interval_ms=EVERY_MS, **fields)
        made = ensured(await self.store.schedule(id), wanted, self.clock.now)
        assert made is not None
        assert await self.store.put_schedules([made]) == [True]
        return made

    async def schedule(self, id: str = "s") -> Schedule:
        kept = await self.store.schedule(id)
        assert kept is not None
        return kept

    async def executions(self, id: str = "s") -> list[Execution]:
        page = await self.store.executions(Filter(limit=1_000))
        return sorted((one for one in page.executions if one.id.startswith(f"{id}@")), key=in_time)

    async def complete(self, id: str) -> None:
        """Run an execution to its end, and carry what that says to whom it concerns."""
        turn = await claim(self.store, id)
        committed = await turn.commit(end=Complete(result=b"r"))
        await Courier(self.store, self.broker).send(committed.parcels)


class Dying:
    """A store before which its caller dies: at its n-th write, before that reached the store, or after."""

    WRITES = frozenset({"put_schedules", "start", "deliver", "stir_schedule", "relayed"})

    def __init__(self, store: Store, at: int, *, after: bool) -> None:
        self._store = store
        self._left = at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self._dying(method) if name in self.WRITES else method

    def _dying(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def called(*arguments: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise asyncio.CancelledError  # it is dead already
            if self._left == 0 and not self._after:
                raise asyncio.CancelledError
            answer = await method(*arguments)
            if self._left == 0:
                raise asyncio.CancelledError
            return answer

        return called


def moment(execution: Execution) -> str:
    """Of the tick that an execution was started for."""
    return execution.id.partition("@")[2]


OVERLAPS = tuple(Overlap)
