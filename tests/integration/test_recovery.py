"""A recovery goes on until nothing is left, however much there is of anything."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from runner.broker.memory import MemoryBroker
from runner.courier import Courier
from runner.events import ExecutionStatusChanged
from runner.hooks import Hooks
from runner.records import Status
from runner.recovery import LIMIT, recover
from runner.store.sqlite import SqliteStore
from runner.transactions import Outgoing, Suspend
from tests.contract.conftest import SkipClock
from tests.contract.kit import a_parcel, a_sleep, a_start, begin, record

MANY = LIMIT + 10


@pytest.fixture
def clock() -> SkipClock:
    return SkipClock()


@pytest.fixture
async def store(namespace: str, clock: SkipClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None, namespace=namespace, partitions=1, clock=clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def broker(namespace: str) -> AsyncIterator[MemoryBroker]:
    broker = MemoryBroker(namespace)
    await broker.open()
    yield broker
    await broker.close()


async def test_ends_by_a_deadline_do_not_hide_what_is_due_behind_them(
    store: SqliteStore, clock: SkipClock, broker: MemoryBroker
) -> None:
    ended: list[str] = []
    hooks = Hooks()

    async def hear(change: ExecutionStatusChanged) -> None:
        ended.append(change.execution_id)

    hooks.add(ExecutionStatusChanged, hear)
    turn = await begin(store)
    await turn.commit(opens=[a_sleep(after_ms=20)], end=Suspend())
    await store.start([a_start(f"late-{number}", timeout_ms=10) for number in range(MANY)])
    clock.now += 30
    report = await recover(store, broker, Courier(store, broker), hooks, most=1_000)
    assert report.recovered == 1
    assert report.skipped == {"ended: failed": MANY}
    await hooks.settle()
    assert len(ended) == MANY


async def test_the_whole_outbox_is_carried_and_what_cannot_be_holds_up_no_other(
    store: SqliteStore, broker: MemoryBroker
) -> None:
    turn = await begin(store)
    broken = [Outgoing(target="x", request=f"b-{number}", kind="telepathy") for number in range(MANY)]
    await turn.commit(outgoing=[*broken, *(a_parcel(f"r-{number}", "e-1") for number in range(MANY))])
    report = await recover(store, broker, Courier(store, broker), Hooks(), most=1_000)
    assert report.failed == MANY
    assert len(await store.outbox(0, "", 10_000)) == MANY
    assert (await record(store)).status is Status.RUNNING
    read = await store.read("e-1")
    assert read is not None
    assert len(read.inbox) == MANY
