"""A store whose payloads are sealed on the way in and opened on the way out; the rest is another store's.

Whoever carries the outbox may stand before it or behind it: what is sealed is not sealed again, and parcels are never opened.
A claim is refused with PayloadError when anything in the history cannot be opened, for a turn would take it for what the
workflow was given. What is only looked at stays sealed instead, and is told apart when it is decoded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from runner.core.facts import Look, Stray
from runner.errors import PayloadError
from runner.payload_codec import PayloadCodec, Sealing
from runner.records import (
    AuditEntry,
    ChildLink,
    Execution,
    Filter,
    History,
    InboxItem,
    Leadership,
    Page,
    Schedule,
    WorkerInfo,
)
from runner.store import Renewer, Store, Subscription, sealing
from runner.store.crashes import GIVE_UP, BrokenOff, CrashLimit
from runner.store.inspection import Followed, Mended, Repair
from runner.store.standing import Standing
from runner.store.vitals import Durability, Losses, StoreVitals
from runner.transactions import (
    Commit,
    Committed,
    Deliver,
    Delivered,
    DueSchedules,
    Follow,
    Operate,
    Operated,
    Overdue,
    Parcel,
    Refusal,
    Start,
    Started,
    Wake,
    Woken,
)

Told = TypeVar("Told", Started, Committed, Delivered, Operated, BrokenOff, Woken, History)


def sealed(store: Store, codec: PayloadCodec | None) -> Store:
    """The store with ``codec`` before it, once. Without a codec: one that says so where it meets something sealed."""
    return store if isinstance(store, SealedStore) else SealedStore(store, Sealing(codec))


class SealedStore:
    def __init__(self, store: Store, sealing: Sealing) -> None:
        self._store = store
        self._sealing = sealing
        self._clear = sealing.codec is None  # then nothing is sealed, and only what others sealed is looked for
        self.namespace = store.namespace
        self.partitions = store.partitions

    @property
    def interruptions(self) -> int:
        return self._store.interruptions

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    # -- sealed, opened -----------------------------------------------------------------------------

    async def start(self, starts: Sequence[Start]) -> list[Started]:
        """As of a Store; raises PayloadError when the codec cannot encode. So do the other writes."""
        asked = starts if self._clear else [sealing.start(one, self._sealing.seal) for one in starts]
        answers = await self._store.start(asked)
        return [self._told(answer) for answer in answers]

    async def claim(self, id: str, nonce: str, worker: str, lease_ms: int, hinted: int = 0) -> History | Refusal:
        """As of a Store; raises PayloadError, with the execution claimed, for a history that cannot be opened here."""
        claimed = await self._store.claim(id, nonce, worker, lease_ms, hinted)
        if not isinstance(claimed, History) or (self._clear and not sealing.holds_sealed(claimed)):
            return claimed
        with _naming(id):
            return self._told(sealing.history(claimed, self._sealing.open))

    async def commit(self, commit: Commit) -> Committed | None:
        """As of a Store; raises PayloadError, with everything committed, for news that cannot be opened here."""
        if not self._clear:
            commit = sealing.commit(commit, self._sealing.seal)
        committed = await self._store.commit(commit)
        if committed is None or not (committed.news or (committed.rows and not self._clear)):
            return committed
        with _naming(commit.id):
            return self._told(replace(committed, news=tuple(self._item(one) for one in committed.news)))

    async def deliver(self, deliver: Deliver) -> Delivered:
        if deliver.kind in ("signal", "cancel"):  # others come from a store: what is to be sealed in them is
            deliver = replace(deliver, payload=self._sealing.seal(deliver.payload))
        return self._told(await self._store.deliver(deliver))

    async def operate(self, operate: Operate) -> Operated:
        return self._told(await self._store.operate(sealing.operate(operate, self._sealing.seal)))

    async def schedule(self, id: str) -> Schedule | None:
        schedule = await self._store.schedule(id)
        return None if schedule is None else sealing.schedule(schedule, self._sealing.open_or_leave)

    async def put_schedules(self, schedules: Sequence[Schedule]) -> list[bool]:
        return await self._store.put_schedules([sealing.schedule(one, self._sealing.seal) for one in schedules])

    async def schedules(self, limit: int, after: str = "") -> list[Schedule]:
        found = await self._store.schedules(limit, after)
        return [sealing.schedule(one, self._sealing.open_or_leave) for one in found]

    async def read(self, id: str) -> History | None:
        history = await self._store.read(id)
        return None if history is None else sealing.history(history, self._sealing.open_or_leave)

    async def record(self, id: str) -> Execution | None:
        record = await self._store.record(id)
        return None if record is None else sealing.execution(record, self._sealing.open_or_leave)

    async def executions(self, filter: Filter) -> Page:
        page = await self._store.executions(filter)
        opened = tuple(sealing.execution(one, self._sealing.open_or_leave) for one in page.executions)
        return replace(page, executions=opened)

    async def audit(self, id: str) -> tuple[AuditEntry, ...]:
        return self._rows(await self._store.audit(id))

    def _told(self, answer: Told) -> Told:
        return answer if self._clear or not answer.rows else replace(answer, rows=self._rows(answer.rows))

    def _rows(self, rows: Iterable[AuditEntry]) -> tuple[AuditEntry, ...]:
        return tuple(sealing.opened_row(row, self._sealing.open_or_leave) for row in rows)

    def _sealed(self, crashes: CrashLimit) -> CrashLimit:
        return replace(crashes, error=self._sealing.seal(crashes.error))

    def _item(self, item: InboxItem) -> InboxItem:
        return sealing.item(item, self._sealing.open)

    # -- without payloads ---------------------------------------------------------------------------

    async def release(self, id: str, nonce: str) -> Wake | None:
        return await self._store.release(id, nonce)

    async def pass_over(self, id: str, reason: str) -> None:
        await self._store.pass_over(id, reason)

    async def follow(self, follow: Follow) -> tuple[Parcel, ...] | None:
        return await self._store.follow(follow)

    async def due(self, partition: int, limit: int) -> Woken:
        return self._told(await self._store.due(partition, limit))

    async def reap(self, partition: int, limit: int, alive: Iterable[str], crashes: CrashLimit = GIVE_UP) -> Woken:
        return self._told(await self._store.reap(partition, limit, alive, self._sealed(crashes)))

    async def break_off(self, id: str, nonce: str, crashes: CrashLimit) -> BrokenOff:
        return self._told(await self._store.break_off(id, nonce, self._sealed(crashes)))

    async def overdue(self, partition: int, limit: int, backoff_ms: int) -> Overdue:
        return await self._store.overdue(partition, limit, backoff_ms)

    async def rush(self, workflows: Iterable[tuple[str, int]], limit: int) -> list[Wake]:
        return await self._store.rush(workflows, limit)

    async def relay(self, partition: int, limit: int, older_than_ms: int = 0) -> list[Parcel]:
        return await self._store.relay(partition, limit, older_than_ms)

    async def relayed(self, partition: int, places: Sequence[str]) -> None:
        await self._store.relayed(partition, places)

    async def purge(self, partition: int, limit: int) -> tuple[int, int | None]:
        return await self._store.purge(partition, limit)

    async def next_due(self, partition: int) -> Mapping[str, int | None]:
        return await self._store.next_due(partition)

    async def lead(self, nonce: str, name: str, ttl_ms: int) -> Leadership:
        return await self._store.lead(nonce, name, ttl_ms)

    async def abdicate(self, nonce: str) -> None:
        await self._store.abdicate(nonce)

    async def workers(self, within_ms: int) -> list[WorkerInfo]:
        return await self._store.workers(within_ms)

    async def farewell(self, worker_id: str) -> None:
        await self._store.farewell(worker_id)

    async def drop_schedule(self, id: str, revision: int) -> bool:
        return await self._store.drop_schedule(id, revision)

    async def due_schedules(self, limit: int) -> DueSchedules:
        """Their inputs stay sealed: who starts their executions does not look inside."""
        return await self._store.due_schedules(limit)

    async def stir_schedule(self, id: str) -> None:
        await self._store.stir_schedule(id)

    def survey(self) -> AsyncIterator[Look]:
        return self._store.survey()

    async def living(self, partition: int, cursor: str, limit: int) -> tuple[Look, str]:
        return await self._store.living(partition, cursor, limit)

    async def facts(self, ids: Sequence[str]) -> Look:
        return await self._store.facts(ids)

    async def followed(self, target: str, waiter: str, run: int) -> Followed | None:
        return await self._store.followed(target, waiter, run)

    async def outbox(self, partition: int, after: str, limit: int) -> list[Parcel]:
        return await self._store.outbox(partition, after, limit)

    async def mend(self, id: str, repair: Repair) -> Mended:
        return await self._store.mend(id, repair)

    async def sweep(self, strays: Iterable[Stray]) -> int:
        return await self._store.sweep(strays)

    async def children(self, id: str) -> tuple[ChildLink, ...]:
        return await self._store.children(id)

    async def standing(self, id: str, queue: str) -> Standing:
        return await self._store.standing(id, queue)

    async def leader(self) -> Leadership | None:
        return await self._store.leader()

    async def laid_out(self) -> bool:
        return await self._store.laid_out()

    async def vitals(self) -> StoreVitals:
        return await self._store.vitals()

    async def declare(self, durability: Durability | None) -> None:
        await self._store.declare(durability)

    async def backlog(self) -> Mapping[str, int]:
        return await self._store.backlog()

    async def losses(self) -> Losses:
        return await self._store.losses()

    async def forget_losses(self) -> None:
        await self._store.forget_losses()

    async def now(self) -> int:
        return await self._store.now()

    def renewer(self) -> Renewer:
        return self._store.renewer()

    async def subscribe(self, topic: str) -> Subscription:
        return await self._store.subscribe(topic)


@contextmanager
def _naming(id: str) -> Generator[None]:
    """A PayloadError says whose payload it is."""
    try:
        yield
    except PayloadError as error:
        raise PayloadError(f"a payload of execution {id!r} cannot be opened here: {error}") from error
