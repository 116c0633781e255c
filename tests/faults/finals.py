"""What the store says when all is over: every execution, read back, and what is left beside them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from runner import Client
from runner.codec import decode
from runner.errors import InfrastructureError, UnknownExecution
from runner.records import TERMINAL, AuditEntry, Execution, History, Status
from runner.store import Store
from tests.e2e import ledger
from tests.faults import program
from tests.faults.checker import Final

#: Histories that are read at once.
AT_ONCE = 100
#: Seconds between two looks at what has ended meanwhile.
ROLLING_S = 5.0
Trails = Mapping[str, Sequence[AuditEntry]]
OPEN = tuple(status for status in Status if status not in TERMINAL)
#: The kinds of keys that a namespace keeps, so few of each that they do not grow: `gone` holds for an hour which executions
#: were purged, at most a thousand of a partition.
LASTING = ("meta", "leader", "workers", "queues", "outbox", "gone")
#: The indexes of things to do: when all is over, none may have anything.
TO_DO = ("timers", "leases", "ready", "outbox")


@dataclass(frozen=True, slots=True)
class Clocks:
    """How far the ledger's clock is ahead of the store's, in seconds: a little less than this, or exactly."""

    ahead_s: float

    @classmethod
    async def compare(cls, store: Store) -> Clocks:
        """Ask a few times, and believe the answer that took least."""
        asked = [await cls._once(store) for _ in range(5)]
        return cls(min(asked)[1])

    @staticmethod
    async def _once(store: Store) -> tuple[float, float]:
        begun = time.monotonic()
        now = await store.now()
        heard = time.monotonic()
        return heard - begun, heard - now / 1000

    def moment(self, ms: int | None) -> float | None:
        return None if ms is None else ms / 1000 + self.ahead_s


async def all_executions(client: Client) -> list[Execution]:
    """Every execution that the namespace has."""
    found: dict[str, Execution] = {}
    cursor = None
    while True:
        page = await client.executions(limit=1_000, cursor=cursor)
        found |= {one.id: one for one in page.executions}
        if (cursor := page.cursor) is None:
            return list(found.values())


async def finals(client: Client, executions: Iterable[Execution], clocks: Clocks) -> list[Final]:
    """Each of them as the checker wants it."""
    ids = [one.id for one in executions]
    read: list[Final] = []
    for first in range(0, len(ids), AT_ONCE):
        histories = await asyncio.gather(*map(client.store.read, ids[first : first + AT_ONCE]))
        read += [final_of(one, clocks) for one in histories if one is not None]  # or it was forgotten meanwhile
    return read


def final_of(history: History, clocks: Clocks) -> Final:
    """Pure."""
    execution = history.execution
    made = program.Report if execution.status is Status.COMPLETED else None
    return Final(
        id=execution.id,
        workflow=execution.workflow,
        status=str(execution.status),
        number=decode(execution.input, program.Order).number,
        parent=execution.parent,
        ended_at=clocks.moment(execution.ended_at),
        report=None if made is None or execution.result is None else decode(execution.result, made),
        steps=tuple(
            (entry.id, decode(entry.payload, program.Made).token)
            for entry in history.entries
            if (entry.kind, entry.outcome) == ("step", "ok")
        ),
        inbox=tuple(str(decode(item.payload, str)) for item in history.inbox if item.kind == "signal"),
        error="" if execution.error is None else repr(execution.error[:300]),
    )


class Rolling:
    """Reads what has ended while the run goes on: a store that forgets early would have nothing to show at the end."""

    def __init__(self, client: Client, clocks: Clocks, path: Path) -> None:
        self.finals: dict[str, Final] = {}
        self._client = client
        self._clocks = clocks
        self._tail = ledger.Tail(path)
        self._waiting: set[str] = set()

    async def keep_up(self) -> None:
        """Until cancelled. An outage of the store is waited out."""
        while True:
            self._waiting |= {line["execution"] for line in self._tail.news() if line["kind"] == "started"}
            self._waiting -= set(self.finals)
            for id in tuple(self._waiting):
                with suppress(InfrastructureError, UnknownExecution):  # the checker has to say that it is lost
                    await self._read(id)
            await asyncio.sleep(ROLLING_S)

    async def _read(self, id: str) -> None:
        execution = await self._client.execution(id)
        if execution.status.terminal:
            children = [link.execution_id for link in await self._client.store.children(id)]
            records = [execution, *[await self._client.execution(child) for child in children]]
            self.finals |= {one.id: one for one in await finals(self._client, records, self._clocks)}


async def audits(client: Client, ids: Iterable[str]) -> Trails:
    """The audit trail of each."""
    wanted = list(ids)
    read: dict[str, Sequence[AuditEntry]] = {}
    for first in range(0, len(wanted), AT_ONCE):
        some = wanted[first : first + AT_ONCE]
        read |= dict(zip(some, await asyncio.gather(*map(client.store.audit, some)), strict=True))
    return read


async def is_over(client: Client) -> bool:
    """Every execution has ended.

    One may slip past the looks at one status after the other, from a later into an earlier one: so all are looked at then.
    """
    for status in OPEN:
        if (await client.executions(status=status, limit=1)).executions:
            return False
    return all(one.status.terminal for one in await all_executions(client))


async def left_over(store: Store) -> Counter[str]:
    """In how many partitions each index still has something to do."""
    left: Counter[str] = Counter()
    for partition in range(store.partitions):
        due = await store.next_due(partition)
        left.update(index for index in TO_DO if due[index] is not None)
    return left


async def until_purged(client: Client, patience_s: float) -> None:
    """Wait until the store has forgotten every execution; at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while (await client.executions(limit=1)).executions:
                await asyncio.sleep(1)


def keys_left(redis_url: str, namespace: str) -> Counter[str]:
    """How many keys of each kind a namespace has, but for those that it has for ever."""
    left: Counter[str] = Counter()
    with Redis.from_url(redis_url, decode_responses=True) as admin:
        for key in admin.scan_iter(f"runner:{{{namespace}*", count=1_000):
            kind = key.partition("}:")[2].partition(":")[0]
            if kind not in LASTING:
                left[f"keys {kind}"] += 1
    return left
