"""The worker: intake, turns and leases put together; it hears news, and leaves in good order."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Self

from runner.app import App
from runner.broker import Broker
from runner.clock import Ticks, boot_ms
from runner.events import Aborting, Drained, Draining, Ready
from runner.load import Load
from runner.log import Logger
from runner.loopwatch import LoopWatch
from runner.payload_codec import Sealing
from runner.records import WorkerInfo
from runner.store import Store, Subscription
from runner.store.sealed import sealed
from runner.transactions import Renewed
from runner.workers.drain import Act, Drain
from runner.workers.hearing import Hearing
from runner.workers.intake import Intake
from runner.workers.leases import HeldLease, LeaseKeeper
from runner.workers.options import WorkerOptions
from runner.workers.steps import StepRunner
from runner.workers.subscriptions import Subscriptions
from runner.workers.turns import Turns
from runner.workers.unwell import EXIT_HUNG, Leave

log = Logger("runner.worker")


class Worker:
    """One worker: ``async with Worker(...) as worker: await worker.drain()``.

    It is taking deliveries from entering on; leaving drains it within ``grace_s``. ``steps``: who calls the bodies of
    steps; ``ticks``: the clock by which turns measure what has passed since the store told them its time.
    """

    def __init__(
        self,
        app: App,
        store: Store,
        broker: Broker,
        options: WorkerOptions | None = None,
        *,
        steps: StepRunner | None = None,
        ticks: Ticks = boot_ms,
    ) -> None:
        store = sealed(store, app.payload_codec)
        self.options = options = options or WorkerOptions()
        self._app = app
        self._store = store
        self._hooks = app.hooks
        self._subscriptions = Subscriptions(app.subscriptions(), broker, Sealing(app.payload_codec))
        self._steps = steps or StepRunner(options.threads)
        self._watch = LoopWatch(stall_ms=round(options.stall_s * 1000))
        self._turns = Turns(app, store, broker, options, steps=self._steps, ticks=ticks)
        self._intake = Intake(options, broker, self._turns.take)
        self._hearing = Hearing(self._intake, broker, self.leave)
        self._steps.threads.on_hung = self._hung
        self._leave: Leave = _say
        self._drain: Drain | None = None
        self._beside: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        options = self.options
        self._loop = asyncio.get_running_loop()
        self._keeper = self._turns.leases = self._leases()
        try:
            await self._begin()
        except BaseException:
            # A thread that went on would keep saying that this worker lives, or end the process for its loop.
            self._watch.stop()
            self._hush()
            await asyncio.to_thread(self._keeper.stop)
            await self._intake.stop()
            raise
        self._hooks.tell(Ready(worker=options.id))
        log.info("worker.ready", worker=options.id, queues=list(options.queues), concurrency=options.concurrency)
        return self

    async def _begin(self) -> None:
        if self.options.watch_loop:
            self._watch.start()
        # Known before it is ready: whoever starts by name asks the store who serves that name.
        await asyncio.to_thread(self._keeper.start)
        pokes = await self._store.subscribe(f"worker/{self.options.id}")
        self._beside["pokes"] = asyncio.create_task(self._hear_pokes(pokes), name="pokes")
        await self._intake.start()
        await self._subscriptions.start()
        self._beside["hearing"] = asyncio.create_task(self._hearing.run(), name="hearing")

    async def __aexit__(self, *exc: object) -> None:
        await self.drain()

    def _leases(self) -> LeaseKeeper:
        return LeaseKeeper(
            self._store.renewer(),
            self._info(),
            self.options.lease_ms,
            told=self._renewed,
            loop_alive=self._watch.alive if self.options.watch_loop else lambda: True,
            long_steps=self._steps.long,
        )

    def _info(self) -> WorkerInfo:
        return WorkerInfo(
            id=self.options.id,
            build=self.options.build,
            queues=self.options.queues,
            workflows=tuple((one.name, one.version, one.queue) for one in self._app.workflows()),
            slots=self.options.concurrency,
            lease_ms=self.options.lease_ms,
            host=socket.gethostname(),
            pid=os.getpid(),
            load=Load(max_crashes=self.options.max_crashes),
        )

    @property
    def busy(self) -> int:
        """How many turns are running."""
        return len(self._turns.running)

    @property
    def hung(self) -> int:
        """How many of its threads hang in steps whose time was over long ago."""
        return self._steps.threads.hung

    @property
    def consuming(self) -> bool:
        """The broker hands us deliveries, or we take none because all slots are taken."""
        return self._intake.consuming

    @property
    def draining(self) -> bool:
        return self._drain is not None

    def after_turns(self, count: int, enough: Callable[[], None]) -> None:
        """Call ``enough`` once, when ``count`` more turns have ended: how a process that is to be recycled knows."""
        self._turns.after(count, enough)

    def when_unwell(self, leave: Leave) -> None:
        """Have ``leave`` called when only another process can mend this one: with the exit code, and why.

        Without it that is only logged.
        """
        self._leave = leave

    def leave(self, code: int, why: str) -> None:
        """It is unwell; whatever else it finds after that is only logged."""
        leave, self._leave = self._leave, _say
        leave(code, why)

    def _hung(self, threads: int) -> None:
        """So many of the threads for steps hang: beyond a half, those that are left are soon gone too."""
        if threads * 2 >= self._steps.threads.count:
            self.leave(EXIT_HUNG, f"{threads} of {self._steps.threads.count} threads hang in steps")

    # -- news -------------------------------------------------------------------------------------

    async def _hear_pokes(self, pokes: Subscription) -> None:
        try:
            while True:
                self._turns.poke(await pokes.next(3600) or "")
        finally:
            await pokes.close()

    def _renewed(self, lease: HeldLease, answer: Renewed) -> None:
        """Called on the keeper's thread."""
        self._loop.call_soon_threadsafe(self._turns.renewed, lease, answer)

    # -- leaving ----------------------------------------------------------------------------------

    def drop(self, execution_id: str) -> None:
        """Give up an execution as if its lease were lost: its code is called no more, and nothing more is written."""
        self._turns.lose(execution_id)

    async def drain(self) -> None:
        """Leave: no new deliveries, steps under way may end, the rest is handed back. At most ``grace_s``. Idempotent."""
        if self._drain is not None:
            return
        self._drain = Drain(self.options.grace_s)
        self._hooks.tell(Draining(worker=self.options.id))
        log.info("worker.draining", worker=self.options.id, turns=self.busy)
        self._intake.leave()
        await self._drain.run(self._phases(self._drain), self._left)
        log.info("worker.drained", worker=self.options.id)

    def _phases(self, drain: Drain) -> Mapping[str, Act]:
        return {
            "intake": self._intake.pause,
            "finish": partial(self._finish, drain),
            "hand back": self._cut_off,
            "parcels": self._turns.sent,
            "consumers": self._intake.stop,
            "farewell": partial(self._farewell, drain.budget_s("farewell")),
            "observers": self._last_words,
        }

    def _left(self) -> Mapping[str, int]:
        """What is still to be done, for the log."""
        return {"turns": self.busy, "handlers": self._subscriptions.busy, "parcels": len(self._turns.sending)}

    async def _finish(self, drain: Drain) -> None:
        """Steps under way may end; what the code does next is left to others."""
        self._turns.drain()
        await asyncio.gather(self._intake.slots.idle(), self._subscriptions.drain(self.options.grace_s, drain.hurried))

    async def _cut_off(self) -> None:
        if self._turns.bodies or self._subscriptions.busy:
            log.warning("worker.cutting_off", turns=len(self._turns.bodies), handlers=self._subscriptions.busy)
            self._hooks.tell(Aborting(worker=self.options.id))
        self._turns.cut_off()
        await asyncio.gather(self._intake.slots.idle(), self._subscriptions.stop())

    def hurry(self) -> None:
        """While draining: hand back what runs, now."""
        if self._drain is not None:
            self._drain.hurry()

    async def _farewell(self, budget_s: float) -> None:
        """Or its heartbeat runs out by itself."""
        self._hush()
        await asyncio.to_thread(self._keeper.stop, budget_s / 2)
        await self._store.farewell(self.options.id)

    def _hush(self) -> None:
        for listener in self._beside.values():
            listener.cancel()

    async def _last_words(self) -> None:
        self._steps.close()
        self._watch.stop()
        self._hooks.tell(Drained(worker=self.options.id))
        await self._hooks.settle(self.options.grace_s)


def _say(code: int, why: str) -> None:
    log.error("worker.unwell", code=code, why=why)
