"""The threads for steps that are plain functions: how many are free, and which nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from runner.log import Logger

log = Logger("runner.worker")

#: A thread that still runs so long after its attempt was given up is hung, in seconds.
HUNG_S = 30.0
#: A body that waits so long for a free thread is said to, in seconds.
WAIT_S = 10.0


class Threads:
    """``on_hung`` is told how many threads are hung, whenever there is one more."""

    def __init__(self, count: int, *, hung_s: float = HUNG_S) -> None:
        self.count = count
        self.on_hung: Callable[[int], None] = lambda _: None
        self._hung_s = hung_s
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="runner-step")
        # A body waits for its thread here, where giving up costs nothing and no timeout runs, not in the pool's queue.
        self._free = asyncio.Semaphore(count)
        self._running: dict[str, asyncio.Future[Any]] = {}  # by the key of what runs
        self._hung: set[asyncio.Future[Any]] = set()

    @property
    def hung(self) -> int:
        """How many threads run for an attempt that was given up long ago: a thread cannot be stopped."""
        return len(self._hung)

    def close(self) -> None:
        """Let go of the threads; those still running are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def take(self, what: str) -> None:
        """Wait for a free thread; ``run`` must follow."""
        late = asyncio.get_running_loop().call_later(WAIT_S, self._say_full, what)
        try:
            await self._free.acquire()
        finally:
            late.cancel()

    async def run(self, key: str, what: str, call: Callable[[], Any]) -> Any:
        """What ``call`` returns in a thread. Cancelled, the thread goes on, and is only no longer waited for."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        self._running[key] = future
        future.add_done_callback(partial(self._ended, key))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                asyncio.get_running_loop().call_later(self._hung_s, self._look_at, future, what)
            raise

    async def until_over(self, key: str) -> None:
        """Wait until nothing runs under this key: two at once would race each other."""
        if key in self._running:
            await asyncio.wait([self._running[key]])

    def _ended(self, key: str, future: asyncio.Future[Any]) -> None:
        if self._running.get(key) is future:
            del self._running[key]
        self._hung.discard(future)
        self._free.release()

    def _look_at(self, future: asyncio.Future[Any], what: str) -> None:
        if not future.done():
            self._hung.add(future)
            log.warning("step.thread_hung", step=what, hung=self.hung, threads=self.count, cure=_CURE)
            self.on_hung(self.hung)

    def _say_full(self, what: str) -> None:
        log.warning("step.waits_for_thread", step=what, threads=self.count, hung=self.hung, cure=_MORE)


_CURE = "give what it calls a time-out of its own: a step's time-out ends the wait for a thread, not the thread"
_MORE = "start workers with more --threads, or make the step an `async def`"
