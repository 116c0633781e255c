"""A backend that is away delays executions and fails none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e import ledger
from tests.e2e.orders import approved, expected
from tests.e2e.processes import launcher
from tests.e2e.test_kill import client
from tests.servers import RedisServer

AWAY_S = 10


@pytest.mark.slow
async def test_a_store_outage_delays_and_fails_nothing(
    own_redis: RedisServer, rabbit_url: str, namespace: str, tmp_path: Path
) -> None:
    with launcher(own_redis.url, rabbit_url, namespace, tmp_path) as system:
        system.scheduler()
        system.worker("--lease", "3")
        system.until_said("worker.ready")
        system.until_said("leader.elected")
        async with client(system) as producer:
            handles = await producer.start_many("order", [{"number": number} for number in range(40)])
            async with asyncio.timeout(20):
                while len(ledger.read(system.ledger)) < 20:
                    await asyncio.sleep(0.005)
            await asyncio.to_thread(own_redis.kill)
            await asyncio.sleep(AWAY_S)
            await asyncio.to_thread(own_redis.restart)
            for handle in handles:
                await producer.signal(handle.id, approved, "ann")
            results = await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
            records = [await producer.execution(handle.id) for handle in handles]
        assert results == [expected(number, "ann") for number in range(40)]
        assert {(record.attempt, record.crashes) for record in records} == {(1, 0)}
