"""A supervised pool of worker processes: what ends unasked is started again, and all leave together.

A child is the same command with one process. It dies with its parent, however that goes: its standard input is a
pipe whose other end only the parent holds (see Lifeline).
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runner.log import Logger

log = Logger("runner.pool")

#: The pause before a child is started again: it doubles with every short life, up to the second figure.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 30.0
#: A child that lived this long was well: the next failure counts as the first.
STEADY_S = 60.0
#: A child that left in good order (it was recycled) is replaced at once, unless it does so all the time.
BRIEF_S = 5.0
#: A child is given this long beyond its grace before it is killed: it ends itself a little earlier.
MARGIN_S = 5.0
#: The exit code of a child whose arguments, app or configuration are wrong: starting it again would not help.
EXIT_USAGE = 2
#: How a child ends that was asked to: by itself, or before it had even begun to listen.
_GOOD = (0, -signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the child again after a pause; ``failures`` short lives in a row so far."""

    after_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The place stays empty: the pool is stopping."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No child can work: the whole pool ends with this code."""

    code: int


Action = Restart | Leave | GiveUp


def after_exit(code: int, *, lived_s: float, failures: int, first: bool, stopping: bool) -> Action:
    """What follows the end of a child. ``first``: it was the first in its place."""
    if stopping:
        return Leave()
    if code == EXIT_USAGE and first and lived_s < STEADY_S:
        return GiveUp(code)
    if code == 0 and lived_s >= BRIEF_S:
        return Restart(0.0, 0)
    so_far = 0 if lived_s >= STEADY_S else failures
    return Restart(pause_s(so_far), so_far + 1)


def pause_s(failures: int) -> float:
    """The pause after ``failures`` earlier failures in a row."""
    return min(FIRST_PAUSE_S * 2.0 ** min(failures, 16), LAST_PAUSE_S)


class Pool:
    """``await Pool(command, env=..., processes=4, grace_s=30).run()``; ``own``: arguments of the child in one place."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        processes: int,
        grace_s: float,
        own: Callable[[int], Sequence[str]] = lambda _: (),
    ) -> None:
        self._command = command
        self._own = own
        self._env = env
        self._processes = processes
        self._grace_s = grace_s
        self._children: set[Process] = set()
        self._stopping = asyncio.Event()
        self._codes: list[int] = []  # of the children that left while stopping
        self._gave_up: int | None = None

    async def run(self) -> int:
        """Until stopped; the exit code: 0 when all children left in good order, at most grace and margin after."""
        log.info("pool.started", processes=self._processes, pid=os.getpid())
        await asyncio.gather(*(self._keep(place) for place in range(self._processes)))
        code = self._exit_code()
        log.info("pool.stopped", code=code)
        return code

    def stop(self) -> None:
        """Ask all children to leave (SIGTERM), and start no more. Each further call asks once more."""
        if not self._stopping.is_set():
            self._stopping.set()
            asyncio.get_running_loop().call_later(self._grace_s + MARGIN_S, self._kill)
        for child in self._children:
            _send(child, signal.SIGTERM)

    def _exit_code(self) -> int:
        if self._gave_up is not None:
            return self._gave_up
        return 0 if all(code in _GOOD for code in self._codes) else 1

    async def _keep(self, place: int) -> None:
        """Fill one place, again and again."""
        failures = 0
        first = True
        while not self._stopping.is_set():
            code, lived_s = await self._live(place)
            stopping = self._stopping.is_set()
            match after_exit(code, lived_s=lived_s, failures=failures, first=first, stopping=stopping):
                case Restart(after_s, failures):
                    log.warning("pool.child_ended", place=place, code=code, lived_s=round(lived_s, 1), again_s=after_s)
                    await self._pause(after_s)
                case GiveUp(given):
                    log.error("pool.child_unusable", place=place, code=code)
                    self._gave_up = given
                    self.stop()
                case Leave():
                    self._codes.append(code)
            first = False

    async def _live(self, place: int) -> tuple[int, float]:
        """One child's life: its exit code, and how long it was."""
        loop = asyncio.get_running_loop()
        born = loop.time()
        # A session of its own: Ctrl-C on a terminal reaches the parent only, which passes it on, once.
        command = (*self._command, *self._own(place))
        child = await asyncio.create_subprocess_exec(*command, stdin=PIPE, env=self._env, start_new_session=True)
        self._children.add(child)
        log.info("pool.child_started", place=place, pid=child.pid)
        try:
            if self._stopping.is_set():  # asked while it was being started
                _send(child, signal.SIGTERM)
            return await child.wait(), loop.time() - born
        finally:
            self._children.discard(child)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _kill(self) -> None:
        for child in self._children:
            log.error("pool.child_killed", pid=child.pid, grace_s=self._grace_s)
            _send(child, signal.SIGKILL)


def _send(child: Process, number: int) -> None:
    if child.returncode is None:
        child.send_signal(number)


class Lifeline:
    """A child's side of its parent's life: calls ``cut`` once, on a thread, when the parent is gone."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self._cut = cut
        # The pipe moves away from standard input, so that no step reads it and no grandchild inherits it.
        self._fd = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def start(self) -> None:
        threading.Thread(target=self._watch, name="runner-lifeline", daemon=True).start()

    def _watch(self) -> None:
        # Nobody writes: a read returns at the end of the pipe, when the kernel has closed the parent's side.
        while os.read(self._fd, 1):
            continue
        self._cut()
