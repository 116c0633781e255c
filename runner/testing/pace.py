"""The pace of a test: work off everything that is ready, then move time to what is due next.

Nothing moves while there is anything to do, so no lease runs out, and the same test takes the same course each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runner.broker.memory import MemoryBroker
from runner.courier import Courier
from runner.hooks import Hooks
from runner.scheduler.schedules import Schedules
from runner.testing.clock import SkipClock
from runner.testing.endings import Stuck
from runner.testing.steps import KitSteps
from runner.testing.store import LIMIT, PARTITION, KitStore
from runner.transactions import Wake

#: Nothing may come to its end for so many real seconds before the test is told that it waits for a step.
BUSY_S = 30.0


class Pace:
    """Moves one test's time, and with it what time brings."""

    def __init__(self, store: KitStore, broker: MemoryBroker, clock: SkipClock, steps: KitSteps, hooks: Hooks) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._courier = Courier(store, broker, hooks)
        self._hooks = hooks
        self._ready: list[Wake] = []
        self._schedules = Schedules(store, self._ready.extend, self._courier, hooks)
        self._steps = steps
        self._dying: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()  # several may wait for results, and one moves time

    async def settle(self) -> None:
        """Wait until everything that is ready has been worked off; time does not move."""
        refused = 0
        while True:
            await self._handled()
            if self._dying:
                await asyncio.wait(self._dying)
                continue
            parcels = await self._store.relay(PARTITION, LIMIT)
            if not parcels or refused:
                break
            refused = await self._courier.send(parcels)
        await self._hooks.settle()

    async def _handled(self) -> None:
        """Raises Stuck when steps do not come to an end."""
        try:
            await self._broker.settled(BUSY_S)
        except TimeoutError:
            running = ", ".join(f"{call.step!r} of execution {call.execution_id!r}" for call in self._steps.running)
            raise Stuck(
                f"still at work after {BUSY_S:g} s of real time, with steps {running or '(none)'}: "
                "time does not move while a step runs; stub what takes long (`env.stub`)"
            ) from None

    async def skip(self, limit_ms: int | None = None) -> bool:
        """Move time to the next moment at which a timer is due; False when there is none, or none up to ``limit_ms``.

        Schedules fire on the way. Without a limit they are none to go on for: they would never come to an end.
        """
        async with self._turn:
            await self.settle()
            moment = await self._next_moment(limit_ms)
            if moment is None or (limit_ms is not None and moment > limit_ms):
                return False
            self._clock.skip_to(moment)
            await self._fire()
            return True

    async def advance(self, ms: int) -> None:
        """Move time on by ``ms``, and do on the way all that is due, each thing at its time."""
        until = self._clock() + ms
        while await self.skip(until):
            pass
        self._clock.skip_to(until)
        await self._store.purge(PARTITION, LIMIT)
        await self.settle()

    async def publish(self, wakes: Sequence[Wake | None]) -> None:
        await self._broker.publish_many([(wake.queue, wake.hint) for wake in wakes if wake is not None])

    def reclaim(self, execution_id: str) -> None:
        """Its worker has died: its lease ends, and another worker takes it."""
        task = asyncio.create_task(self._reclaim(execution_id), name=f"reclaim {execution_id}")
        self._dying.add(task)
        task.add_done_callback(self._dying.discard)

    async def _reclaim(self, execution_id: str) -> None:
        await self.publish((await self._store.take_away(execution_id)).wakes)

    async def _next_moment(self, limit_ms: int | None) -> int | None:
        timer = (await self._store.next_due(PARTITION))["timers"]
        until = timer if limit_ms is None else limit_ms
        due = await self._store.due_schedules(1)
        tick = due.now if due.schedules else due.next_at
        if until is None or tick is None or tick > until:
            return timer
        return tick if timer is None else min(timer, tick)

    async def _tick(self) -> None:
        """Carry out what schedules ask for now."""
        while not await self._schedules.round():
            pass
        ready = tuple(self._ready)
        self._ready.clear()
        await self.publish(ready)

    async def _fire(self) -> None:
        await self._tick()
        woken = await self._store.due(PARTITION, LIMIT)
        for wake in woken.wakes:
            await self._outlast(wake, woken.now)
        await self.publish(woken.wakes)
        await self.settle()

    async def _outlast(self, wake: Wake, now: int) -> None:
        """In the very millisecond of its deadline a signal would still beat the timeout: it has to be over."""
        history = await self._store.read(wake.id)
        waits = history.waits if history is not None else ()
        if any(wait.deadline == now and wait.kind in ("signal", "ended") for wait in waits):
            self._clock.skip_to(now + 1)
