"""The scheduler process: leads or stands by; while it leads, it carries out what time brings."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from runner.broker import Broker
from runner.courier import Courier
from runner.errors import InfrastructureError
from runner.hooks import Hooks
from runner.log import Logger
from runner.loopwatch import LoopWatch
from runner.scheduler.agenda import Agenda
from runner.scheduler.duties import Duties
from runner.scheduler.leader import Seat
from runner.scheduler.patience import CLOSE_S, Hung, ended, within
from runner.scheduler.postbox import Postbox
from runner.scheduler.publisher import Publisher
from runner.scheduler.schedules import Schedules
from runner.scheduler.shift import Shift
from runner.scheduler.unwakeable import Unwakeable
from runner.store import Store
from runner.store.crashes import MAX_CRASHES, crash_limit

log = Logger("runner.scheduler")

#: Behind every push stands a poll: a notification can be lost without anybody noticing.
SAFETY_POLL_S = 1.0
#: What is wrong with a scheduler whose loop is blocked.
NOTHING_BLOCKS = "nothing in a scheduler may block its loop: an observer, or a defect of Runner"
#: Giving the seat back is worth this long, in seconds.
GIVE_BACK_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """``leader_ttl_s``: how long after its last sign of life a leader is followed by a standby.

    ``max_crashes``: an execution that lost so many workers in a row is given up.
    ``patience_s``: a leader that has waited so long for one thing it asked for gives the seat up.
    ``look_every_s``: how often the leader looks whether something will wake the next 200 executions.
    ``stall_s``: a process whose event loop is blocked for so long ends itself, with ``watch_loop``: where the process is its own.
    """

    leader_ttl_s: float = 3.0
    lease_s: float = 10.0
    max_crashes: int = MAX_CRASHES
    patience_s: float = 60.0
    look_every_s: float = 1.0
    stall_s: float = 10.0
    watch_loop: bool = False
    name: str = field(default_factory=lambda: f"scheduler-{secrets.token_hex(4)}")


class Scheduler:
    """``async with Scheduler(store, broker): ...``: leads or stands by until left.

    ``hooks``: an app's observers, who are told what time does to executions.
    """

    def __init__(
        self, store: Store, broker: Broker, options: SchedulerOptions | None = None, *, hooks: Hooks | None = None
    ) -> None:
        self.options = options or SchedulerOptions()
        self._store = store
        self._seat = Seat(store, self.options.name, round(self.options.leader_ttl_s * 1000))
        self._agenda = Agenda(Duties.NAMES, store.partitions)
        publisher = Publisher(broker)
        self._postbox = Postbox(publisher)
        hooks = hooks or Hooks()
        courier = Courier(store, broker, hooks, post=self._postbox.put)
        lease_ms = round(self.options.lease_s * 1000)
        limit = crash_limit(self.options.max_crashes)
        self._duties = Duties(store, publisher, self._postbox, courier, hooks, lease_ms=lease_ms, crashes=limit)
        self._schedules = Schedules(store, self._postbox.put, courier, hooks, patience_s=self.options.patience_s)
        self._unwakeable = Unwakeable(store, self.options.look_every_s)
        self._shift = Shift(self._duties.carry_out, lambda place: self._look_again(place[1]))
        self._stale: set[int] = set()  # partitions to look at
        self._stir = asyncio.Event()
        self._now = 0
        self._work: asyncio.Task[None] | None = None
        self._watch = LoopWatch(stall_ms=round(self.options.stall_s * 1000), cure=NOTHING_BLOCKS)

    @property
    def leading(self) -> bool:
        return self._seat.leading

    @property
    def leader(self) -> str:
        """The name of whoever leads, as far as this scheduler has heard."""
        return self._seat.leader

    @property
    def unwakeable(self) -> int:
        """Executions that nothing would wake, as far as this scheduler has looked while it leads."""
        return self._unwakeable.count

    async def __aenter__(self) -> Self:
        log.info("scheduler.ready", scheduler=self.options.name)
        if self.options.watch_loop:
            self._watch.start()
        self._work = asyncio.create_task(self._forever(), name="scheduler")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._work is not None:
            await ended(self._work, within_s=2 * CLOSE_S)
        await self._give_back()
        self._watch.stop()
        log.info("scheduler.stopped", scheduler=self.options.name)

    async def _forever(self) -> None:
        while True:
            try:
                await self._seat.until_taken()
                await self._lead()
            except InfrastructureError as error:
                log.warning("scheduler.store_unavailable", error=str(error))
                await asyncio.sleep(self._seat.renew_s)
            except Hung as error:
                log.error("scheduler.hung", error=str(error))
                await self._make_room()
            except Exception:
                # Nothing that one round stumbles over may end the scheduler: the next round looks afresh.
                log.exception("scheduler.round_failed")
                await asyncio.sleep(self._seat.renew_s)

    async def _make_room(self) -> None:
        """Another process may do better: it has the seat to itself for a while."""
        await self._give_back()
        await asyncio.sleep(2 * self.options.leader_ttl_s)

    async def _give_back(self) -> None:
        try:
            await within(GIVE_BACK_S, "the seat's return", self._seat.leave())
        except (InfrastructureError, Hung) as away:  # the lease runs out by itself
            log.warning("leader.seat_not_given_back", error=str(away))

    async def _lead(self) -> None:
        self._duties.begin()
        helpers: list[asyncio.Task[None]] = []
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._postbox.close)
            stack.push_async_callback(self._shift.close)
            timers = await self._store.subscribe("timers")
            stack.push_async_callback(timers.close)
            arrivals = await self._store.subscribe("workers")
            stack.push_async_callback(arrivals.close)
            schedules = await self._store.subscribe("schedules")
            stack.push_async_callback(schedules.close)
            for name, work in (
                ("leader seat", self._keep()),
                ("timer words", self._hear(timers.next, self._heard_timer)),
                ("worker arrivals", self._hear(arrivals.next, self._heard_worker)),
                ("schedules", self._schedules.run(schedules)),
                ("unwakeable", self._unwakeable.run()),
            ):
                helpers.append(asyncio.create_task(work, name=name))
                helpers[-1].add_done_callback(lambda _: self._stir.set())
                stack.push_async_callback(_end, helpers[-1])
            self._stale.update(range(self._store.partitions))
            while self._seat.leading:
                await within(self.options.patience_s, "a look at the store's indexes", self._look())
                self._shift.start(self._agenda.due(self._now))
                await self._rest()
                self._shift.check(self.options.patience_s)
                _check(helpers)

    async def _keep(self) -> None:
        try:
            await self._seat.keep()
        finally:
            self._stir.set()

    async def _hear(
        self, next_word: Callable[[float], Awaitable[str | None]], heard: Callable[[str], Awaitable[None]]
    ) -> None:
        while True:
            try:
                word = await next_word(3600)
                if word is not None:
                    await heard(word)
            except InfrastructureError as error:  # words may be lost: the safety poll finds what they told of
                log.warning("scheduler.word_lost", error=str(error))
                await asyncio.sleep(SAFETY_POLL_S)
            except Exception:
                log.exception("scheduler.word_lost")
                await asyncio.sleep(SAFETY_POLL_S)

    async def _heard_timer(self, word: str) -> None:
        """A partition's earliest timer moved forward."""
        self._look_again(int(word))

    async def _heard_worker(self, _: str) -> None:
        """A worker that knows more came: what others passed over is offered again at once."""
        await self._duties.rush()

    def _look_again(self, partition: int) -> None:
        self._stale.add(partition)
        self._stir.set()

    async def _look(self) -> None:
        """Ask the store's indexes when each partition is due that something has happened to."""
        stale = sorted(self._stale)
        self._stale.clear()
        asked = (self._store.next_due(partition) for partition in stale)
        # All answers are awaited, also behind a failure: no question is left on its way when this ends.
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for partition, moments in zip(stale, answers, strict=True):
            if isinstance(moments, BaseException):
                raise moments
            self._agenda.learn(partition, self._duties.moments(partition, moments))
            self._now = moments["now"] or 0

    async def _rest(self) -> None:
        """Sleep until a duty has ended, a word that a timer moved, the next due time, or the safety poll."""
        nearest = self._agenda.next(beside=self._shift.busy())
        until_s = SAFETY_POLL_S if nearest is None else min(max(nearest - self._now, 0) / 1000, SAFETY_POLL_S)
        try:
            async with asyncio.timeout(until_s):
                await self._stir.wait()
        except TimeoutError:
            self._stale.update(range(self._store.partitions))
        self._stir.clear()


def _check(helpers: Iterable[asyncio.Task[None]]) -> None:
    """Raises what a helper ended with: without it, part of the work would be left undone in silence."""
    for helper in helpers:
        if helper.done() and not helper.cancelled():
            helper.result()


async def _end(task: asyncio.Task[None]) -> None:
    await ended(task)
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        log.error("scheduler.helper_failed", helper=task.get_name(), error=repr(error))
