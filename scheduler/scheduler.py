"""The scheduler process: leads or stands by; while it leads, it carries out what time brings."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from runner.broker import Broker
from runner.errors import StoreUnavailable
from runner.log import Logger
from runner.scheduler.agenda import Agenda
from runner.scheduler.duties import Duties
from runner.scheduler.leader import Seat
from runner.scheduler.publisher import Publisher
from runner.store import Store

log = Logger("runner.scheduler")

#: Behind every push stands a poll: a notification can be lost without anybody noticing.
SAFETY_POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """``leader_ttl_s``: how long after its last sign of life a leader is followed by a standby."""

    leader_ttl_s: float = 3.0
    lease_s: float = 10.0
    name: str = field(default_factory=lambda: f"scheduler-{secrets.token_hex(4)}")


class Scheduler:
    """``async with Scheduler(store, broker): ...``: leads or stands by until left."""

    def __init__(self, store: Store, broker: Broker, options: SchedulerOptions | None = None) -> None:
        self.options = options or SchedulerOptions()
        self._store = store
        self._seat = Seat(store, self.options.name, round(self.options.leader_ttl_s * 1000))
        self._agenda = Agenda(Duties.NAMES, store.partitions)
        self._duties = Duties(store, Publisher(broker), lease_ms=round(self.options.lease_s * 1000))
        self._now = 0
        self._work: asyncio.Task[None] | None = None

    @property
    def leading(self) -> bool:
        return self._seat.leading

    @property
    def leader(self) -> str:
        """The name of whoever leads, as far as this scheduler has heard."""
        return self._seat.leader

    async def __aenter__(self) -> Self:
        log.info("scheduler.ready", scheduler=self.options.name)
        self._work = asyncio.create_task(self._forever(), name="scheduler")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        try:
            await self._seat.leave()
        except StoreUnavailable as away:  # the lease runs out by itself
            log.warning("leader.seat_not_given_back", error=str(away))
        log.info("scheduler.stopped", scheduler=self.options.name)

    async def _forever(self) -> None:
        while True:
            try:
                await self._seat.until_taken()
                await self._lead()
            except StoreUnavailable as error:
                log.warning("scheduler.store_unavailable", error=str(error))
                await asyncio.sleep(self._seat.renew_s)
            except Exception:
                # Nothing that one round stumbles over may end the scheduler: the next round looks afresh.
                log.exception("scheduler.round_failed")
                await asyncio.sleep(self._seat.renew_s)

    async def _lead(self) -> None:
        self._duties.begin()
        timers = await self._store.subscribe("timers")
        arrivals = await self._store.subscribe("workers")
        keeping = asyncio.create_task(self._seat.keep(), name="leader seat")
        hearing = asyncio.create_task(self._hear(arrivals.next), name="worker arrivals")
        try:
            await self._look()
            while self._seat.leading:
                await self._round()
                await self._rest(timers.next)
        finally:
            for task in (keeping, hearing):
                task.cancel()
            await asyncio.wait([keeping, hearing])
            await timers.close()
            await arrivals.close()

    async def _hear(self, next_arrival: Callable[[float], Awaitable[str | None]]) -> None:
        """A worker that knows more came: what others passed over is offered again at once."""
        while True:
            if await next_arrival(3600) is None:
                continue
            try:
                await self._duties.rush()
            except StoreUnavailable as error:  # their own backoff brings them up again
                log.warning("scheduler.rush_failed", error=str(error))

    async def _look(self) -> None:
        """Ask the store's indexes when each partition is due."""
        answers = await asyncio.gather(*(self._store.next_due(p) for p in range(self._store.partitions)))
        for partition, moments in enumerate(answers):
            self._agenda.learn(partition, self._duties.moments(moments))
            self._now = moments["now"] or 0

    async def _round(self) -> None:
        due = self._agenda.due(self._now)
        await asyncio.gather(*(self._duties.carry_out(duty, partition) for duty, partition in due))
        if due:
            await self._look()

    async def _rest(self, next_timer: Callable[[float], Awaitable[str | None]]) -> None:
        """Sleep until the next due time, a word that an earlier one came, or the safety poll."""
        nearest = self._agenda.next()
        until_s = SAFETY_POLL_S if nearest is None else min(max(nearest - self._now, 0) / 1000, SAFETY_POLL_S)
        if until_s > 0:
            await next_timer(until_s)
            await self._look()
