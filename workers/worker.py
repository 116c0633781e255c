"""The worker: intake, turns and leases put together; it hears news, and leaves in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from runner.app import App
from runner.broker import Broker
from runner.clock import Ticks, boot_ms
from runner.errors import StoreUnavailable
from runner.events import Aborting, Drained, Draining, Ready
from runner.log import Logger
from runner.payload_codec import Sealing
from runner.records import WorkerInfo
from runner.store import Store, Subscription
from runner.store.sealed import sealed
from runner.transactions import Renewed
from runner.workers.drain import Drain
from runner.workers.intake import Intake
from runner.workers.leases import HeldLease, LeaseKeeper
from runner.workers.loopwatch import LoopWatch
from runner.workers.options import WorkerOptions
from runner.workers.steps import StepRunner
from runner.workers.subscriptions import Subscriptions
from runner.workers.turns import Turns

log = Logger("runner.worker")

#: What is still to be told when a worker leaves, to others and to observers, may take this long each.
LAST_WORDS_S = 1.0


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
        self._watch = LoopWatch()
        self._turns = Turns(app, store, broker, options, steps=self._steps, ticks=ticks)
        self._intake = Intake(options, broker, self._turns.take)
        self._drain: Drain | None = None

    async def __aenter__(self) -> Self:
        options = self.options
        self._loop = asyncio.get_running_loop()
        self._keeper = self._turns.leases = self._leases()
        try:
            await self._begin()
        except BaseException:
            # A thread that went on would keep saying that this worker lives, or end the process for its loop.
            self._watch.stop()
            await asyncio.to_thread(self._keeper.stop)
            if self._intake.consumer is not None:
                await self._intake.consumer.stop()
            raise
        self._hooks.tell(Ready(worker=options.id))
        log.info("worker.ready", worker=options.id, queues=list(options.queues), concurrency=options.concurrency)
        return self

    async def _begin(self) -> None:
        if self.options.watch_loop:
            self._watch.start()
        # Known before it is ready: whoever starts by name asks the store who serves that name.
        await asyncio.to_thread(self._keeper.start)
        self._pokes = asyncio.create_task(self._hear_pokes(await self._store.subscribe(f"worker/{self.options.id}")))
        await self._intake.start()
        await self._subscriptions.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.drain()

    def _leases(self) -> LeaseKeeper:
        return LeaseKeeper(
            self._store.renewer(),
            self._info(),
            self.options.lease_ms,
            told=self._renewed,
            loop_alive=self._watch.alive if self.options.watch_loop else lambda: True,
        )

    def _info(self) -> WorkerInfo:
        return WorkerInfo(
            id=self.options.id,
            build=self.options.build,
            queues=self.options.queues,
            workflows=tuple((one.name, one.version, one.queue) for one in self._app.workflows()),
            slots=self.options.concurrency,
            lease_ms=self.options.lease_ms,
        )

    @property
    def busy(self) -> int:
        """How many turns are running."""
        return len(self._turns.running)

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
        self._drain = Drain(self.options.grace_s, lambda: self._hooks.tell(Aborting(worker=self.options.id)))
        self._hooks.tell(Draining(worker=self.options.id))
        log.info("worker.draining", worker=self.options.id, turns=self.busy)
        await self._drain.run(self._intake, self._turns, self._subscriptions)
        if self._turns.sending:  # or the scheduler does it, after its grace
            await asyncio.wait(self._turns.sending, timeout=LAST_WORDS_S)
        self._pokes.cancel()
        await asyncio.to_thread(self._keeper.stop)
        await self._farewell()
        self._steps.close()
        self._watch.stop()
        self._hooks.tell(Drained(worker=self.options.id))
        await self._hooks.settle(LAST_WORDS_S)
        log.info("worker.drained", worker=self.options.id)

    def hurry(self) -> None:
        """While draining: hand back what runs, now."""
        if self._drain is not None:
            self._drain.hurry()

    async def _farewell(self) -> None:
        try:
            await self._store.farewell(self.options.id)
        except StoreUnavailable as error:  # its heartbeat runs out by itself
            log.warning("worker.farewell_failed", error=str(error))
