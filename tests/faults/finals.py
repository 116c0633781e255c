"""What the store says when all is over: every execution, read back, and what is left beside them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from runner import Client
from runner.codec import decode
from runner.records import TERMINAL, Execution, History, Status
from runner.store import Store
from tests.faults import program
from tests.faults.checker import Final

#: Histories that are read at once.
AT_ONCE = 100
OPEN = tuple(status for status in Status if status not in TERMINAL)
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
        histories = await asyncio.gather(*(client.history(id) for id in ids[first : first + AT_ONCE]))
        read += [final_of(one, clocks) for one in histories]
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


async def is_over(client: Client) -> bool:
    """Every execution has ended."""
    for status in OPEN:
        if (await client.executions(status=status, limit=1)).executions:
            return False
    return True


async def left_over(store: Store) -> Counter[str]:
    """In how many partitions each index still has something to do."""
    left: Counter[str] = Counter()
    for partition in range(store.partitions):
        due = await store.next_due(partition)
        left.update(index for index in TO_DO if due[index] is not None)
    return left
