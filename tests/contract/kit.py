"""Short words for the store contract: build a start, take a turn, ask again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from uuid import uuid4

from runner.records import Entry, Execution, History
from runner.store import Store, partition_of
from runner.transactions import (
    Commit,
    Committed,
    Deliver,
    Delivered,
    End,
    Open,
    Outgoing,
    Start,
    Started,
)

LEASE = 10_000
#: Soon over, and yet long enough for a few calls on a busy machine, in ms. Only Redis really waits for it.
SHORT = 600

Elapse = Callable[[int], Awaitable[None]]


def nonce() -> str:
    return uuid4().hex


def a_start(
    id: str = "e-1",
    *,
    request: str | None = None,
    workflow: str = "order",
    version: int = 1,
    queue: str = "default",
    input: bytes = b"input",
    digest: str = "digest",
    key: str | None = None,
    timeout_ms: int | None = None,
    delay_ms: int = 0,
    at_ms: int | None = None,
    retention_ms: int = 3_600_000,
) -> Start:
    return Start(
        id=id,
        request=request or nonce(),
        workflow=workflow,
        version=version,
        queue=queue,
        input=input,
        digest=digest,
        key=key,
        timeout_ms=timeout_ms,
        delay_ms=delay_ms,
        at_ms=at_ms,
        retention_ms=retention_ms,
    )


def an_entry(
    number: int = 1,
    id: str | None = None,
    *,
    kind: str = "step",
    outcome: str = "ok",
    payload: bytes = b"result",
    at: int = 5,
    attempts: int = 1,
    consumes: int = -1,
    started_at: int = 3,
) -> Entry:
    return Entry(
        number=number,
        id=id or f"step-{number}",
        kind=kind,
        outcome=outcome,
        payload=payload,
        at=at,
        attempts=attempts,
        consumes=consumes,
        started_at=started_at,
    )


def a_sleep(id: str = "nap", *, after_ms: int | None = None, until_ms: int | None = None) -> Open:
    return Open(id=id, kind="sleep", after_ms=after_ms, until_ms=until_ms)


def a_wait(id: str = "approval", name: str = "approved", *, after_ms: int | None = None) -> Open:
    return Open(id=id, kind="signal", name=name, after_ms=after_ms)


def a_parcel(request: str, target: str = "other") -> Outgoing:
    return Outgoing(target=target, request=request, kind="signal", name="ping", payload=b"\x00payload\xff")


def a_signal(
    id: str = "e-1", *, name: str = "approved", payload: bytes = b"yes", request: str | None = None
) -> Deliver:
    return Deliver(id=id, request=request or nonce(), kind="signal", name=name, payload=payload)


def a_cancel(id: str = "e-1", *, reason: str = "enough", request: str | None = None) -> Deliver:
    return Deliver(id=id, request=request or nonce(), kind="cancel", name=reason, payload=b"")


class Turn:
    """One lease, with its commits numbered."""

    def __init__(self, store: Store, history: History, nonce: str) -> None:
        self.store = store
        self.history = history
        self.id = history.execution.id
        self.nonce = nonce
        self.count = 0
        self.last: Commit | None = None

    async def ask(
        self,
        *,
        end: End | None = None,
        seen: int | None = None,
        entries: Iterable[Entry] = (),
        opens: Iterable[Open] = (),
        closes: Iterable[str] = (),
        outgoing: Iterable[Outgoing] = (),
        lease_ms: int = LEASE,
    ) -> Committed | None:
        """The next commit of the lease; ``seen`` is what the claim showed unless told."""
        self.count += 1
        self.last = Commit(
            id=self.id,
            nonce=self.nonce,
            count=self.count,
            lease_ms=lease_ms,
            seen=len(self.history.inbox) if seen is None else seen,
            entries=tuple(entries),
            opens=tuple(opens),
            closes=tuple(closes),
            outgoing=tuple(outgoing),
            end=end,
        )
        return await self.store.commit(self.last)

    async def commit(
        self,
        *,
        end: End | None = None,
        seen: int | None = None,
        entries: Iterable[Entry] = (),
        opens: Iterable[Open] = (),
        closes: Iterable[str] = (),
        outgoing: Iterable[Outgoing] = (),
        lease_ms: int = LEASE,
    ) -> Committed:
        """As ``ask``, of a lease that is held."""
        answer = await self.ask(
            end=end, seen=seen, entries=entries, opens=opens, closes=closes, outgoing=outgoing, lease_ms=lease_ms
        )
        assert answer is not None
        return answer

    async def again(self) -> Committed | None:
        """The last commit once more: its answer was lost."""
        assert self.last is not None
        return await self.store.commit(self.last)


async def start(store: Store, start: Start) -> Started:
    (answer,) = await store.start([start])
    return answer


async def claim(store: Store, id: str = "e-1", *, worker: str = "w-1", lease_ms: int = LEASE) -> Turn:
    mine = nonce()
    history = await store.claim(id, mine, worker, lease_ms)
    assert isinstance(history, History), history
    return Turn(store, history, mine)


async def begin(store: Store, begun: Start | None = None, *, worker: str = "w-1", lease_ms: int = LEASE) -> Turn:
    """Started and claimed."""
    begun = begun or a_start()
    await start(store, begun)
    return await claim(store, begun.id, worker=worker, lease_ms=lease_ms)


async def signal(store: Store, id: str = "e-1", *, name: str = "approved", payload: bytes = b"yes") -> Delivered:
    return await store.deliver(a_signal(id, name=name, payload=payload))


async def cancel(store: Store, id: str = "e-1", *, reason: str = "enough") -> Delivered:
    return await store.deliver(a_cancel(id, reason=reason))


async def record(store: Store, id: str = "e-1") -> Execution:
    """The record of an execution that is there."""
    found = await store.record(id)
    assert found is not None
    return found


async def history(store: Store, id: str = "e-1") -> History:
    """The whole of an execution that is there."""
    found = await store.read(id)
    assert found is not None
    return found


def part(store: Store, id: str = "e-1") -> int:
    return partition_of(id, store.partitions)


async def index(store: Store, name: str, id: str = "e-1") -> int | None:
    """How many ms from now the earliest entry of a time index of this execution's partition is."""
    times = await store.next_due(part(store, id))
    then, now = times[name], times["now"]
    assert now is not None
    return None if then is None else then - now
