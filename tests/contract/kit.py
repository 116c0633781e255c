"""Short words for the store contract: build a start, take a turn, ask again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypedDict, Unpack
from uuid import uuid4

from runner.records import AuditEntry, Entry, Execution, History, Notice, Schedule, Status
from runner.store import Store, partition_of
from runner.transactions import (
    Action,
    Commit,
    Committed,
    Deliver,
    Delivered,
    End,
    Follow,
    Open,
    Operate,
    Operated,
    Outgoing,
    Parcel,
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
    parent: str = "",
    parent_run: int = 0,
    parent_close: str = "",
    seed: str = "",
    attributes: tuple[tuple[str, str], ...] = (),
    audit: int = 1_000,
    entries: tuple[Entry, ...] = (),
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
        parent=parent,
        parent_run=parent_run,
        parent_close=parent_close,
        seed=seed,
        attributes=attributes,
        audit=audit,
        entries=entries,
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
    tries: bytes = b"",
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
        tries=tries,
    )


def a_sleep(id: str = "nap", *, after_ms: int | None = None, until_ms: int | None = None) -> Open:
    return Open(id=id, kind="sleep", after_ms=after_ms, until_ms=until_ms)


def a_wait(id: str = "approval", name: str = "approved", *, after_ms: int | None = None) -> Open:
    return Open(id=id, kind="signal", name=name, after_ms=after_ms)


def a_schedule(
    id: str = "s-1", *, revision: int = 1, due_at: int | None = None, created_at: int = 1, note: str = ""
) -> Schedule:
    return Schedule(
        id=id,
        revision=revision,
        workflow="order",
        version=1,
        queue="default",
        input=b"\x00input\xff",
        digest="digest",
        interval_ms=1_000,
        created_at=created_at,
        due_at=due_at,
        note=note,
    )


def a_parcel(request: str, target: str = "other") -> Outgoing:
    return Outgoing(target=target, request=request, kind="signal", name="ping", payload=b"\x00payload\xff")


def a_signal(
    id: str = "e-1", *, name: str = "approved", payload: bytes = b"yes", request: str | None = None
) -> Deliver:
    return Deliver(id=id, request=request or nonce(), kind="signal", name=name, payload=payload)


def a_cancel(id: str = "e-1", *, reason: str = "enough", request: str | None = None) -> Deliver:
    return Deliver(id=id, request=request or nonce(), kind="cancel", name=reason, payload=b"")


def a_notice(
    child: str, id: str = "e-1", *, run: int = 1, status: Status = Status.COMPLETED, opening: int = 0
) -> Deliver:
    """What the end of ``child`` says to ``id``."""
    payload = Notice(execution_id=child, status=status.value, workflow="order", attempt=1, result=b"r").pack()
    return Deliver(id=id, request=f"ended:{child}:{opening}", kind="ended", name=child, payload=payload, run=run)


def a_row(kind: str = "note", id: str = "e-1", **fields: str | int) -> AuditEntry:
    return AuditEntry(execution_id=id, at=7, kind=kind, fields=fields)


class Parts(TypedDict, total=False):
    """What a commit may carry beside its end."""

    entries: Iterable[Entry]
    opens: Iterable[Open]
    closes: Iterable[str]
    outgoing: Iterable[Outgoing]
    children: Iterable[tuple[str, str]]
    attributes: Iterable[tuple[str, str]]
    audit: Iterable[AuditEntry]


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
        lease_ms: int = LEASE,
        outstanding: int = 0,
        **parts: Unpack[Parts],
    ) -> Committed | None:
        """The next commit of the lease; ``seen`` is what the claim showed unless told."""
        self.count += 1
        self.last = Commit(
            id=self.id,
            nonce=self.nonce,
            count=self.count,
            lease_ms=lease_ms,
            seen=len(self.history.inbox) if seen is None else seen,
            entries=tuple(parts.get("entries", ())),
            opens=tuple(parts.get("opens", ())),
            closes=tuple(parts.get("closes", ())),
            outgoing=tuple(parts.get("outgoing", ())),
            children=tuple(parts.get("children", ())),
            attributes=tuple(parts.get("attributes", ())),
            outstanding=outstanding,
            audit=tuple(parts.get("audit", ())),
            end=end,
        )
        return await self.store.commit(self.last)

    async def commit(
        self,
        *,
        end: End | None = None,
        seen: int | None = None,
        lease_ms: int = LEASE,
        outstanding: int = 0,
        **parts: Unpack[Parts],
    ) -> Committed:
        """As ``ask``, of a lease that is held."""
        answer = await self.ask(end=end, seen=seen, lease_ms=lease_ms, outstanding=outstanding, **parts)
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


async def operate(
    store: Store,
    action: Action,
    id: str = "e-1",
    *,
    request: str | None = None,
    entries: int | None = None,
    entry: Entry | None = None,
    drop: tuple[str, ...] = (),
    hurry: tuple[str, ...] = (),
    error: bytes = b"",
    mark: Entry | None = None,
    audit: AuditEntry | None = None,
) -> Operated:
    """What the operator ann does."""
    return await store.operate(
        Operate(
            id=id,
            request=request or nonce(),
            action=action,
            actor="ann",
            entries=entries,
            entry=entry,
            drop=drop,
            mark=mark,
            hurry=hurry,
            error=error,
            audit=audit,
        )
    )


async def carry(store: Store, parcels: Iterable[Parcel]) -> list[Parcel]:
    """Apply what lies in the outbox, as its carriers do, and take it out; what that puts into the outbox in turn."""
    more: list[Parcel] = []
    for parcel in parcels:
        going = parcel.outgoing
        if going.kind == "start":
            more += (await start(store, Start.unpack(going.payload))).parcels
        elif going.kind == "follow":
            more += await store.follow(Follow.unpack(going.payload)) or ()
        else:
            more += (await store.deliver(delivery(going))).parcels
        await store.relayed(parcel.partition, [parcel.place])
    return more


def delivery(going: Outgoing) -> Deliver:
    """A parcel as it reaches the inbox it is meant for."""
    return Deliver(
        id=going.target,
        request=going.request,
        kind=going.kind,
        name=going.name,
        payload=going.payload,
        run=going.run,
        tombstone=going.kind == "cancel",
    )


def notice(parcel: Parcel) -> Notice:
    """The notice that a parcel carries."""
    assert parcel.outgoing.kind == "ended", parcel
    return Notice.unpack(parcel.outgoing.payload)


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
