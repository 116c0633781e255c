"""The thread that owns a file. What is asked while it writes is written together next.

One transaction, and so one fsync, carries a whole batch. Answers and words go out only after the commit.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TypeVar

from runner.errors import StoreClosed, StoreUnavailable
from runner.log import Logger
from runner.store.sqlite.batches import Asked, Batches, Connection, not_opened
from runner.store.sqlite.session import Session
from runner.store.sqlite.topics import Topics

log = Logger("runner.store")
T = TypeVar("T")

#: Operations in one transaction: enough to share an fsync, few enough that the first need not wait long.
BATCH = 256


class Writer:
    """Opens the connection in a thread of its own, and works off what is asked until it is closed."""

    def __init__(self, where: str, open: Callable[[], Connection], clock: Callable[[], int], topics: Topics) -> None:
        self._where = where
        self._open = open
        self._clock = clock
        self._topics = topics
        self._queue: deque[Asked] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.opened: Future[None] = Future()
        self.closed: Future[None] = Future()
        for future in (self.opened, self.closed):
            # Nobody may cancel these: a thread that cannot say "opened" would keep the lock for ever.
            future.set_running_or_notify_cancel()
        threading.Thread(target=self._run, name="runner-sqlite", daemon=True).start()

    def ask(self, operation: Callable[[Session], T]) -> Future[T]:
        """Queue an operation. From any thread; the future fails with StoreClosed once it is closed."""
        asked = Asked(operation)
        with self._changed:
            if self._closing:
                asked.future.set_exception(StoreClosed(f"the store on {self._where} is closed"))
            else:
                self._queue.append(asked)
                self._changed.notify()
        return asked.future

    async def answer(self, operation: Callable[[Session], T]) -> T:
        """The operation's answer, or its error."""
        return await asyncio.wrap_future(self.ask(operation))

    def wait(self, operation: Callable[[Session], T], timeout: float) -> T:
        """As ``answer``, for a caller that blocks. Raises TimeoutError."""
        return self.ask(operation).result(timeout)

    def close(self) -> Future[None]:
        """Work off what was asked, then give everything back. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        return self.closed

    # -- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            connection = self._open()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the opener
            self.close()
            self.opened.set_exception(not_opened(error, self._where))
        else:
            self.opened.set_result(None)
            self._work_and_leave(connection)
        self.closed.set_result(None)

    def _work_and_leave(self, connection: Connection) -> None:
        """Work until it is closed. Whatever stops the thread, nobody waits for an answer that it cannot give."""
        try:
            self._work(connection)
        except BaseException as error:  # noqa: BLE001 - there is nobody above to tell
            log.error("store.thread_died", store=self._where, error=repr(error))
        finally:
            self.close()
            self._abandon(self._queue)
            try:
                connection.give_back()
            except Exception as error:  # noqa: BLE001 - who closes must hear of the end all the same
                log.error("store.not_given_back", store=self._where, error=repr(error))

    def _work(self, connection: Connection) -> None:
        batches = Batches(connection, self._clock, self._where)
        while batch := self._next_batch():
            try:
                self._topics.publish(batches.write(batch))
                for asked in batch:
                    if asked.error is None:
                        asked.future.set_result(asked.answer)
                    else:
                        asked.future.set_exception(asked.error)
            except BaseException:
                self._abandon(batch)
                raise

    def _abandon(self, left: Iterable[Asked]) -> None:
        for asked in left:
            with suppress(InvalidStateError):  # it has its answer, or its caller has gone
                asked.future.set_exception(StoreUnavailable(f"the store on {self._where} broke down"))

    def _next_batch(self) -> list[Asked]:
        """What was asked meanwhile; empty when it is time to close."""
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                taken = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            if not taken:
                return []
            # One whose caller has gone is dropped here; from here on its caller can go no more.
            if batch := [asked for asked in taken if asked.future.set_running_or_notify_cancel()]:
                return batch
