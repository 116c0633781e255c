"""What was put into the outbox and not taken out: the scheduler sends it, and time's own parcels go at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from runner.broker import Listening
from runner.broker.memory import MemoryBroker
from runner.errors import BrokerUnavailable
from runner.events import ExecutionStatusChanged
from runner.hooks import Hooks
from runner.messages import Emission
from runner.scheduler import Scheduler, SchedulerOptions
from runner.scheduler.duties import OUTBOX_GRACE_MS
from runner.store import Store
from runner.store.factory import open_store
from runner.transactions import Follow, Outgoing, Parcel, Start, Suspend
from tests.contract.kit import a_start, begin, start

OPTIONS = SchedulerOptions(leader_ttl_s=1.0)


class AwayBroker(MemoryBroker):
    """Takes no events, until told to."""

    away = True

    async def emit(self, emission: Emission) -> None:
        if self.away:
            raise BrokerUnavailable("away")


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Store]:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("redis_url")
    store = open_store(url, namespace=namespace)
    await store.open()
    yield store
    await store.close()


def emits(count: int) -> list[Outgoing]:
    paid = [
        Emission(id=f"m-{number}", event="paid", payload=b"7", execution_id="e-1", workflow="order", at=1)
        for number in range(count)
    ]
    return [Outgoing(target="paid", request=one.id, kind="emit", payload=one.pack()) for one in paid]


def child(id: str) -> Outgoing:
    begun = Start(
        id=id, request=id, workflow="child", version=1, queue="default", input=b"", digest="d", parent="e-1"
    )  # fmt: skip
    return Outgoing(target=id, request=id, kind="start", payload=begun.pack())


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.02)


async def test_what_a_worker_left_behind_is_started_and_emitted_after_its_grace(store: Store, namespace: str) -> None:
    broker = MemoryBroker(namespace)
    heard: list[str] = []

    async def hear(emission: Emission) -> None:
        heard.append(emission.id)

    await broker.listen({"ear": Listening(events=("paid",), prefetch=5, listener=hear)})
    turn = await begin(store)
    await turn.commit(outgoing=[child("c-1"), *emits(3)], end=Suspend())
    written = await store.now()
    async with Scheduler(store, broker, OPTIONS):

        async def there() -> bool:
            return await store.record("c-1") is not None and len(heard) == 3

        await until(there)
    assert await store.now() - written >= OUTBOX_GRACE_MS
    assert set(heard) == {"m-0", "m-1", "m-2"}


async def test_events_that_nobody_takes_hold_up_nothing_else_and_are_not_asked_for_all_the_time(
    store: Store, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = await begin(store)
    await turn.commit(outgoing=[*emits(50), child("c-1")], end=Suspend())
    looks: list[int] = []
    relay = store.relay

    async def counted(partition: int, limit: int, older_than_ms: int = 0) -> list[Parcel]:
        looks.append(partition)
        return await relay(partition, limit, older_than_ms)

    monkeypatch.setattr(store, "relay", counted)
    broker = AwayBroker(namespace)
    async with Scheduler(store, broker, OPTIONS):

        async def started() -> bool:
            return await store.record("c-1") is not None

        await until(started)
        await asyncio.sleep(OUTBOX_GRACE_MS / 1000)
        assert len(looks) <= 3
        broker.away = False

        async def empty() -> bool:
            return not await relay(looks[0], 1)

        await until(empty)


async def test_an_end_that_time_brings_is_told_at_once_and_observed(store: Store, namespace: str) -> None:
    seen: list[ExecutionStatusChanged] = []

    async def observe(event: ExecutionStatusChanged) -> None:
        seen.append(event)

    hooks = Hooks()
    hooks.add(ExecutionStatusChanged, observe)
    await start(store, a_start("late", timeout_ms=1))
    waiter = await begin(store)
    await waiter.commit(end=Suspend())
    await store.follow(Follow(target="late", waiter="e-1", run=1, workflow="order"))
    began = await store.now()
    async with Scheduler(store, MemoryBroker(namespace), OPTIONS, hooks=hooks):

        async def told() -> bool:
            read = await store.read("e-1")
            return read is not None and len(read.inbox) == 1

        await until(told)
        assert await store.now() - began < OUTBOX_GRACE_MS
        await hooks.settle()
    assert ("late", "pending", "failed", "timed_out") in [
        (one.execution_id, one.before, one.after, one.cause) for one in seen
    ]
