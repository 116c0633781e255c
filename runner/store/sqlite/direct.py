"""What is in memory is worked on where it is asked: waking another thread would take longer than the work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from runner.errors import StoreClosed
from runner.store.sqlite.batches import Batches, Connection, not_opened
from runner.store.sqlite.session import Session
from runner.store.sqlite.topics import Topics

T = TypeVar("T")


class Direct:
    """One operation at a time, in the caller's thread; the same face as ``Writer`` has."""

    def __init__(self, where: str, open: Callable[[], Connection], clock: Callable[[], int], topics: Topics) -> None:
        self._where = where
        self._topics = topics
        self._lock = threading.Lock()
        self._closing = False
        self.opened: Future[None] = Future()
        self.closed: Future[None] = Future()
        try:
            self._connection = open()
        except Exception as error:  # noqa: BLE001 - it belongs to the opener
            self._closing = True
            self.closed.set_result(None)
            self.opened.set_exception(not_opened(error, where))
        else:
            self._batches = Batches(self._connection, clock, where)
            self.opened.set_result(None)

    async def answer(self, operation: Callable[[Session], T]) -> T:
        """The operation's answer, or its error."""
        # Whoever asks again and again must not keep the loop from everybody else.
        await asyncio.sleep(0)
        return self._run(operation)

    def wait(self, operation: Callable[[Session], T], timeout: float) -> T:  # noqa: ARG002 - it never takes long
        """As ``answer``, from any thread."""
        return self._run(operation)

    def close(self) -> Future[None]:
        """Give the memory back. Safe to call twice."""
        with self._lock:
            if not self._closing:
                self._closing = True
                self._connection.give_back()
                self.closed.set_result(None)
        return self.closed

    def _run(self, operation: Callable[[Session], T]) -> T:
        with self._lock:
            if self._closing:
                raise StoreClosed(f"the store on {self._where} is closed")
            answer, words = self._batches.alone(operation)
        self._topics.publish(words)
        return answer
