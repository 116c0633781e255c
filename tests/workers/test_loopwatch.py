"""The loop watch: it names what blocks the loop, and ends a process whose loop is dead, but no other."""

from __future__ import annotations

import asyncio
import threading
import time

from structlog.testing import capture_logs

from runner.loopwatch import EXIT_STALLED, LoopWatch


async def test_a_blocking_step_is_named_with_its_line() -> None:
    watch = LoopWatch(warn_ms=100, stall_ms=60_000)
    watch.start()

    async def blocking() -> None:
        time.sleep(0.5)

    with capture_logs() as logs:
        await asyncio.create_task(blocking(), name="step 'charge' of order 7")
        await asyncio.sleep(0.05)
    watch.stop()
    (warning,) = [log for log in logs if log["event"] == "loop.blocked"]
    assert warning["by"] == "step 'charge' of order 7"
    assert "test_loopwatch.py" in warning["at"]
    assert "thread" in warning["cure"]


async def test_a_dead_loop_ends_the_process() -> None:
    left = threading.Event()
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        left.set()

    watch = LoopWatch(warn_ms=50, stall_ms=300, leave=leave)
    watch.start()
    assert watch.alive()
    with capture_logs():
        left.wait(10)  # on the loop's own thread: it does not turn
    assert not watch.alive()
    watch.stop()
    assert codes[0] == EXIT_STALLED


async def test_a_loop_that_turns_is_left_alone() -> None:
    watch = LoopWatch(warn_ms=200, stall_ms=1_000, leave=lambda code: None)
    watch.start()
    with capture_logs() as logs:
        await asyncio.sleep(1.0)
    assert watch.alive()
    watch.stop()
    assert not [log for log in logs if log["event"] == "loop.stalled"]
