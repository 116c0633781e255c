"""Giving back: what a worker does not run, or not to its end, goes on somewhere else."""

from __future__ import annotations

from functools import partial

from runner.broker import Broker, Delivery
from runner.courier import Courier
from runner.errors import BrokerUnavailable, PayloadError
from runner.hooks import Hooks
from runner.log import Logger
from runner.messages import Hint
from runner.persistence import until_answered
from runner.records import Execution
from runner.store import Store
from runner.store.crashes import crash_limit
from runner.transactions import Wake
from runner.workers.leases import HeldLease
from runner.workers.strangers import Strangers

log = Logger("runner.worker")


class Returns:
    """Each way waits for the store for as long as it is away; a hint that the broker does not take is left to its entry."""

    def __init__(self, store: Store, broker: Broker, courier: Courier, hooks: Hooks, *, max_crashes: int) -> None:
        self._store = store
        self._broker = broker
        self._courier = courier
        self._hooks = hooks
        self._max_crashes = max_crashes
        self._strangers = Strangers(store)

    async def hand_back(self, lease: HeldLease, reason: str = "") -> None:
        """Release the execution: for anyone to take now, or with a ``reason``, later."""
        wake = await until_answered(partial(self._store.release, lease.id, lease.nonce))
        if reason:
            await self.pass_over(lease.id, reason)
        else:
            await self.publish(wake)

    async def break_off(self, execution: Execution, lease: HeldLease, reason: str) -> None:
        """For later, and counted as a crash: what breaks every turn must come to an end some day."""
        limit = crash_limit(self._max_crashes, reason)
        broken = await until_answered(partial(self._store.break_off, lease.id, lease.nonce, limit))
        self._hooks.fire(broken.rows)
        await self._courier.send(broken.parcels)
        if broken.wakes:
            await self.pass_over(lease.id, reason)
        elif broken.poisoned:
            log.error("execution.poisoned", execution_id=lease.id, workflow=execution.workflow, reason=reason)

    async def leave_unread(self, lease: HeldLease, error: PayloadError) -> None:
        """Another worker may have the key."""
        log.error("payload.unreadable", execution_id=lease.id, error=str(error))
        await self.hand_back(lease, str(error))

    async def give_to_others(self, delivery: Delivery) -> None:
        """Its workflow is not known here."""
        hint = delivery.hint
        if await self._strangers.offer_at_once(hint, delivery.queue):
            await self._offer(delivery.queue, hint)
        else:
            await self.pass_over(hint.execution_id, f"no workflow {hint.workflow!r} version {hint.version} here")

    async def pass_over(self, execution_id: str, reason: str) -> None:
        log.info("execution.passed_over", execution_id=execution_id, reason=reason)
        await until_answered(partial(self._store.pass_over, execution_id, reason))

    async def publish(self, wake: Wake | None) -> None:
        if wake is not None:
            await self._offer(wake.queue, wake.hint)

    async def _offer(self, queue: str, hint: Hint) -> None:
        try:
            await self._broker.publish(queue, hint)
        except BrokerUnavailable as error:
            log.warning("hint.left_to_outbox", execution_id=hint.execution_id, error=str(error))
