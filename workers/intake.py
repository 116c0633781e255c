"""The intake: deliveries come in, each waits for a slot, and the broker hears in time that it is through with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from runner.broker import Broker, Consumer, Delivery
from runner.workers.options import WorkerOptions
from runner.workers.slots import Slots

#: A delivery whose turn lasts longer is acknowledged: far below any consumer timeout of the broker.
EARLY_ACK_S = 60.0
#: A delivery waits this long for a free slot; then the ready entry has it.
SLOT_WAIT_S = 10.0

#: What is done with a delivery that has a slot.
Handle = Callable[[Delivery], Awaitable[None]]


class Intake:
    """Takes deliveries from ``start`` to ``leave``: no more at once than there are slots."""

    def __init__(self, options: WorkerOptions, broker: Broker, handle: Handle) -> None:
        self.slots = Slots(options.concurrency)
        self.consumer: Consumer | None = None
        self._options = options
        self._broker = broker
        self._handle = handle
        self.taken: Counter[str] = Counter()  # so many deliveries, by queue
        self._in_hand: Counter[str] = Counter()  # … of which these are not settled
        self._prefetch = options.prefetch()
        self._paused = False
        self._leaving = False
        self._spawned: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises BrokerUnavailable or ConfigError."""
        self.consumer = await self._broker.consume(self._prefetch, self._take)

    def leave(self) -> None:
        """Begin with no delivery any more: it goes back as soon as the consumer stops, for somebody else to take."""
        self._leaving = True

    async def pause(self) -> None:
        """Ask for no more deliveries."""
        if self.consumer is not None:
            await self.consumer.pause()

    async def stop(self) -> None:
        """What was not settled goes back. Safe without a start."""
        if self.consumer is not None:
            await self.consumer.stop()

    async def renew(self, reason: str) -> None:
        """Have the broker asked afresh, over a new connection."""
        if self.consumer is not None:
            await self.consumer.renew(reason)

    @property
    def queues(self) -> tuple[str, ...]:
        return self._options.queues

    def room_for(self, queue: str) -> bool:
        """True when the broker should hand us more of this queue, if it has more."""
        in_hand, prefetch = self._in_hand[queue], self._prefetch[queue]
        return (
            in_hand < prefetch and self.slots.used < self._options.concurrency and not (self._paused or self._leaving)
        )

    @property
    def consuming(self) -> bool:
        """The broker hands us deliveries, or we take none because all slots are taken."""
        return self.consumer is not None and (self._paused or self.consumer.consuming)

    async def _take(self, delivery: Delivery) -> None:
        """Everything that becomes of one delivery: acknowledged whatever that is, unless we are leaving."""
        acked = asyncio.get_running_loop().call_later(EARLY_ACK_S, self._ack_early, delivery)
        self.taken[delivery.queue] += 1
        self._in_hand[delivery.queue] += 1
        try:
            if not await self.slots.take(SLOT_WAIT_S):
                self.hold_back()
            elif not await self._handled(delivery):
                return  # not settled: it goes back as soon as the consumer stops
            await delivery.ack()
        finally:
            acked.cancel()
            self._in_hand[delivery.queue] -= 1

    async def _handled(self, delivery: Delivery) -> bool:
        """False when we are leaving, and somebody else must take it."""
        try:
            if self._leaving:
                return False
            await self._handle(delivery)
            return True
        finally:
            await self.slots.give_back()

    def _ack_early(self, delivery: Delivery) -> None:
        self._spawn(delivery.ack())

    def hold_back(self) -> None:
        """No slot came free: take no more deliveries until one does."""
        if self.consumer is not None and not self._paused:
            self._paused = True
            self._spawn(self._until_free(self.consumer))

    async def _until_free(self, consumer: Consumer) -> None:
        await consumer.pause()
        await self.slots.free()
        self._paused = False
        if not self._leaving:
            await consumer.resume()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
