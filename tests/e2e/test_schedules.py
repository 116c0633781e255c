"""Schedules through every death: whoever is killed, stopped or away, each tick has one fate."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from runner import CatchUp
from runner.scheduler import SchedulerOptions
from runner.store.keys import Keys
from tests.e2e.processes import Launcher, launcher
from tests.e2e.ticks import OVERLAPPING, TEN, Wanted, Watched, opened, until
from tests.servers import RabbitServer, RedisServer

LONG = os.environ.get("RUNNER_TEST_LONG") == "1"
#: For so many seconds it ticks, and every so often the leader dies or stands still.
TICKING_S, UNREST_S = (60, 7) if LONG else (25, 4)
#: Within this time after a tick a scheduler decides what becomes of it.
AMID_S = 0.1
AWAY_S = 15
#: Outages last longer than this: what is older when they end is too late.
IN_TIME_S = 5


@pytest.fixture
def system(redis_url: str, rabbit_url: str, namespace: str, tmp_path: Path) -> Iterator[Launcher]:
    with ticking(redis_url, rabbit_url, namespace, tmp_path) as one:
        yield one


@contextmanager
def ticking(redis_url: str, rabbit_url: str, namespace: str, folder: Path) -> Iterator[Launcher]:
    with launcher(redis_url, rabbit_url, namespace, folder, "tests.e2e.ticks:app") as one:
        yield one


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as one:
        yield one


class Fleet:
    """Three schedulers, and who of them leads by the store's word."""

    def __init__(self, system: Launcher) -> None:
        self._system = system
        self._schedulers = [system.scheduler() for _ in range(3)]
        self._redis = Redis.from_url(system.store_url, decode_responses=True)
        self._key = f"{Keys(system.namespace, 1).wide}leader"
        self.killed = self.stopped = 0

    def leader(self) -> subprocess.Popen[bytes] | None:
        name = self._redis.hget(self._key, "name")
        if not isinstance(name, str):
            return None
        return next((one for one in self._schedulers if self._system.has_said(one, f'"scheduler": "{name}"')), None)

    async def until_led(self, *, not_by: subprocess.Popen[bytes] | None = None) -> subprocess.Popen[bytes]:
        found: list[subprocess.Popen[bytes]] = []

        def led() -> bool:
            leader = self.leader()
            found[:] = [leader] if leader is not None and leader is not not_by else []
            return bool(found)

        await until(led, 30, self._system.logs)
        return found[0]

    async def kill(self) -> None:
        """The leader, who is replaced at once."""
        leader = await self.until_led()
        leader.kill()
        leader.wait()
        self.killed += 1
        self._schedulers[self._schedulers.index(leader)] = self._system.scheduler()

    async def stop(self) -> subprocess.Popen[bytes]:
        """Have the leader stand still; returns it when another one leads."""
        leader = await self.until_led()
        leader.send_signal(signal.SIGSTOP)
        self.stopped += 1
        await self.until_led(not_by=leader)
        return leader

    async def unrest(self, ticks: range) -> None:
        """By turns kill the leader and stop it; the one that was stopped goes on when its successor is killed.

        Just after a tick: in the middle of deciding and carrying out.
        """
        stopped: list[subprocess.Popen[bytes]] = []
        try:
            for turn, tick in enumerate(ticks[UNREST_S::UNREST_S]):
                await asyncio.sleep(max(tick / 1000 + random.uniform(0, AMID_S) - time.time(), 0))
                if turn % 2:
                    stopped.append(await self.stop())
                else:
                    await self.kill()
                    _go_on(stopped)
        finally:
            _go_on(stopped)


