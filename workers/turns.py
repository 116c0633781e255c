"""The turns of one worker: each hint's execution is claimed, driven, and given back when its turn does not end by itself."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

from runner.app import App
from runner.broker import Broker, Delivery
from runner.clock import Ticks, boot_ms
from runner.courier import Courier
from runner.errors import PayloadError, StoreConflict
from runner.failures import said
from runner.log import Logger
from runner.persistence import until_answered
from runner.records import Execution, History
from runner.store import Store
from runner.transactions import Committed, Refusal, Renewed, Wake
from runner.workers.leases import HeldLease, LeaseKeeper
from runner.workers.options import WorkerOptions
from runner.workers.returns import Returns
from runner.workers.steps import StepRunner
from runner.workers.suspects import ALONE, Suspects
from runner.workers.turn import LeaseLost, Parked, Turn
from runner.workflow import Workflow

log = Logger("runner.worker")


class Turns:
    """``take`` a delivery: returns when nothing more is to be done about it here.

    ``leases`` is to be set before the first one: who renews them.
    """

    leases: LeaseKeeper

    def __init__(
        self,
        app: App,
        store: Store,
        broker: Broker,
        options: WorkerOptions,
        *,
        steps: StepRunner,
        ticks: Ticks,
    ) -> None:
        self.running: dict[str, Turn] = {}  # by execution id
        self.bodies: set[asyncio.Task[Wake | None]] = set()  # the turns, as tasks
        self.sending: set[asyncio.Task[int]] = set()  # parcels on their way
        self._app = app
        self._store = store
        self._options = options
        self._hooks = app.hooks
        self._courier = Courier(store, broker, app.hooks)
        self._returns = Returns(store, broker, self._courier, app.hooks, max_crashes=options.max_crashes)
        self._suspects = Suspects()
        self._steps = steps
        self._ticks = ticks
        self._draining = False
        self._to_go = 0  # it counts down; 0 was passed already
        self._enough: Callable[[], None] = lambda: None

    # -- told from outside ------------------------------------------------------------------------

    def after(self, count: int, enough: Callable[[], None]) -> None:
        """Call ``enough`` once, when ``count`` more turns have ended."""
        self._to_go = count
        self._enough = enough

    def poke(self, execution_id: str) -> None:
        """It has news."""
        if execution_id in self.running:
            self.running[execution_id].poke()

    def renewed(self, lease: HeldLease, answer: Renewed) -> None:
        if lease.id in self.running:
            self.running[lease.id].renewed(lease, answer)

    def lose(self, execution_id: str) -> None:
        """Its lease is somebody else's."""
        if execution_id in self.running:
            self.running[execution_id].lose()

    def drain(self) -> None:
        """Each ends, or stops at its next step; so does one that begins from now on."""
        self._draining = True
        for turn in list(self.running.values()):
            turn.drain()

    def cut_off(self) -> None:
        """End them where they stand; what was under way is handed back."""
        for body in list(self.bodies):
            body.cancel()

    async def sent(self) -> None:
        """What commits have caused is on its way no more. (Or the scheduler sends it, after its grace.)"""
        if self.sending:
            await asyncio.wait(self.sending)

    # -- from a delivery to a turn ----------------------------------------------------------------

    async def take(self, delivery: Delivery) -> None:
        hint = delivery.hint
        if self._app.find(hint.workflow, hint.version) is None:
            await self._returns.give_to_others(delivery)
            return
        nonce = secrets.token_hex(16)
        lease = HeldLease(hint.execution_id, nonce, self._options.lease_ms, boot_ms(), claimed=False)
        # Kept from here on: what hangs while it reads the answer must lose the lease behind its worker, which is a
        # crash, and not before it, which is none and would go on for ever.
        self.leases.hold(lease)
        claim = self._suspects.claiming()
        try:
            await self._take(delivery, lease, claim)
        finally:
            self._suspects.decided(claim)
            self.leases.drop(lease)

    async def _take(self, delivery: Delivery, lease: HeldLease, claim: asyncio.Event) -> None:
        hint = delivery.hint
        try:
            claimed = await until_answered(partial(self._claim, lease, hint.seq))
        except PayloadError as error:
            await self._returns.leave_unread(lease, error)
            return
        match claimed:
            case Refusal.UNKNOWN:
                log.error("hint.orphaned", execution_id=hint.execution_id, workflow=hint.workflow)
                await delivery.orphan("the store knows no such execution")
            case Refusal():
                log.debug("claim.refused", execution_id=hint.execution_id, because=str(claimed))
            case History():
                await self._claimed(claimed, lease, claim)

    async def _claim(self, lease: HeldLease, hinted: int) -> History | Refusal:
        """Ask once. A repeated claim begins the lease anew, so its time counts from the question answered."""
        asked_at = boot_ms()
        options = self._options
        claimed = await self._store.claim(lease.id, lease.nonce, options.id, options.lease_ms, hinted)
        lease.extended(asked_at)
        lease.claimed = True
        return claimed

    async def _claimed(self, history: History, lease: HeldLease, claim: asyncio.Event) -> None:
        execution = history.execution
        self._hooks.fire(history.rows)
        workflow = self._app.find(execution.workflow, execution.version)
        if workflow is None:  # the hint named another version than the record has
            known = f"no workflow {execution.workflow!r} version {execution.version} here"
            await self._returns.hand_back(lease, known)
            return
        if not self._suspects.admit(execution):
            await self._returns.hand_back(lease, ALONE)
            return
        self._suspects.decided(claim)
        try:
            await self._suspects.alone(execution)
            await self._held(self._turn(history, workflow, lease), lease)
        finally:
            self._suspects.leave(execution)

    def _turn(self, history: History, workflow: Workflow[Any, Any], lease: HeldLease) -> Turn:
        return Turn(
            history,
            workflow,
            lease,
            store=self._store,
            steps=self._steps,
            errors=self._app.errors,
            lease_ms=self._options.lease_ms,
            in_place_ms=round(self._options.in_place_s * 1000),
            ticks=self._ticks,
            worker=self._options.id,
            known=self._app.find,
            told=self._told,
        )

    async def _held(self, turn: Turn, lease: HeldLease) -> None:
        """Run it with its lease renewed."""
        self.lose(lease.id)  # a former turn: we could not have claimed it otherwise, and its steps do not know yet
        self.running[lease.id] = turn
        if self._draining:
            turn.drain()
        try:
            await self._run(turn, lease)
        finally:
            self.leases.drop(lease, turn.execution.queue)
            if self.running.get(lease.id) is turn:
                del self.running[lease.id]
            self._to_go -= 1
            if self._to_go == 0:
                self._enough()

    async def _run(self, turn: Turn, lease: HeldLease) -> None:
        execution = turn.execution
        body = asyncio.create_task(turn.run(), name=f"turn of {execution.workflow} {execution.id}")
        self.bodies.add(body)
        try:
            await self._returns.publish(await body)
        except asyncio.CancelledError:
            if not body.cancelled():
                raise
            log.info("turn.handed_back", **_known(execution))
            await self._returns.hand_back(lease)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this execution alone
            await self._broke_off(turn, lease, error)
        finally:
            self.bodies.discard(body)

    async def _broke_off(self, turn: Turn, lease: HeldLease, error: Exception) -> None:
        """The turn ended with something else than an end: others may do better, or later."""
        execution = turn.execution
        match error:
            case LeaseLost():
                log.warning("lease.lost", **_known(execution))
            case Parked():
                log.error("history.mismatch", error=str(error), **_known(execution))
                build = self._options.build or "this build"
                await self._returns.hand_back(lease, f"{build} does not replay its history: {error}")
            case PayloadError():
                await self._returns.leave_unread(lease, error)
            case StoreConflict():
                log.error("turn.conflict", error=str(error), **_known(execution))
                await self._returns.hand_back(lease, f"the store refused a commit: {error}")
            case _:
                log.error("turn.broken", exc_info=error, **_known(execution))
                what = f"{type(error).__name__}: {said(error)}, {turn.reached}"
                reason = f"a turn broke on worker {self._options.id}: {what}"
                await self._returns.break_off(execution, lease, reason)

    def _told(self, committed: Committed) -> None:
        """What a commit has caused elsewhere goes its way beside the turn."""
        self._hooks.fire(committed.rows)
        if committed.parcels:
            sending = asyncio.create_task(self._courier.send(committed.parcels))
            self.sending.add(sending)
            sending.add_done_callback(self.sending.discard)


def _known(execution: Execution) -> dict[str, str]:
    return {"execution_id": execution.id, "workflow": execution.workflow}
