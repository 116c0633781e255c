"""How a process is asked to leave: once politely, twice in a hurry, three times and it is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from runner.cli.exits import Exit
from runner.log import Logger

log = Logger("runner.process")

#: Beyond the grace for leaving in good order, this long for the rest; then the process ends whatever hangs.
MARGIN_S = 3.0
#: Threads that have nothing left to do end within this time.
_THREAD_S = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """``async with Stopping(grace_s) as stopping: ...; await stopping.asked(hurry)``.

    A signal before ``asked`` cancels the block: nothing has been taken on yet. From then on the first one ends the
    wait, the second calls ``hurry``, the third ends the process with 130; so does the end of the grace. ``ask`` is the
    process's own wish: it ends the wait, and hurries nobody, however often it is told.
    """

    def __init__(self, grace_s: float, *, leave: Callable[[int], None] = os._exit) -> None:
        self._grace_s = grace_s
        self._leave = leave
        self._asked = asyncio.Event()
        self._waiting = False
        self._signals = 0
        self._hurry: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._starting = asyncio.current_task()
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._signalled, signal.Signals(number).name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)
        return kind is asyncio.CancelledError and self._asked.is_set()

    async def asked(self, hurry: Callable[[], None]) -> None:
        """Wait until somebody asks this process to leave."""
        self._hurry = hurry
        self._waiting = True
        await self._asked.wait()

    def ask(self, why: str) -> None:
        """Leave in good order."""
        log.info("process.stopping", because=why, signals=self._signals)
        self._begin()

    def _signalled(self, name: str) -> None:
        """Leave, faster each time. Only somebody outside, who sees how long it takes, can want that."""
        self._signals += 1
        self.ask(name)
        if self._signals == 2:
            self._hurry()
        elif self._signals > 2:
            self._leave(Exit.INTERRUPTED)

    def _begin(self) -> None:
        if self._asked.is_set():
            return
        # Not stopped when the block is left: what hangs may come after it, such as a thread that asyncio waits for.
        self._timer = threading.Timer(self._grace_s + MARGIN_S, self._out_of_time)
        self._timer.daemon = True
        self._timer.start()
        self._asked.set()
        if not self._waiting and self._starting is not None:
            self._starting.cancel()

    def _out_of_time(self) -> None:
        # From a thread: what hangs may be the loop itself, or a step's thread that Python would wait for.
        log.error("process.out_of_time", grace_s=self._grace_s)
        self._leave(Exit.INTERRUPTED)


def leave_threads_behind(code: int = Exit.OK) -> None:
    """End the process here when threads would keep it: a step in a thread cannot be stopped, only handed back.

    To be called when all else has ended.
    """
    staying = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
    for thread in staying:
        thread.join(_THREAD_S / len(staying))
    names = [thread.name for thread in staying if thread.is_alive()]
    if names:
        log.warning("process.threads_left_behind", threads=names)
        sys.stdout.flush()
        os._exit(code)
