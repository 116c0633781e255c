"""All promises at once, under every fault of the catalogue: a short run of the rig, another one each time.

The seed is printed when it fails; RUNNER_FAULT_SEED replays its plan. `make chaos` runs for as long as one likes.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.mix import SHORT
from tests.faults.plan import plan
from tests.faults.report import story
from tests.faults.rig import Setup, rig
from tests.faults.run import run
from tests.servers import RabbitServer, RedisServer

#: Not the seeded generator: pytest-randomly has the same seed for a whole run of the suite, and this wants its own.
SEED = int(os.environ.get("RUNNER_FAULT_SEED") or random.SystemRandom().randrange(1_000_000))
SETUP = Setup(executions=300, rate=30, producers=1, seed=SEED)


@pytest.mark.slow
@pytest.mark.timeout(330)
async def test_nothing_is_lost_stuck_or_done_twice_whatever_strikes(
    own_redis: RedisServer, own_rabbit: RabbitServer, tmp_path: Path
) -> None:
    async with rig(SETUP, own_redis, own_rabbit, tmp_path) as one:
        outcome = await run(one, plan(SEED, SETUP.executions, SHORT))
    assert outcome.findings == [], f"RUNNER_FAULT_SEED={SEED}\n{story(outcome)}"
    seen = outcome.seen
    assert seen["executions"] == SETUP.executions
    # A run under faults that did not bite proves nothing. (Producers may be through before one is struck.)
    assert {fault for fault in FAULTS if not fault.startswith("producer") and not seen[fault]} == set(), f"seed {SEED}"
    assert seen["lease.reaped"] + seen["calls.again"] > 0, f"RUNNER_FAULT_SEED={SEED}: no worker died at work: {seen}"
    assert seen["broker.consumer_lost"] + seen["hints.republished"] > 0, f"RUNNER_FAULT_SEED={SEED}: {seen}"
    for consequence in (
        "replies.lost",
        "connections.broken",
        "hints.duplicated",
        "hints.held_back",
        "losses.told",
        "rounds",
    ):
        assert seen[consequence] > 0, f"RUNNER_FAULT_SEED={SEED}: {consequence} was never seen: {seen}"
