"""The pool: what follows the end of a child, and real children that are killed, stubborn, useless or orphaned."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.workers import pool as pools
from runner.workers.pool import GiveUp, Leave, Pool, Restart, after_exit, pause_s

ROOT = Path(__file__).parents[2]


# -- deciding ----------------------------------------------------------------------------------------------


def test_pauses_double_up_to_half_a_minute():
    assert [pause_s(n) for n in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pause_s(10_000) == 30


def test_a_crash_is_followed_by_another_try_after_a_longer_pause_each_time():
    assert after_exit(-9, lived_s=1, failures=0, first=True, stopping=False) == Restart(0.5, 1)
    assert after_exit(70, lived_s=1, failures=3, first=False, stopping=False) == Restart(4, 4)


def test_a_child_that_lived_a_minute_was_well():
    assert after_exit(70, lived_s=61, failures=5, first=False, stopping=False) == Restart(0.5, 1)


def test_a_recycled_child_is_replaced_at_once_unless_it_does_nothing_else():
    assert after_exit(0, lived_s=6, failures=2, first=False, stopping=False) == Restart(0, 0)
    assert after_exit(0, lived_s=0.1, failures=2, first=False, stopping=False) == Restart(2, 3)


def test_wrong_arguments_end_the_pool_but_not_a_deployment_gone_wrong_later():
    assert after_exit(2, lived_s=1, failures=0, first=True, stopping=False) == GiveUp(2)
    assert after_exit(2, lived_s=1, failures=0, first=False, stopping=False) == Restart(0.5, 1)


def test_nobody_is_started_again_while_stopping():
    assert after_exit(-9, lived_s=1, failures=0, first=True, stopping=True) == Leave()


# -- acting ------------------------------------------------------------------------------------------------


CHILD = """
import os, signal, sys, time
from pathlib import Path
place = Path(sys.argv[1])
def leave(*_):
    (place / f"left-{os.getpid()}").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, {handler})
(place / f"born-{os.getpid()}").touch()
while True:
    time.sleep(0.05)
"""


def child(tmp_path: Path, *, handler: str = "leave") -> list[str]:
    script = tmp_path / "child.py"
    script.write_text(CHILD.replace("{handler}", handler))
    return [sys.executable, str(script), str(tmp_path)]


def pids(tmp_path: Path, what: str) -> set[int]:
    return {int(path.name.removeprefix(f"{what}-")) for path in tmp_path.glob(f"{what}-*")}


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not met():
            await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_a_killed_child_is_replaced_and_all_leave_when_asked(tmp_path):
    pool = Pool(child(tmp_path), env=os.environ, processes=2, grace_s=10)
    running = asyncio.create_task(pool.run())
    await until(lambda: len(pids(tmp_path, "born")) == 2)
    # Ctrl-C on a terminal must not reach the children beside the parent's own word to them.
    assert all(os.getsid(pid) != os.getsid(0) for pid in pids(tmp_path, "born"))
    victim = min(pids(tmp_path, "born"))
    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(pids(tmp_path, "born")) == 3)
    pool.stop()
    assert await running == 0
    assert pids(tmp_path, "left") == pids(tmp_path, "born") - {victim}


async def test_a_child_that_is_just_being_born_is_told_too(tmp_path, monkeypatch):
    pool = Pool(child(tmp_path), env=os.environ, processes=1, grace_s=60)
    spawn = asyncio.create_subprocess_exec

    async def spawn_and_stop(*command, **options):
        born = await spawn(*command, **options)
        pool.stop()
        return born

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn_and_stop)
    async with asyncio.timeout(30):
        assert await pool.run() == 0


async def test_a_child_that_does_not_leave_is_killed_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(pools, "MARGIN_S", 0.2)
    pool = Pool(child(tmp_path, handler="signal.SIG_IGN"), env=os.environ, processes=1, grace_s=0.3)
    running = asyncio.create_task(pool.run())
    await until(lambda: len(pids(tmp_path, "born")) == 1)
    pool.stop()
    async with asyncio.timeout(20):
        assert await running == 1
    assert all(gone(pid) for pid in pids(tmp_path, "born"))


async def test_a_pool_whose_children_cannot_even_start_ends_with_their_code():
    pool = Pool([sys.executable, "-c", "raise SystemExit(2)"], env=os.environ, processes=2, grace_s=5)
    async with asyncio.timeout(30):
        assert await pool.run() == 2


async def test_a_stop_between_two_lives_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(pools, "FIRST_PAUSE_S", 3600.0)
    monkeypatch.setattr(pools, "LAST_PAUSE_S", 3600.0)
    pool = Pool([sys.executable, "-c", "raise SystemExit(70)"], env=os.environ, processes=1, grace_s=5)
    paused = asyncio.Event()
    pause = pool._pause
    monkeypatch.setattr(pool, "_pause", lambda seconds: (paused.set(), pause(seconds))[1])
    running = asyncio.create_task(pool.run())
    async with asyncio.timeout(30):
        await paused.wait()
        pool.stop()
        assert await running == 0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_children_do_not_outlive_a_parent_however_it_goes(tmp_path, end):
    """The parent does not listen to signals: both ends take it without a word to its child."""
    (tmp_path / "child.py").write_text(
        textwrap.dedent("""
            import os, sys, threading
            from pathlib import Path
            from runner.workers.pool import Lifeline
            cut = threading.Event()
            Lifeline(cut.set).start()
            Path(sys.argv[1], f"born-{os.getpid()}").touch()
            assert sys.stdin.read() == ""  # standard input is not the life line any more
            cut.wait(60)
            Path(sys.argv[1], f"left-{os.getpid()}").touch()
        """)
    )
    (tmp_path / "parent.py").write_text(
        textwrap.dedent("""
            import asyncio, os, sys
            from runner.workers.pool import Pool
            command = [sys.executable, sys.argv[1] + "/child.py", sys.argv[1]]
            asyncio.run(Pool(command, env=os.environ, processes=2, grace_s=5).run())
        """)
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(tmp_path)], env=env)
    try:
        wait_for(lambda: len(pids(tmp_path, "born")) == 2)
        assert not pids(tmp_path, "left")
        parent.send_signal(end)
        wait_for(lambda: pids(tmp_path, "left") == pids(tmp_path, "born"))
    finally:
        parent.kill()
        parent.wait()


def wait_for(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)
