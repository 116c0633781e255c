"""Being asked to leave: once, twice, three times, too early, and for too long."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest
from structlog.testing import capture_logs

from runner.cli import stopping as module
from runner.cli.stopping import Stopping


@pytest.fixture
def stoppings():
    """Makes them, and stops their clocks, which would end the whole test run."""
    made: list[Stopping] = []

    def make(grace_s: float, **options) -> Stopping:
        made.append(Stopping(grace_s, **options))
        return made[-1]

    yield make
    for one in made:
        if hasattr(one, "_timer"):
            one._timer.cancel()


async def test_once_is_in_good_order_twice_in_a_hurry_three_times_at_once(stoppings):
    left: list[int] = []
    hurried = asyncio.Event()
    async with asyncio.timeout(20), stoppings(60, leave=left.append) as stopping:
        waiting = asyncio.create_task(stopping.asked(hurried.set))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        await waiting
        assert not hurried.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await hurried.wait()
        assert left == []
        os.kill(os.getpid(), signal.SIGTERM)
        while not left:
            await asyncio.sleep(0)
    assert left == [130]


async def test_a_process_that_leaves_by_itself_is_hurried_by_the_second_signal_and_not_by_itself(stoppings):
    hurried = asyncio.Event()
    async with asyncio.timeout(20), stoppings(60, leave=pytest.fail) as stopping:
        waiting = asyncio.create_task(stopping.asked(hurried.set))
        await asyncio.sleep(0)
        for why in ("deaf to queue 'default'", "16 of 32 threads hang in steps", "100 turns are done"):
            stopping.ask(why)
        await waiting
        with capture_logs() as logs:
            os.kill(os.getpid(), signal.SIGTERM)
            while not logs:
                await asyncio.sleep(0)
        assert not hurried.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        await hurried.wait()


async def test_whoever_is_asked_while_starting_stops_starting(stoppings):
    async def start() -> None:
        async with stoppings(60) as stopping:
            stopping.ask("a change of mind")
            await asyncio.sleep(3600)

    starting = asyncio.create_task(start())
    done, _ = await asyncio.wait({starting}, timeout=20)
    assert done
    await starting


async def test_a_cancel_from_elsewhere_is_not_taken_for_a_signal(stoppings):
    async def body() -> None:
        async with stoppings(60):
            await asyncio.sleep(3600)

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_when_the_grace_is_over_whatever_hangs_is_left(monkeypatch, stoppings):
    monkeypatch.setattr(module, "MARGIN_S", 0.1)
    left = threading.Event()
    codes: list[int] = []
    async with stoppings(0.1, leave=lambda code: (codes.append(code), left.set())) as stopping:
        stopping._waiting = True
        stopping.ask("enough")
        # The loop itself hangs: nothing but another thread can end this.
        assert left.wait(20)
    assert codes == [130]
