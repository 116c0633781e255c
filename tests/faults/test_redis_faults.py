"""Redis goes wrong in one way at a time, under load: what was acknowledged is there, and all of it ends right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import ConnectionError as ConnectionLost
from redis import Redis

from runner.errors import Overloaded
from runner.records import Status
from runner.store.redis import RedisStore
from tests.contract.redis_kit import fill
from tests.e2e import ledger
from tests.faults import program, small
from tests.faults.fleet import Fleet, crew, fleet, until
from tests.faults.proxy import Proxy
from tests.servers import RedisServer, start_redis

#: Under load: so many orders, every tenth with a child.
ORDERS = range(1, 21)
LEASE_S = 3.0


@asynccontextmanager
async def under_load(one: Fleet, book: Path, numbers: Iterable[int] = ORDERS) -> AsyncIterator[None]:
    """Inside, work is under way; behind it all of it has ended, and right."""
    ordering = asyncio.create_task(one.order(numbers))
    await called(book, 10)
    try:
        yield
    except BaseException:
        ordering.cancel()
        raise
    await ordering
    await one.until_over()
    assert await one.findings() == []


async def called(book: Path, times: int) -> None:
    await until(lambda: count(book, "called") >= times, lambda: f"{times} calls of steps")


def count(book: Path, kind: str) -> int:
    return sum(line["kind"] == kind for line in ledger.read(book))


# -- away -----------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_killed_redis_has_all_that_was_acknowledged(
    own_redis: RedisServer, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with crew(own_redis.url, rabbit_url, namespace, lease_s=LEASE_S) as one, under_load(one, book):
        for calls in (20, 60):
            await called(book, calls)
            await asyncio.to_thread(own_redis.kill)
            await asyncio.to_thread(own_redis.start)


@pytest.mark.slow
async def test_a_redis_that_stands_still_for_a_moment_delays(
    own_redis: RedisServer, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with crew(own_redis.url, rabbit_url, namespace, lease_s=LEASE_S) as one, under_load(one, book):
        await stand_still(own_redis, 2)


@pytest.mark.slow
async def test_a_redis_that_stands_still_for_longer_than_leases_last_costs_none(
    own_redis: RedisServer, rabbit_url: str, namespace: str, book: Path
) -> None:
    """Who holds one may renew it first, though the scheduler reaches the server before."""
    async with (
        Proxy(own_redis.url) as way,
        fleet(own_redis.url, rabbit_url, namespace, app=small.app, lease_s=6.0) as one,
    ):
        scheduler = await one.add_scheduler()
        await one.add_worker(store=RedisStore(way.url, namespace=namespace))
        await until(lambda: scheduler.leading, lambda: "the scheduler to lead")
        handles = [await one.client.start(small.takes_long, 9.0) for _ in range(3)]
        await until(lambda: len(ledger.read(book)) == 3, lambda: "the steps to be called")
        way.stall()
        await stand_still(own_redis, 8)
        await until(lambda: scheduler.leading, lambda: "the scheduler to lead again")
        await asyncio.sleep(0.5)  # it could have taken the leases away by now
        way.let_go()
        for handle in handles:
            await one.ended(handle.id)
        assert len(ledger.read(book)) == 3, "none of them was called again"


async def stand_still(redis: RedisServer, seconds: float) -> None:
    redis.pause()
    await asyncio.sleep(seconds)
    redis.resume()


@pytest.mark.slow
async def test_a_redis_that_is_a_replica_for_a_while_delays(
    own_redis: RedisServer, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with crew(own_redis.url, rabbit_url, namespace, lease_s=LEASE_S) as one, under_load(one, book):
        with Redis.from_url(own_redis.url) as admin:
            admin.replicaof("127.0.0.1", "1")
            await until(lambda: refused(admin, "READONLY") > 5, lambda: "writes to be refused")
            admin.replicaof("NO", "ONE")


def refused(admin: Redis, error: str) -> int:
    return int(admin.info("errorstats").get(f"errorstat_{error}", {"count": 0})["count"])


@pytest.mark.slow
async def test_a_redis_that_forgets_scripts_and_drops_connections_delays(
    own_redis: RedisServer, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with (
        crew(own_redis.url, rabbit_url, namespace, lease_s=5.0) as one,
        # Around the faults: what is under way ends when they do, for on a slow machine nothing gets on between them.
        under_load(one, book),
        repeated(own_redis, 0.1, "SCRIPT", "FLUSH") as forgot,
        repeated(own_redis, 0.2, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") as dropped,
    ):
        await until(lambda: len(forgot) > 5 and sum(dropped) > 5, lambda: "both to have happened")


@asynccontextmanager
async def repeated(redis: RedisServer, every_s: float, *command: str) -> AsyncIterator[list[Any]]:
    """What it answered, each time."""
    answers: list[Any] = []

    async def repeat() -> None:
        with Redis.from_url(redis.url) as admin:
            while True:
                with suppress(ConnectionLost):  # whoever drops all others drops us as well
                    answers.append(await asyncio.to_thread(admin.execute_command, *command))
                await asyncio.sleep(every_s)

    repeating = asyncio.create_task(repeat())
    yield answers
    repeating.cancel()
    await asyncio.wait([repeating])


# -- with a sync every second ---------------------------------------------------------------------


@pytest.fixture
def hasty_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """It answers before what it has written is on the disk."""
    server = start_redis(tmp_path, appendfsync="everysec")
    yield server
    server.kill()


@pytest.mark.slow
async def test_a_process_that_dies_leaves_what_it_has_written_though_it_was_not_synced(
    hasty_redis: RedisServer, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with crew(hasty_redis.url, rabbit_url, namespace, lease_s=LEASE_S) as one:
        ids = [await one.start_parcel(number, delay=3600) for number in range(1, 21)]
        await written(hasty_redis)
        await asyncio.to_thread(hasty_redis.kill)
        await asyncio.to_thread(hasty_redis.start)
        await one.order(ORDERS)
        assert {execution.id for execution in await one.executions()} >= set(ids)
        for id in ids:
            assert await one.client.cancel(id)
        await until(one.is_over, lambda: "all to end")


@pytest.mark.slow
async def test_what_a_power_loss_takes_back_is_named_and_can_be_asked_for_again(
    hasty_redis: RedisServer, rabbit_url: str, namespace: str, book: Path
) -> None:
    """Both sides of each transition are lost together, so that nothing is stuck and nothing wrong."""
    async with fleet(hasty_redis.url, rabbit_url, namespace) as one:
        await one.order(range(1, 6))
        cancelled = await one.start_parcel(100)
        kept = await written(hasty_redis)
        for number in range(6, 11):
            await one.start_parcel(number)
        assert await one.client.cancel(cancelled), "acknowledged, and lost"
        await written(hasty_redis)
        await asyncio.to_thread(hasty_redis.kill)
        cut(hasty_redis, kept)
        await asyncio.to_thread(hasty_redis.start)
        await one.add_scheduler()
        await one.add_worker()

        async def named() -> bool:
            return await one.client.broker.orphans() >= 5

        await until(named, lambda: "a hint of each lost execution to be kept as an orphan")
        assert (await one.client.store.losses()).orphaned == 5
        await one.until_over()
        assert len(await one.executions()) == 6
        for number in range(6, 11):
            await one.start_parcel(number)
        await one.until_over()
        assert len(await one.executions()) == 11
        assert await one.findings() == []


async def written(redis: RedisServer) -> int:
    """Wait until the file has all that was answered; how long it is then."""
    with Redis.from_url(redis.url) as admin:

        def is_written() -> bool:
            said = admin.info("persistence")
            return said["aof_buffer_length"] == 0 and said["aof_pending_bio_fsync"] == 0

        await until(is_written, lambda: "all to be in the file")
    return log(redis).stat().st_size


def cut(redis: RedisServer, size: int) -> None:
    """What was written later never reached the disk, but for the beginning of one command."""
    with log(redis).open("r+b") as file:
        file.truncate(size + 20)


def log(redis: RedisServer) -> Path:
    (one,) = (redis.home / "appendonlydir").glob("*.incr.aof")
    return one


# -- full -----------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_full_redis_refuses_new_work_and_all_that_runs_ends(
    own_redis: RedisServer, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with fleet(own_redis.url, rabbit_url, namespace, lease_s=3.0) as one:
        running = await one.order(range(1, 11))  # with all their signals; the tenth has a child
        waiting = await one.client.start(program.order, program.Order(11), id="waiting")
        with Redis.from_url(own_redis.url) as admin:
            fill(admin)
        with pytest.raises(Overloaded):
            await one.client.start(program.order, program.Order(12))
        await one.add_scheduler()
        await one.add_worker()
        for id in running:
            await one.ended(id)
        with pytest.raises(Overloaded):
            await waiting.signal(program.told, "11 first")
        assert await waiting.cancel()
        await one.until_over()
        assert await waiting.status() is Status.CANCELLED
        assert [await statused(one, id) for id in running] == [Status.COMPLETED] * 10


async def statused(one: Fleet, id: str) -> Status:
    return (await one.client.execution(id)).status
