"""What nothing would wake is noticed by the leader, and nothing else is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from runner.broker.memory import MemoryBroker
from runner.cli.probes import scheduler_check
from runner.records import History
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store import Store
from runner.store.factory import open_store
from runner.store.inspection import Repair
from runner.transactions import Complete, Open, Suspend
from tests.contract.hands import Hand, hand_into
from tests.contract.kit import Turn, a_start, a_wait, begin, claim, nonce, signal, start

OPTIONS = SchedulerOptions(leader_ttl_s=1.0, look_every_s=0.01)


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> AsyncIterator[Store]:
    url = f"sqlite:///{tmp_path}/state.db" if request.param == "sqlite" else request.getfixturevalue("redis_url")
    store = open_store(url, namespace=namespace)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def broker(namespace: str) -> AsyncIterator[MemoryBroker]:
    broker = MemoryBroker(namespace)
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture
def hand(store: Store) -> Iterator[Hand]:
    hand = hand_into(store)
    yield hand
    hand.close()


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not met():
            await asyncio.sleep(0.01)


async def test_the_leader_finds_what_nothing_would_wake(store: Store, broker: MemoryBroker, hand: Hand) -> None:
    for id in ("lost", "well", "odd"):
        await start(store, a_start(id))
    turn = await begin(store, a_start("deaf"))
    await turn.commit(opens=[Open(id="w", kind="ended", name="well")], end=Suspend())
    hand.ready("lost", None)
    hand.garbled("odd")
    with capture_logs() as logs:
        async with Scheduler(store, broker, OPTIONS) as scheduler:
            await until(lambda: scheduler.unwakeable == 3)
            facts = await scheduler_check(scheduler, store)()
            assert (facts["ready"], facts["unwakeable_executions"]) == (True, 3)
            await store.mend("lost", Repair(lease_ms=1_000, wake=True))
            await until(lambda: scheduler.unwakeable == 2)
        assert scheduler.unwakeable == 0, "who does not lead does not know"
    alarms = [(one["execution_id"], one["code"]) for one in logs if one["event"] == "execution.unwakeable"]
    found = [("deaf", "unheard"), ("lost", "unwakeable"), ("odd", "record_unreadable")]
    assert sorted(alarms) == found, "each once"


async def test_what_goes_on_is_no_alarm(store: Store, broker: MemoryBroker) -> None:
    """Starts, claims, waits, news and ends, as fast as they come, while it looks without a rest."""
    chance = random.Random(7)

    async def live(id: str) -> None:
        await start(store, a_start(id, delay_ms=chance.choice([0, 20])))
        for _ in range(3):
            mine = nonce()
            while not isinstance(history := await store.claim(id, mine, "w", 10_000), History):
                await asyncio.sleep(0.001)
            await Turn(store, history, mine).commit(
                opens=[a_wait(f"w-{mine}"), a_wait(f"t-{mine}", after_ms=60_000)], end=Suspend()
            )
            await signal(store, id)
        turn = await claim(store, id)
        await turn.commit(end=Complete(result=b"r"))

    options = SchedulerOptions(leader_ttl_s=1.0, look_every_s=0.0)
    with capture_logs() as logs:
        async with Scheduler(store, broker, options) as scheduler:
            await until(lambda: scheduler.leading)
            await asyncio.gather(*(live(f"e-{number}") for number in range(60)))
            assert scheduler.unwakeable == 0
    assert [one for one in logs if one["event"].startswith(("execution.unwakeable", "unwakeable."))] == []
