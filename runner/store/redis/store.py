"""The store on Redis: each method is one script, each script one atomic change.

The scripts in ``lua/`` hold the protocol; this file only says which one answers what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import uuid4

from runner.answers import all_answers
from runner.errors import Overloaded
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
from runner.store import PARTITIONS, Renewer, Subscription, is_child, partition_of
from runner.store.crashes import GIVE_UP, CrashLimit
from runner.store.keys import Keys
from runner.store.redis import decode, encode, listing, stored, timetable
from runner.store.redis.connection import Endpoint, Health, Reply, Word
from runner.store.redis.crashes import RedisCrashes
from runner.store.redis.failures import WrongType
from runner.store.redis.inspection import RedisInspection
from runner.store.redis.pipeline import Pipeline
from runner.store.redis.pubsub import PubSub
from runner.store.redis.renewer import RedisRenewer
from runner.store.redis.scripts import scripts
from runner.store.redis.standing import RedisStandings
from runner.store.redis.vitals import RedisVitals
from runner.store.rewound import say_rewound
from runner.store.unreadable import unreadable
from runner.store.vitals import NO_DEMANDS, Demands
from runner.tls import in_the_clear
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

log = Logger("runner.store.redis")

#: How long a cancel of an execution that is not there yet is remembered.
TOMBSTONE_MS = 7 * 24 * 3600 * 1000
#: Most a script does in one call: longer ones would hold up everybody else.
MAX_LIMIT = 200


class RedisStore(RedisCrashes, RedisInspection, RedisStandings, RedisVitals):
    """``runner.store.Store`` on one Redis primary.

    A command without an answer is asked again for ``patience_s`` seconds in all, then
    StoreUnavailable is raised. All concurrent calls share a few connections.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str,
        partitions: int = PARTITIONS,
        patience_s: float = 5.0,
        demands: Demands = NO_DEMANDS,
    ) -> None:
        self.namespace = namespace
        self.partitions = partitions
        self._keys = Keys(namespace, partitions)
        self._endpoint = Endpoint(url)
        self._demands = demands
        self._checking = set()
        self._health = Health(self._endpoint, self._restarted)
        self._pipeline = Pipeline(self._endpoint, self._health, patience_s)
        self._pubsub = PubSub(self._endpoint, self._keys, patience_s)

    @property
    def interruptions(self) -> int:
        return self._health.interruptions

    async def open(self) -> None:
        self._pipeline.open()
        if in_the_clear(self._endpoint.url):
            cure = "use rediss://: passwords and payloads can be read on the way"
            log.warning("store.plaintext", url=self._endpoint.name, cure=cure)
        await self._enter()

    async def close(self) -> None:
        for task in tuple(self._checking):
            task.cancel()
        await self._pubsub.close()
        await self._pipeline.close()

    # -- executions -------------------------------------------------------------------------------

    async def start(self, starts: Sequence[Start]) -> list[Started]:
        return await all_answers(self._start(start) for start in starts)

    async def claim(self, id: str, nonce: str, worker: str, lease_ms: int, hinted: int = 0) -> History | Refusal:
        try:
            reply = await self._pipeline.run(scripts().claim, self._keys.home(id), id, nonce, worker, lease_ms, hinted)
        except WrongType as error:
            raise unreadable(id, error.said) from error
        say_rewound(decode.rows(reply[-1]))
        return decode.claimed(reply, id)

    async def commit(self, commit: Commit) -> Committed | None:
        reply = await self._pipeline.run(scripts().commit, self._keys.home(commit.id), *encode.commit_words(commit))
        return decode.committed(reply, commit, self._partition(commit.id))

    async def release(self, id: str, nonce: str) -> Wake | None:
        reply = await self._pipeline.run(scripts().release, self._keys.home(id), id, nonce)
        return reply and decode.wake(reply)

    async def pass_over(self, id: str, reason: str) -> None:
        await self._pipeline.run(scripts().pass_over, self._keys.home(id), id, reason, uuid4().hex)

    async def deliver(self, deliver: Deliver) -> Delivered:
        return decode.delivered(await self._deliver(deliver), self._partition(deliver.id))

    async def follow(self, follow: Follow) -> tuple[Parcel, ...] | None:
        words = (follow.target, follow.waiter, follow.run, follow.workflow, follow.suffix, int(follow.expected))
        reply = await self._pipeline.run(scripts().follow, self._keys.home(follow.target), *words)
        return None if reply is None else decode.parcels(reply, self._partition(follow.target))

    async def operate(self, operate: Operate) -> Operated:
        words = encode.operate_words(operate)
        reply = await self._pipeline.run(scripts().operate, self._keys.home(operate.id), *words)
        return decode.operated(reply, self._partition(operate.id))

    # -- time ---------------------------------------------------------------------------------------

    async def due(self, partition: int, limit: int) -> Woken:
        reply = await self._pipeline.run(scripts().due, self._keys.prefix(partition), _bounded(limit))
        return decode.woken(reply, partition)

    async def reap(self, partition: int, limit: int, alive: Iterable[str], crashes: CrashLimit = GIVE_UP) -> Woken:
        words: tuple[Word, ...] = (_bounded(limit), crashes.crashes, crashes.error, *alive)
        reply = await self._pipeline.run(scripts().reap, self._keys.prefix(partition), *words)
        return decode.woken(reply, partition)

    async def overdue(self, partition: int, limit: int, backoff_ms: int) -> Overdue:
        prefix = self._keys.prefix(partition)
        reply = await self._pipeline.run(scripts().overdue, prefix, _bounded(limit), backoff_ms)
        now, next_at, lost, passed, ready = reply
        return Overdue(
            lost=decode.wakes(lost),
            passed=decode.wakes(passed),
            ready=decode.counts(ready),
            next_at=next_at,
            now=now,
        )

    async def rush(self, workflows: Iterable[tuple[str, int]], limit: int) -> list[Wake]:
        known = [word for workflow in workflows for word in workflow]
        wakes: list[Wake] = []
        # One after the other: what a partition offers must be within what is left of the limit.
        for partition in range(self.partitions):
            if known and len(wakes) < limit:
                words = (_bounded(limit - len(wakes)), *known)
                wakes += decode.wakes(await self._pipeline.run(scripts().rush, self._keys.prefix(partition), *words))
        return wakes

    async def relay(self, partition: int, limit: int, older_than_ms: int = 0) -> list[Parcel]:
        prefix = self._keys.prefix(partition)
        reply = await self._pipeline.run(scripts().relay, prefix, _bounded(limit), older_than_ms)
        return list(decode.parcels(reply, partition))

    async def relayed(self, partition: int, places: Sequence[str]) -> None:
        if places:
            await self._pipeline.command("XDEL", f"{self._keys.prefix(partition)}outbox", *places)

    async def purge(self, partition: int, limit: int) -> tuple[int, int | None]:
        count, next_at = await self._pipeline.run(scripts().purge, self._keys.prefix(partition), _bounded(limit))
        return count, next_at

    async def next_due(self, partition: int) -> Mapping[str, int | None]:
        reply = await self._pipeline.run(scripts().next_due, self._keys.prefix(partition))
        return dict(zip(("now", "timers", "leases", "ready", "expiry", "outbox"), reply, strict=True))

    async def lead(self, nonce: str, name: str, ttl_ms: int) -> Leadership:
        reply = await self._pipeline.run(scripts().lead, self._keys.wide, nonce, name, ttl_ms)
        leading, leader, expires_in_ms = reply
        return Leadership(leading=bool(leading), leader=leader.decode(), expires_in_ms=expires_in_ms)

    async def abdicate(self, nonce: str) -> None:
        await self._pipeline.run(scripts().abdicate, self._keys.wide, nonce)

    async def workers(self, within_ms: int) -> list[WorkerInfo]:
        reply = await self._pipeline.run(scripts().workers, self._keys.wide, within_ms)
        return sorted(map(stored.worker, reply), key=lambda worker: worker.id)

    async def farewell(self, worker_id: str) -> None:
        await self._pipeline.command("HDEL", f"{self._keys.wide}workers", worker_id)

    # -- schedules ----------------------------------------------------------------------------------

    async def schedule(self, id: str) -> Schedule | None:
        return timetable.kept(await self._pipeline.command("HGET", f"{self._keys.wide}schedules", id))

    async def put_schedules(self, schedules: Sequence[Schedule]) -> list[bool]:
        words = [word for one in schedules for word in timetable.words(one)]
        return [bool(put) for put in await self._pipeline.run(scripts().put_schedules, self._keys.wide, *words)]

    async def drop_schedule(self, id: str, revision: int) -> bool:
        return bool(await self._pipeline.run(scripts().drop_schedule, self._keys.wide, id, revision))

    async def due_schedules(self, limit: int) -> DueSchedules:
        return timetable.due(await self._pipeline.run(scripts().due_schedules, self._keys.wide, _bounded(limit)))

    async def stir_schedule(self, id: str) -> None:
        await self._pipeline.run(scripts().stir_schedule, self._keys.wide, id)

    async def schedules(self, limit: int, after: str = "") -> list[Schedule]:
        return timetable.page(await self._pipeline.run(scripts().schedules, self._keys.wide, limit, after))

    # -- reading ------------------------------------------------------------------------------------

    async def read(self, id: str) -> History | None:
        reply = await self._pipeline.run(scripts().read, self._keys.home(id), id)
        return stored.history(reply, id) if reply else None

    async def record(self, id: str) -> Execution | None:
        return await listing.record(self._pipeline, self._keys, id)

    async def executions(self, filter: Filter) -> Page:
        return await listing.executions(self._pipeline, self._keys, filter)

    async def audit(self, id: str) -> tuple[AuditEntry, ...]:
        rows = await self._pipeline.command("LRANGE", f"{self._keys.home(id)}a:{id}", 0, -1)
        return tuple(AuditEntry.unpack(id, row) for row in rows)

    async def children(self, id: str) -> tuple[ChildLink, ...]:
        return stored.children(await self._pipeline.command("HGETALL", f"{self._keys.home(id)}c:{id}"))

    def renewer(self) -> Renewer:
        return RedisRenewer(self._endpoint, self._keys)

    async def subscribe(self, topic: str) -> Subscription:
        return await self._pubsub.subscribe(topic)

    # -- inside -------------------------------------------------------------------------------------

    async def _start(self, start: Start) -> Started:
        script = scripts().start_child if is_child(start) else scripts().start
        words = encode.start_words(start)
        try:
            reply = await self._pipeline.run(script, self._keys.home(start.id), *words)
        except Overloaded:
            reply = await self._recall("start", start.id, start.request)
            if reply is None:
                raise
        return decode.started(reply, self._partition(start.id))

    async def _deliver(self, deliver: Deliver) -> Reply:
        home, blob = self._keys.home(deliver.id), encode.inbox_blob(deliver)
        words = (deliver.id, deliver.request, deliver.run, deliver.name, blob)
        if deliver.kind == "cancel":
            lasting = TOMBSTONE_MS if deliver.tombstone else 0
            return await self._pipeline.run(scripts().cancel, home, *words, lasting)
        if deliver.kind == "ended":
            return await self._pipeline.run(scripts().notice, home, *words)
        if deliver.kind == "reopened":
            return await self._pipeline.run(scripts().reopened, home, deliver.id, deliver.name, deliver.payload)
        try:
            return await self._pipeline.run(scripts().signal, home, *words)
        except Overloaded:
            reply = await self._recall("signal", deliver.id, deliver.request)
            if reply is None:
                raise
            return reply

    def _partition(self, id: str) -> int:
        return partition_of(id, self.partitions)

    async def _recall(self, kind: str, id: str, request: str) -> Reply:
        """What was refused for want of memory may be a repeat of what was applied before: then its answer."""
        return await self._pipeline.run(scripts().recall, self._keys.home(id), kind, id, request)


def _bounded(limit: int) -> int:
    return min(limit, MAX_LIMIT)
