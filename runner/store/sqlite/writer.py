"""The thread that owns the connection. What is asked while it writes is written together next.

One transaction, and so one fsync, carries a whole batch; a savepoint per operation keeps a failure to
the one that caused it. Answers and words go out only after the commit.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

from runner.errors import ConfigError, StoreClosed, StoreUnavailable
from runner.log import Logger
from runner.store.sqlite.session import Session
from runner.store.sqlite.topics import Topics

log = Logger("runner.store")
T = TypeVar("T")

#: Operations in one transaction: enough to share an fsync, few enough that the first need not wait long.
BATCH = 256

Operation = Callable[[Session], Any]


class DiskFull(StoreUnavailable):
    """There is no room left on the disk; nothing was written."""


class Connection:
    """What the thread opens, works with and gives back."""

    def __init__(self, db: sqlite3.Connection, ns: int, give_back: Callable[[], None]) -> None:
        self.db = db
        self.ns = ns
        self.give_back = give_back


class Asked:
    """One operation in the queue, and where its answer goes."""

    __slots__ = ("answer", "error", "future", "operation")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.future: Future[Any] = Future()
        self.answer: Any = None
        self.error: BaseException | None = None


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
            self.opened.set_exception(_not_opened(error, self._where))
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
        while batch := self._next_batch():
            try:
                self._topics.publish(self._write(connection, batch))
                for asked in batch:
                    if asked.error is None:
                        asked.future.set_result(asked.answer)
                    else:
                        asked.future.set_exception(asked.error)
            finally:
                self._abandon(batch)

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

    def _write(self, connection: Connection, batch: list[Asked]) -> list[tuple[str, str]]:
        """Run a batch in one transaction. Returns the words to publish."""
        db = connection.db
        words: list[tuple[str, str]] = []
        try:
            db.execute("BEGIN IMMEDIATE")
            for asked in batch:
                words += self._one(connection, asked)
            db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - a caller must never wait for an answer that nobody gives
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            return self._blame(connection, batch, error)
        return words

    def _one(self, connection: Connection, asked: Asked) -> list[tuple[str, str]]:
        session = Session(db=connection.db, ns=connection.ns, now=self._clock())
        asked.answer = asked.error = None
        connection.db.execute("SAVEPOINT one")
        try:
            asked.answer = asked.operation(session)
        except Exception as error:
            if not connection.db.in_transaction:
                raise  # SQLite has rolled everything back: a full disk does that
            connection.db.execute("ROLLBACK TO one")
            asked.error = _translated(error, self._where)
            session.words.clear()
        connection.db.execute("RELEASE one")
        return session.words

    def _blame(self, connection: Connection, batch: list[Asked], error: Exception) -> list[tuple[str, str]]:
        """The whole transaction failed and nothing of it happened: each on its own, so that only the cause fails."""
        if len(batch) > 1:
            return [word for asked in batch for word in self._write(connection, [asked])]
        log.error("store.write_failed", store=self._where, error=str(error))
        batch[0].error = _translated(error, self._where)
        return []


def _translated(error: BaseException, where: str) -> BaseException:
    """SQLite's errors while the store works, in the project's words; anything else stays what it is."""
    match error:
        case sqlite3.Error(sqlite_errorname="SQLITE_FULL"):
            made: BaseException = DiskFull(f"no room is left for {where}: free some space; nothing was lost")
        case sqlite3.Error():
            made = StoreUnavailable(f"the store on {where} does not work: {error}")
        case _:
            return error
    made.__cause__ = error
    return made


def _not_opened(error: BaseException, where: str) -> BaseException:
    """Why a file could not be opened, with the cure; anything that is not SQLite's stays what it is."""
    match error:
        case sqlite3.Error(sqlite_errorname="SQLITE_BUSY" | "SQLITE_LOCKED" | "SQLITE_FULL"):
            return _translated(error, where)
        case sqlite3.Error(sqlite_errorname="SQLITE_CANTOPEN" | "SQLITE_READONLY" | "SQLITE_PERM"):
            made = ConfigError(f"{where} cannot be opened for writing ({error}): give a file in a folder of your own")
        case sqlite3.Error():
            made = ConfigError(
                f"{where} is damaged or no SQLite database ({error}): restore it from a backup, "
                f"or move it away together with its -wal and -shm files to begin with an empty one"
            )
        case _:
            return error
    made.__cause__ = error
    return made
