"""Watches the event loop from outside it: names what blocks it, and ends a process that no longer turns."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable

from runner.clock import boot_ms
from runner.log import Logger

log = Logger("runner.loopwatch")

#: Exit code of a process whose loop hung: the supervisor starts another.
EXIT_STALLED = 70
#: Where steps and the code of workflows run, they are what blocks a loop.
STEPS = "make the step a plain `def` (it then runs in a thread), or await instead of blocking"


class LoopWatch:
    """Ticks on the loop, looks from a thread.

    After ``warn_ms`` without a tick the running step is named in a warning; after ``stall_ms`` ``alive`` is
    False, so that leases are not renewed any more, and the process exits with all stacks printed.
    """

    def __init__(
        self,
        *,
        warn_ms: int = 1_000,
        stall_ms: int = 10_000,
        cure: str = STEPS,
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        self._warn_ms = warn_ms
        self._stall_ms = stall_ms
        self._cure = cure
        self._leave = leave
        self._ticked = boot_ms()
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._thread = threading.Thread(target=self._watch, name="runner-loopwatch", daemon=True)

    def start(self) -> None:
        """Called on the loop that is to be watched."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._tick()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def alive(self) -> bool:
        """True while the loop has ticked lately."""
        return boot_ms() - self._ticked < self._stall_ms

    def _tick(self) -> None:
        self._ticked = boot_ms()
        if self._loop is not None and not self._stopping.is_set():
            self._loop.call_later(self._warn_ms / 4000, self._tick)

    def _watch(self) -> None:
        warned = 0
        looked = boot_ms()
        while not self._stopping.wait(self._warn_ms / 4000):
            if boot_ms() - looked > self._warn_ms:
                self._ticked = boot_ms()  # this thread slept too: the process was stopped, the loop is not to blame
            looked = boot_ms()
            ticked = self._ticked
            if boot_ms() - ticked >= self._stall_ms:
                self._give_up()
            if boot_ms() - ticked >= self._warn_ms and ticked != warned:
                warned = ticked
                self._warn()

    def _warn(self) -> None:
        task = asyncio.current_task(self._loop) if self._loop else None
        log.warning(
            "loop.blocked",
            blocked_ms=boot_ms() - self._ticked,
            by=task.get_name() if task else "unknown",
            at=self._innermost(),
            cure=self._cure,
        )

    def _innermost(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way to see another thread
        if frame is None:
            return "unknown"
        last = traceback.extract_stack(frame)[-1]
        return f"{last.filename}:{last.lineno} in {last.name}"

    def _give_up(self) -> None:
        log.error("loop.stalled", stalled_ms=boot_ms() - self._ticked, at=self._innermost())
        faulthandler.dump_traceback(all_threads=True)
        self._leave(EXIT_STALLED)
