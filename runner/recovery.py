"""Recovery: after a disaster, make sure of every execution that something will move it on, and say how many.

Everything goes through the store's own compare-and-act methods, as a scheduler's work does: whoever else does the same
at the same time finds done what is done, so that each execution is woken once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from runner.broker import Broker
from runner.courier import Courier
from runner.errors import BrokerUnavailable
from runner.fleet import living
from runner.hooks import Hooks
from runner.log import Logger
from runner.records import Execution, Filter, Status
from runner.store import Store
from runner.transactions import Wake, Woken

log = Logger("runner.recovery")

#: Of one partition, at once.
LIMIT = 200
#: A hint that was published again is not looked at for this long, in ms.
BACKOFF_MS = 5_000
_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``recovered``: executions that were woken, with their hint at the broker. ``failed``: hints that the broker did not
    take, and parcels that stay in the outbox; a scheduler tries them again. ``skipped``: how many executions were left
    alone, by reason. ``complete`` is False when there are more of some status than were counted.
    """

    recovered: int
    failed: int
    skipped: Mapping[str, int]
    complete: bool


@dataclass(slots=True)
class Recovery:
    """One recovery; ``woken`` is what it has woken so far."""

    store: Store
    broker: Broker
    courier: Courier
    hooks: Hooks
    woken: dict[str, Wake] = field(default_factory=dict[str, Wake])

    async def act(self) -> tuple[int, int]:
        """Wake what is due, reaped or overdue. Returns how many hints the broker did not take, and parcels that stay."""
        alive = await living(self.store)
        for partition in range(self.store.partitions):
            await self._due(partition)
            await self._reap(partition, alive)
            await self._overdue(partition)
        # Last: the ends above have put their notices into the outbox.
        left = sum([await self._carry(partition) for partition in range(self.store.partitions)])
        return await self._publish(), left

    async def survey(self, most: int) -> tuple[Counter[str], bool]:
        """Why the others were left alone: at most ``most`` of each status are counted, and whether that was all."""
        reasons: Counter[str] = Counter()
        complete = True
        now = await self.store.now()
        for status in Status:
            complete &= await self._count(status, most, now, reasons)
        return reasons, complete

    async def _due(self, partition: int) -> None:
        while True:
            if not self._took_all(await self.store.due(partition, LIMIT)):
                return

    async def _reap(self, partition: int, alive: Iterable[str]) -> None:
        while True:
            if not self._took_all(await self.store.reap(partition, LIMIT, alive)):
                return

    async def _overdue(self, partition: int) -> None:
        while True:
            overdue = await self.store.overdue(partition, LIMIT, BACKOFF_MS)
            self._took((*overdue.lost, *overdue.passed))
            if len(overdue.lost) + len(overdue.passed) < LIMIT:
                return

    async def _carry(self, partition: int) -> int:
        """The whole outbox, page by page; what cannot be applied stays, and holds up no other. Returns how much that is."""
        left, page = 0, await self.store.outbox(partition, "", LIMIT)
        while page:
            left += await self.courier.send(page)
            page = await self.store.outbox(partition, page[-1].place, LIMIT)
        return left

    def _took_all(self, woken: Woken) -> bool:
        """Whether there is more. That is not told by the wakes: what its deadline has ended is among none."""
        self.hooks.fire(woken.rows)
        self._took(woken.wakes)
        return woken.next_at is not None and woken.next_at <= woken.now

    def _took(self, wakes: Iterable[Wake]) -> None:
        self.woken |= {wake.id: wake for wake in wakes}

    async def _publish(self) -> int:
        hints = [(wake.queue, wake.hint) for wake in self.woken.values()]
        if not hints:
            return 0
        try:
            return len(hints) - await self.broker.publish_many(hints)
        except BrokerUnavailable as error:
            log.warning("hint.left_to_outbox", hints=len(hints), error=str(error))
            return len(hints)

    async def _count(self, status: Status, most: int, now: int, reasons: Counter[str]) -> bool:
        cursor: str | None = None
        counted = 0
        while counted < most:
            limit = min(_PAGE, most - counted)
            page = await self.store.executions(Filter(status=status, limit=limit, cursor=cursor))
            reasons.update(left_alone(one, now) for one in page.executions if one.id not in self.woken)
            reasons.update("it cannot be read" for _ in page.unreadable)
            counted, cursor = counted + limit, page.cursor
            if cursor is None:
                return True
        return False


async def recover(store: Store, broker: Broker, courier: Courier, hooks: Hooks, *, most: int) -> Report:
    """Act, then count."""
    recovery = Recovery(store, broker, courier, hooks)
    unpublished, left_in_outbox = await recovery.act()
    reasons, complete = await recovery.survey(most)
    return Report(
        recovered=len(recovery.woken) - unpublished,
        failed=unpublished + left_in_outbox,
        skipped=reasons,
        complete=complete,
    )


def left_alone(execution: Execution, now: int) -> str:
    """Why an execution needs no waking."""
    if execution.status.terminal:
        return f"ended: {execution.status}"
    if execution.lease_until is not None and execution.lease_until > now:
        return "a worker has it"
    match execution.status:
        case Status.SLEEPING:
            return "waits: its timer or the outside wakes it"
        case Status.RETRYING:
            return "pauses before a retry: its timer wakes it"
        case _:
            return "ready, delayed or waiting: its hint is on its way, or its time comes"
