"""What a worker says of its work: turns of the last minute, by queue, and the attempts that run for long."""

from __future__ import annotations

import asyncio

from runner.core.commands import Step
from runner.core.retry import ONCE
from runner.load import Load, turns_per_minute
from runner.step import CurrentStep
from runner.workers import steps
from runner.workers.pace import PIECE_MS, WINDOW_MS, Pace


class Ticking:
    def __init__(self) -> None:
        self.now = 7_000_000

    def __call__(self) -> int:
        return self.now


def test_turns_are_counted_by_queue_for_a_minute() -> None:
    ticks = Ticking()
    pace = Pace(ticks)
    assert pace.lately() == ((), 0)
    for queue in ("gpu", "default", "gpu"):
        pace.ended(queue)
    ticks.now += 20_000
    pace.ended("default")
    assert pace.lately() == ((("default", 2), ("gpu", 2)), 20_000)
    ticks.now += WINDOW_MS - 20_000
    assert pace.lately() == ((("default", 1),), WINDOW_MS)
    ticks.now += WINDOW_MS
    assert pace.lately() == ((), WINDOW_MS)


def test_no_more_is_kept_than_is_counted() -> None:
    ticks = Ticking()
    pace = Pace(ticks)
    for _ in range(1_000):
        ticks.now += PIECE_MS
        pace.ended("default")
    assert len(pace._pieces) <= WINDOW_MS / PIECE_MS + 1


def test_a_rate_is_of_one_queue_or_of_all_and_never_of_a_moment() -> None:
    load = Load(ended=(("default", 6), ("gpu", 4)), over_ms=30_000)
    assert (turns_per_minute(load), turns_per_minute(load, "gpu"), turns_per_minute(load, "other")) == (20, 8, 0)
    assert turns_per_minute(Load(ended=(("default", 1),), over_ms=10)) == 12


async def test_attempts_that_run_for_long_are_told_of_until_they_end(monkeypatch) -> None:
    monkeypatch.setattr(steps, "LONG_MS", 0)
    runner = steps.StepRunner(2)
    go = asyncio.Event()
    command = Step(
        id="charge", where=("f", 1), fn=go.wait, args=(), kwargs={}, returns=bool, retry=ONCE, timeout_ms=60_000
    )
    current = CurrentStep(execution_id="e-1", workflow="order", run=1, id="charge", attempt=3)
    attempt = asyncio.create_task(runner.perform(command, current, lambda: True))
    await asyncio.sleep(0)
    (found,) = runner.long()
    assert (found.execution_id, found.step, found.attempt, found.timeout_ms) == ("e-1", "charge", 3, 60_000)
    assert found.for_ms >= 0
    go.set()
    await attempt
    assert runner.long() == ()
    runner.close()
