"""The SQLite store: the protocol, one call each, handed to the writer's thread."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from runner.errors import ConfigError, Overloaded, StoreUnavailable
from runner.log import Logger
from runner.records import (
    AuditEntry,
    ChildLink,
    Execution,
    Filter,
    History,
    Leadership,
    Page,
    Schedule,
    WorkerInfo,
)
from runner.store import PARTITIONS, is_child
from runner.store.crashes import GIVE_UP, CrashLimit
from runner.store.rewound import say_rewound
from runner.store.sqlite import (
    arrivals,
    fleet,
    kin,
    operating,
    outbox,
    reading,
    schema,
    sweeps,
    timetable,
    trail,
    turns,
)
from runner.store.sqlite.batches import Connection, DiskFull
from runner.store.sqlite.crashes import SqliteCrashes
from runner.store.sqlite.direct import Direct
from runner.store.sqlite.inspection import SqliteInspection
from runner.store.sqlite.lock import FileLock
from runner.store.sqlite.session import Session
from runner.store.sqlite.standing import SqliteStandings
from runner.store.sqlite.topics import Listener, Topics
from runner.store.sqlite.vitals import SqliteVitals
from runner.store.sqlite.writer import Writer
from runner.store.vitals import NO_DEMANDS, Demands
from runner.transactions import (
    Commit,
    Committed,
    Deliver,
    Delivered,
    DueSchedules,
    Follow,
    Lease,
    Operate,
    Operated,
    Overdue,
    Parcel,
    Refusal,
    Renewed,
    Start,
    Started,
    Wake,
    Woken,
)

log = Logger("runner.store")
T = TypeVar("T")

#: Executions that one operation starts: some milliseconds, which are the event loop's when the store is in memory.
PORTION = 100


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteStore(SqliteCrashes, SqliteInspection, SqliteStandings, SqliteVitals):
    """The store on one file, or in memory with ``path`` None; see ``runner.store.Store`` for what it guarantees.

    It belongs to one process, and in it to one store, while it is open: opening it elsewhere is
    refused. ``clock`` gives ms since 1970; what it says is never taken to go back.
    """

    def __init__(
        self,
        path: str | None,
        *,
        namespace: str,
        partitions: int = PARTITIONS,
        clock: Callable[[], int] | None = None,
        demands: Demands = NO_DEMANDS,
    ) -> None:
        self.namespace = namespace
        self.partitions = partitions
        self._path = None if path is None else Path(path).expanduser().resolve()
        self._where = "memory" if self._path is None else str(self._path)
        self._demands = demands
        self._clock = clock or wall_ms
        self._said = 0
        self._topics = Topics()
        self._writer: Writer | Direct | None = None

    @property
    def interruptions(self) -> int:
        """Always 0: it is never away while the process lives."""
        return 0

    async def open(self) -> None:
        """Take the file and its lock; take over what the last process left.

        Raises ConfigError when another store has it open, or it is damaged, foreign, of a newer schema, or holds
        the namespace with another number of partitions or another declared durability.
        """
        work = Direct if self._path is None else Writer
        writer = work(self._where, self._connect, self._moment, self._topics)
        try:
            await asyncio.wrap_future(writer.opened)
        except BaseException:
            writer.close()
            raise
        self._writer = writer
        try:
            await self._check()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was asked, then give back file and lock. Safe to call twice."""
        if self._writer is not None:
            await asyncio.shield(asyncio.wrap_future(self._writer.close()))

    # -- executions -------------------------------------------------------------------------------

    async def start(self, starts: Sequence[Start]) -> list[Started]:
        # Each is on its own, so a big batch need not keep everybody else waiting: one portion after the other.
        answers: list[Started] = []
        for at in range(0, len(starts), PORTION):
            answers += await self._start(tuple(starts[at : at + PORTION]))
        return answers

    async def claim(self, id: str, nonce: str, worker: str, lease_ms: int, hinted: int = 0) -> History | Refusal:
        asked = partial(turns.claim, id=id, nonce=nonce, worker=worker, lease_ms=lease_ms, hinted=hinted)
        claimed, rows = await self._do(partial(turns.told, asked=asked))
        say_rewound(rows)
        return claimed

    async def commit(self, commit: Commit) -> Committed | None:
        return await self._do(partial(turns.commit, asked=commit))

    async def release(self, id: str, nonce: str) -> Wake | None:
        return await self._do(partial(turns.release, id=id, nonce=nonce))

    async def pass_over(self, id: str, reason: str) -> None:
        await self._do(partial(turns.pass_over, id=id, reason=reason))

    async def deliver(self, deliver: Deliver) -> Delivered:
        do = self._new_work if deliver.kind == "signal" else self._do
        return await do(partial(arrivals.deliver, asked=deliver))

    async def follow(self, follow: Follow) -> tuple[Parcel, ...] | None:
        return await self._do(partial(kin.follow, asked=follow, partitions=self.partitions))

    async def operate(self, operate: Operate) -> Operated:
        return await self._do(partial(operating.operate, asked=operate))

    # -- time -------------------------------------------------------------------------------------

    async def due(self, partition: int, limit: int) -> Woken:
        return await self._do(partial(sweeps.due, partition=partition, limit=limit))

    async def reap(self, partition: int, limit: int, alive: Iterable[str], crashes: CrashLimit = GIVE_UP) -> Woken:
        living = frozenset(alive)
        return await self._do(partial(sweeps.reap, partition=partition, limit=limit, alive=living, crashes=crashes))

    async def overdue(self, partition: int, limit: int, backoff_ms: int) -> Overdue:
        return await self._do(partial(sweeps.overdue, partition=partition, limit=limit, backoff_ms=backoff_ms))

    async def rush(self, workflows: Iterable[tuple[str, int]], limit: int) -> list[Wake]:
        return await self._do(partial(sweeps.rush, workflows=tuple(workflows), limit=limit))

    async def relay(self, partition: int, limit: int, older_than_ms: int = 0) -> list[Parcel]:
        return await self._do(partial(outbox.relay, partition=partition, limit=limit, older_than_ms=older_than_ms))

    async def relayed(self, partition: int, places: Sequence[str]) -> None:
        await self._do(partial(outbox.relayed, partition=partition, places=tuple(places)))

    async def purge(self, partition: int, limit: int) -> tuple[int, int | None]:
        return await self._do(partial(sweeps.purge, partition=partition, limit=limit))

    async def next_due(self, partition: int) -> Mapping[str, int | None]:
        return await self._do(partial(sweeps.next_due, partition=partition))

    async def lead(self, nonce: str, name: str, ttl_ms: int) -> Leadership:
        return await self._do(partial(fleet.lead, nonce=nonce, name=name, ttl_ms=ttl_ms))

    async def abdicate(self, nonce: str) -> None:
        await self._do(partial(fleet.abdicate, nonce=nonce))

    async def workers(self, within_ms: int) -> list[WorkerInfo]:
        return await self._do(partial(fleet.workers, within_ms=within_ms))

    async def farewell(self, worker_id: str) -> None:
        await self._do(partial(fleet.farewell, worker_id=worker_id))

    # -- schedules --------------------------------------------------------------------------------

    async def schedule(self, id: str) -> Schedule | None:
        return await self._do(partial(timetable.schedule, id=id))

    async def put_schedules(self, schedules: Sequence[Schedule]) -> list[bool]:
        return await self._do(partial(timetable.put, schedules=tuple(schedules)))

    async def drop_schedule(self, id: str, revision: int) -> bool:
        return await self._do(partial(timetable.drop, id=id, revision=revision))

    async def due_schedules(self, limit: int) -> DueSchedules:
        return await self._do(partial(timetable.due, limit=limit))

    async def stir_schedule(self, id: str) -> None:
        await self._do(partial(timetable.stir, id=id))

    async def schedules(self, limit: int, after: str = "") -> list[Schedule]:
        return await self._do(partial(timetable.schedules, limit=limit, after=after))

    # -- reading ----------------------------------------------------------------------------------

    async def read(self, id: str) -> History | None:
        return await self._do(partial(reading.history, id=id))

    async def record(self, id: str) -> Execution | None:
        return await self._do(partial(reading.record, id=id))

    async def executions(self, filter: Filter) -> Page:
        return await self._do(partial(reading.executions, filter=filter))

    async def audit(self, id: str) -> tuple[AuditEntry, ...]:
        return await self._do(partial(trail.audit, id=id))

    async def children(self, id: str) -> tuple[ChildLink, ...]:
        return await self._do(partial(kin.children, id=id))

    async def now(self) -> int:
        return await self._do(lambda session: session.now)

    def renewer(self) -> SqliteRenewer:
        return SqliteRenewer(self._opened())

    async def subscribe(self, topic: str) -> Listener:
        return self._topics.listen(topic)

    # -- inside -----------------------------------------------------------------------------------

    async def _start(self, starts: tuple[Start, ...]) -> list[Started]:
        # Children are running work: what was begun must be able to end.
        do = self._do if all(map(is_child, starts)) else self._new_work
        return await do(partial(arrivals.start, starts=starts, partitions=self.partitions))

    async def _do(self, operation: Callable[[Session], T]) -> T:
        return await self._opened().answer(operation)

    async def _new_work(self, operation: Callable[[Session], T]) -> T:
        try:
            return await self._do(operation)
        except DiskFull as error:
            raise Overloaded(str(error)) from error

    def _opened(self) -> Writer | Direct:
        if self._writer is None:
            raise StoreUnavailable(f"the store on {self._where} is not open")
        return self._writer

    def _moment(self) -> int:
        """The store's clock; only the writer's thread reads it."""
        self._said = max(self._said, self._clock())
        return self._said

    def _connect(self) -> Connection:
        """In the writer's thread: lock, open, check, recover."""
        lock = None if self._path is None else self._lock(self._path)
        db = None
        try:
            db = schema.connect(self._file())
            ns = self._look_into(db) if self._demands.looking else self._enter(db)
        except BaseException:
            _give_back(db, lock)
            raise
        return Connection(db, ns, partial(_give_back, db, lock))

    def _file(self) -> str | None:
        """What is connected to. An empty file stays so for as long as it is only looked at: memory is as empty."""
        if self._path is None or (self._demands.looking and not self._path.stat().st_size):
            return None
        return str(self._path)

    def _enter(self, db: sqlite3.Connection) -> int:
        schema.prepare(db, self._where)
        db.execute("BEGIN IMMEDIATE")
        ns = schema.enter(db, self._where, self.namespace, self.partitions)
        reaped = sweeps.recover(Session(db=db, ns=ns, now=self._moment()))
        db.execute("COMMIT")
        log.info("store.opened", store=self._where, namespace=self.namespace, reaped=reaped)
        return ns

    def _look_into(self, db: sqlite3.Connection) -> int:
        """What is left of the last process stays as it is: who opens the file to work takes it over."""
        schema.prepare(db, self._where)
        ns, partitions = schema.look_up(db, self.namespace)
        self.partitions = partitions or self.partitions
        schema.write_no_more(db)
        return ns

    def _lock(self, path: Path) -> FileLock:
        if self._demands.looking and not path.exists():
            raise ConfigError(f"there is no store {str(path)!r} yet")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return FileLock(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be used as a store: {error}; choose a folder you may write to") from error


def _give_back(db: sqlite3.Connection | None, lock: FileLock | None) -> None:
    if db is not None:
        db.close()
    if lock is not None:
        lock.give_back()


class SqliteRenewer:
    """Renews through the writer's queue, from any thread; the calls block."""

    #: A write takes milliseconds; a disk that hangs longer than this has lost the leases anyway.
    TIMEOUT_S = 5.0

    def __init__(self, writer: Writer | Direct) -> None:
        self._writer = writer

    def renew(self, leases: Sequence[Lease], lease_ms: int) -> list[Renewed]:
        return self._wait(partial(turns.renew, leases=tuple(leases), lease_ms=lease_ms))

    def heartbeat(self, worker: WorkerInfo) -> None:
        """Record the worker as alive now."""
        self._wait(partial(fleet.heartbeat, worker=worker))

    def close(self) -> None:
        """Nothing is its own."""

    def _wait(self, operation: Callable[[Session], T]) -> T:
        try:
            return self._writer.wait(operation, self.TIMEOUT_S)
        except TimeoutError:
            raise StoreUnavailable(f"the store did not answer within {self.TIMEOUT_S:.0f} s") from None
