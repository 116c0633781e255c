"""Schedulers that are killed and stopped: another one takes over, and no tick is lost or run twice."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.core.grid import execution_id
from runner.records import Filter
from tests.e2e.processes import Launcher, launcher
from tests.e2e.test_kill import client


@pytest.fixture
def system(redis_url: str, rabbit_url: str, namespace: str, tmp_path: Path) -> Iterator[Launcher]:
    with launcher(redis_url, rabbit_url, namespace, tmp_path) as one:
        yield one


def leader(system: Launcher, schedulers: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    return next(one for one in schedulers if one.poll() is None and system.has_said(one, "leader.elected"))


@pytest.mark.timeout(120)
async def test_no_tick_is_lost_and_none_runs_twice_whoever_goes(system: Launcher) -> None:
    schedulers = [system.scheduler() for _ in range(3)]
    system.worker()
    system.until_said("scheduler.ready", 3)
    system.until_said("leader.elected")
    async with client(system) as producer:
        made = await producer.ensure_schedule("timer", 0.0, id="s", interval=0.1)
        elected = 1
        for how, limit_s in ((signal.SIGKILL, 5.0), (signal.SIGTERM, 1.0)):
            time.sleep(1)
            leader(system, schedulers).send_signal(how)
            began, elected = time.monotonic(), elected + 1
            system.until_said("leader.elected", elected, timeout=limit_s + 1)
            assert time.monotonic() - began < limit_s
            if how is signal.SIGKILL:
                leader_now = [one for one in schedulers if one.poll() is None]
                assert len(leader_now) == 2
        time.sleep(1)
        await producer.pause_schedule("s")
        kept = await producer.get_schedule("s")
        while kept.pending is not None:
            kept = await producer.get_schedule("s")
        assert kept.last_tick is not None
        ticks = list(range(made.created_at + 100, kept.last_tick + 1, 100))
        page = await producer.store.executions(Filter(limit=1_000))
        assert sorted(one.id for one in page.executions) == sorted(execution_id("s", tick) for tick in ticks)
        assert (kept.runs, kept.skipped) == (len(ticks), 0)
        assert await producer.wait(kept.last_execution, 10) >= 0.0