def _go_on(stopped: list[subprocess.Popen[bytes]]) -> None:
    while stopped:
        stopped.pop().send_signal(signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_leaders_are_killed_and_stopped_and_each_tick_has_one_fate(
    system: Launcher, stack: AsyncExitStack, record_property: Any
) -> None:
    fleet = Fleet(system)
    system.worker()
    system.until_said("worker.ready")
    await fleet.until_led()
    client = await opened(stack, system)
    watched = await Watched.ensure(client, [*TEN, *OVERLAPPING], seconds=TICKING_S)
    await fleet.unrest(watched.ticks)
    await watched.until_over(system, timeout=60)
    watched.check()
    watched.check_ledger(system)
    assert fleet.killed >= 2 and fleet.stopped >= 2
    record_property("schedules", told(fleet=f"{fleet.killed} killed, {fleet.stopped} stopped", **watched.lateness()))


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_ticks_of_a_store_outage_run_late_once_or_are_skipped_once(
    own_redis: RedisServer,
    rabbit_url: str,
    namespace: str,
    tmp_path: Path,
    stack: AsyncExitStack,
    record_property: Any,
) -> None:
    collapsing = [
        Wanted("latest", "beat", catch_up=CatchUp(all_within=IN_TIME_S, then="latest")),
        Wanted("none", "beat", catch_up=CatchUp(all_within=IN_TIME_S, then="skip")),
        Wanted("all", "beat", catch_up=CatchUp(all_within=IN_TIME_S, then="all")),
    ]
    with ticking(own_redis.url, rabbit_url, namespace, tmp_path) as system:
        await all_up(system)
        client = await opened(stack, system)
        watched = await Watched.ensure(client, [*TEN[:3], *OVERLAPPING, *collapsing], seconds=AWAY_S + 10)
        await until_begun(watched)
        gone = await client.store.now()
        await asyncio.to_thread(own_redis.kill)
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(own_redis.restart)
        back = await client.store.now()
        await watched.until_over(system, timeout=90)
        too_late = [tick for tick in watched.ticks if gone - 1_000 <= tick <= back]
        one_too_many = {id: watched.skipped(id) for id in ("latest", "none")}
        watched.check(may_miss=too_late)
        for wanted in ("beat-0", "beat-1", "beat-2", "cancels", "all"):
            assert watched.skipped(wanted) == set(), "the catch-up window has them all"
        for skipped in one_too_many.values():
            assert len(skipped) >= AWAY_S - IN_TIME_S - 2
        # A step whose result could not be recorded in time is called again; its execution is the same.
        watched.check_ledger(system, most=3)
        record_property("schedules", told(skipped={id: len(s) for id, s in one_too_many.items()}, **watched.lateness()))
        await client.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_ticks_of_a_broker_outage_are_started_in_time_and_run_late(
    redis_url: str,
    own_rabbit: RabbitServer,
    namespace: str,
    tmp_path: Path,
    stack: AsyncExitStack,
    record_property: Any,
) -> None:
    with ticking(redis_url, own_rabbit.url, namespace, tmp_path) as system:
        await all_up(system)
        client = await opened(stack, system)
        watched = await Watched.ensure(client, [*TEN, *OVERLAPPING], seconds=AWAY_S + 10)
        await until_begun(watched)
        await asyncio.to_thread(own_rabbit.stop)
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(own_rabbit.restart)
        await watched.until_over(system, timeout=120)
        watched.check()
        watched.check_ledger(system)
        record_property("schedules", told(**watched.lateness()))
        await client.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
async def test_a_leader_that_goes_is_followed(system: Launcher, how: signal.Signals, record_property: Any) -> None:
    fleet = Fleet(system)
    system.until_said("scheduler.ready", 3)
    leader = await fleet.until_led()
    leader.send_signal(how)
    begun = time.monotonic()
    await fleet.until_led(not_by=leader)
    took = time.monotonic() - begun
    record_property("schedules", told(how=how.name, takeover_s=round(took, 2)))
    lease_s = SchedulerOptions().leader_ttl_s
    # Who leaves in good order gives the seat back: nobody waits for its lease to run out.
    assert took < (lease_s * 0.6 if how is signal.SIGTERM else lease_s + 2)


async def all_up(system: Launcher) -> None:
    system.scheduler()
    system.scheduler()
    system.worker()
    system.until_said("worker.ready")
    system.until_said("leader.elected")


async def until_begun(watched: Watched) -> None:
    """Some ticks have run."""
    store = watched.client.store
    while await store.now() < watched.ticks[4]:
        await asyncio.sleep(0.1)


def told(**figures: object) -> str:
    """Shown with `pytest -s`, and kept in a report."""
    line = ", ".join(f"{name}: {value}" for name, value in figures.items())
    print(line)
    return line
