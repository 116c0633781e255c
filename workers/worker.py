"""The worker: takes deliveries, claims their executions, runs turns side by side, and leaves in good order."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Self

from runner.app import App
from runner.broker import Broker, Consumer, Delivery
from runner.clock import Ticks, boot_ms
from runner.courier import Courier
from runner.errors import BrokerUnavailable, PayloadError, StoreConflict, StoreUnavailable
from runner.events import Aborting, Drained, Draining, Ready
from runner.failures import said
from runner.log import Logger
from runner.messages import Hint
from runner.payload_codec import Sealing
from runner.persistence import until_answered
from runner.records import History, WorkerInfo
from runner.store import Store, Subscription
from runner.store.sealed import sealed
from runner.transactions import Committed, Refusal, Renewed, Wake
from runner.workers.drain import Drain
from runner.workers.leases import HeldLease, LeaseKeeper
from runner.workers.loopwatch import LoopWatch
from runner.workers.options import WorkerOptions
from runner.workers.slots import Slots
from runner.workers.steps import StepRunner
from runner.workers.strangers import Strangers
from runner.workers.subscriptions import Subscriptions
from runner.workers.turn import LeaseLost, Parked, Turn

log = Logger("runner.worker")

#: A delivery whose turn lasts longer is acknowledged: far below any consumer timeout of the broker.
EARLY_ACK_S = 60.0
#: A delivery waits this long for a free slot; then the ready entry has it.
SLOT_WAIT_S = 10.0
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
        self._app = app
        self._store = store
        self._broker = broker
        self.options = options or WorkerOptions()
        self._hooks = app.hooks
        self._courier = Courier(store, broker, app.hooks)
        self._subscriptions = Subscriptions(app.subscriptions(), broker, Sealing(app.payload_codec))
        self._steps = steps or StepRunner(self.options.threads)
        self._ticks = ticks
        self._strangers = Strangers(store)
        self._slots = Slots(self.options.concurrency)
        self._turns: dict[str, Turn] = {}  # by execution id
        self._bodies: set[asyncio.Task[Wake | None]] = set()  # the turns, as tasks
        self._spawned: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[int]] = set()  # parcels on their way
        self._drain: Drain | None = None
        self._paused = False
        self._turns_to_go = 0  # it counts down; 0 was passed already
        self._enough: Callable[[], None] = lambda: None
        self._watch = LoopWatch()
        self._keeper: LeaseKeeper | None = None
        self._consumer: Consumer | None = None

    async def __aenter__(self) -> Self:
        options = self.options
        self._loop = asyncio.get_running_loop()
        try:
            await self._begin()
        except BaseException:
            # A thread that went on would keep saying that this worker lives, or end the process for its loop.
            self._watch.stop()
            if self._keeper is not None:
                await asyncio.to_thread(self._keeper.stop)
            if self._consumer is not None:
                await self._consumer.stop()
            raise
        self._hooks.tell(Ready(worker=options.id))
        log.info("worker.ready", worker=options.id, queues=list(options.queues), concurrency=options.concurrency)
        return self

    async def _begin(self) -> None:
        options = self.options
        if options.watch_loop:
            self._watch.start()
        self._keeper = LeaseKeeper(
            self._store.renewer(),
            self._info(),
            options.lease_ms,
            told=self._renewed,
            loop_alive=self._watch.alive if options.watch_loop else lambda: True,
        )
        # Known before it is ready: whoever starts by name asks the store who serves that name.
        await asyncio.to_thread(self._keeper.start)
        self._pokes = asyncio.create_task(self._hear_pokes(await self._store.subscribe(f"worker/{options.id}")))
        self._consumer = await self._broker.consume(options.prefetch(), self._take)
        await self._subscriptions.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.drain()

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
        return len(self._turns)

    def after_turns(self, count: int, enough: Callable[[], None]) -> None:
        """Call ``enough`` once, when ``count`` more turns have ended: how a process that is to be recycled knows."""
        self._turns_to_go = count
        self._enough = enough

    # -- deliveries -------------------------------------------------------------------------------

    async def _take(self, delivery: Delivery) -> None:
        """Everything that becomes of one delivery: acknowledged whatever that is, unless we are leaving."""
        acked = asyncio.get_running_loop().call_later(EARLY_ACK_S, self._ack_early, delivery)
        try:
            if not await self._slots.take(SLOT_WAIT_S):
                self._hold_back()
            elif not await self._handled(delivery):
                return  # not settled: it goes back as soon as the consumer stops
            await delivery.ack()
        finally:
            acked.cancel()

    async def _handled(self, delivery: Delivery) -> bool:
        """False when we are leaving, and somebody else must take it."""
        try:
            if self._drain is not None:
                return False
            await self._handle(delivery)
            return True
        finally:
            await self._slots.give_back()

    def _ack_early(self, delivery: Delivery) -> None:
        self._spawn(delivery.ack())

    def _hold_back(self) -> None:
        """No slot came free: take no more deliveries until one does."""
        if self._consumer is not None and not self._paused:
            self._paused = True
            self._spawn(self._pause(self._consumer))

    async def _pause(self, consumer: Consumer) -> None:
        await consumer.pause()
        await self._slots.free()
        self._paused = False
        if self._drain is None:
            await consumer.resume()

    async def _handle(self, delivery: Delivery) -> None:
        hint = delivery.hint
        if self._app.find(hint.workflow, hint.version) is None:
            await self._give_to_others(delivery)
            return
        nonce, asked_at = secrets.token_hex(16), boot_ms()

        async def claim() -> History | Refusal:
            nonlocal asked_at
            asked_at = boot_ms()
            return await self._store.claim(hint.execution_id, nonce, self.options.id, self.options.lease_ms)

        try:
            claimed = await until_answered(claim)
        except PayloadError as error:
            await self._leave_unread(HeldLease(hint.execution_id, nonce, self.options.lease_ms, asked_at), error)
            return
        match claimed:
            case Refusal.UNKNOWN:
                log.error("hint.orphaned", execution_id=hint.execution_id, workflow=hint.workflow)
                await delivery.orphan("the store knows no such execution")
            case Refusal():
                log.debug("claim.refused", execution_id=hint.execution_id, because=str(claimed))
            case History():
                self._hooks.fire(claimed.rows)
                if claimed.execution.seq < hint.seq:
                    log.error("store.rewound", execution_id=hint.execution_id, seq=claimed.execution.seq, hint=hint.seq)
                await self._turn(claimed, HeldLease(hint.execution_id, nonce, self.options.lease_ms, asked_at))

    async def _turn(self, history: History, lease: HeldLease) -> None:
        execution = history.execution
        workflow = self._app.find(execution.workflow, execution.version)
        if workflow is None:  # the hint named another version than the record has
            await self._hand_back(lease, f"no workflow {execution.workflow!r} version {execution.version} here")
            return
        turn = Turn(
            history,
            workflow,
            lease,
            store=self._store,
            steps=self._steps,
            errors=self._app.errors,
            lease_ms=self.options.lease_ms,
            in_place_ms=round(self.options.in_place_s * 1000),
            ticks=self._ticks,
            worker=self.options.id,
            known=self._app.find,
            told=self._told,
        )
        keeper = self._keeper
        assert keeper is not None  # noqa: S101 - set before the first delivery
        former = self._turns.get(execution.id)
        if former is not None:
            former.lose()  # we could not have claimed it otherwise, and its steps do not know yet
        self._turns[execution.id] = turn
        keeper.hold(lease)
        if self._drain is not None:
            turn.drain()
        try:
            await self._run(turn, lease)
        finally:
            keeper.drop(lease)
            if self._turns.get(execution.id) is turn:
                del self._turns[execution.id]
            self._turns_to_go -= 1
            if self._turns_to_go == 0:
                self._enough()

    async def _run(self, turn: Turn, lease: HeldLease) -> None:
        execution = turn.execution
        known = {"execution_id": execution.id, "workflow": execution.workflow}
        body = asyncio.create_task(turn.run(), name=f"turn of {execution.workflow} {execution.id}")
        self._bodies.add(body)
        try:
            await self._publish(await body)
        except asyncio.CancelledError:
            if not body.cancelled():
                raise
            log.info("turn.handed_back", **known)
            await self._hand_back(lease)
        except LeaseLost:
            log.warning("lease.lost", **known)
        except Parked as parked:
            log.error("history.mismatch", error=str(parked), **known)
            await self._hand_back(lease, f"{self.options.build or 'this build'} does not replay its history: {parked}")
        except PayloadError as error:
            await self._leave_unread(lease, error)
        except StoreConflict as error:
            log.error("turn.conflict", error=str(error), **known)
            await self._hand_back(lease, f"the store refused a commit: {error}")
        except Exception as error:
            log.exception("turn.broken", **known)
            await self._hand_back(lease, f"a turn broke on worker {self.options.id}: {said(error)}")
        finally:
            self._bodies.discard(body)

    # -- giving back ------------------------------------------------------------------------------

    async def _hand_back(self, lease: HeldLease, reason: str = "") -> None:
        """Release the execution: for anyone to take now, or with a ``reason``, later."""
        wake = await until_answered(partial(self._store.release, lease.id, lease.nonce))
        if reason:
            await self._pass_over(lease.id, reason)
        else:
            await self._publish(wake)

    async def _leave_unread(self, lease: HeldLease, error: PayloadError) -> None:
        """Another worker may have the key."""
        log.error("payload.unreadable", execution_id=lease.id, error=str(error))
        await self._hand_back(lease, str(error))

    async def _give_to_others(self, delivery: Delivery) -> None:
        hint = delivery.hint
        if await self._strangers.offer_at_once(hint, delivery.queue):
            await self._offer(delivery.queue, hint)
        else:
            await self._pass_over(hint.execution_id, f"no workflow {hint.workflow!r} version {hint.version} here")

    async def _pass_over(self, execution_id: str, reason: str) -> None:
        log.info("execution.passed_over", execution_id=execution_id, reason=reason)
        await until_answered(partial(self._store.pass_over, execution_id, reason))

    def _told(self, committed: Committed) -> None:
        """What a commit has caused elsewhere goes its way beside the turn."""
        self._hooks.fire(committed.rows)
        if committed.parcels:
            sending = asyncio.create_task(self._courier.send(committed.parcels))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)

    async def _publish(self, wake: Wake | None) -> None:
        if wake is not None:
            await self._offer(wake.queue, wake.hint)

    async def _offer(self, queue: str, hint: Hint) -> None:
        try:
            await self._broker.publish(queue, hint)
        except BrokerUnavailable as error:
            log.warning("hint.left_to_outbox", execution_id=hint.execution_id, error=str(error))

    # -- news -------------------------------------------------------------------------------------

    async def _hear_pokes(self, pokes: Subscription) -> None:
        try:
            while True:
                execution_id = await pokes.next(3600)
                turn = self._turns.get(execution_id or "")
                if turn is not None:
                    turn.poke()
        finally:
            await pokes.close()

    def _renewed(self, lease: HeldLease, answer: Renewed) -> None:
        """Called on the keeper's thread."""
        self._loop.call_soon_threadsafe(self._tell, lease, answer)

    def _tell(self, lease: HeldLease, answer: Renewed) -> None:
        turn = self._turns.get(lease.id)
        if turn is not None:
            turn.renewed(lease, answer)

    # -- leaving ----------------------------------------------------------------------------------

    def drop(self, execution_id: str) -> None:
        """Give up an execution as if its lease were lost: its code is called no more, and nothing more is written."""
        if execution_id in self._turns:
            self._turns[execution_id].lose()

    async def drain(self) -> None:
        """Leave: no new deliveries, steps under way may end, the rest is handed back. At most ``grace_s``. Idempotent."""
        if self._drain is not None:
            return
        self._drain = Drain(self.options.grace_s, lambda: self._hooks.tell(Aborting(worker=self.options.id)))
        self._hooks.tell(Draining(worker=self.options.id))
        log.info("worker.draining", worker=self.options.id, turns=len(self._turns))
        await self._drain.run(self._consumer, self._turns.values(), self._slots, self._bodies, self._subscriptions)
        if self._sending:  # or the scheduler does it, after its grace
            await asyncio.wait(self._sending, timeout=LAST_WORDS_S)
        self._pokes.cancel()
        if self._keeper is not None:
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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
