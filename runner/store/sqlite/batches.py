"""Running operations in transactions: a batch shares one, and a failure stays with the one that caused it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from runner.errors import ConfigError, StoreUnavailable
from runner.log import Logger
from runner.store.sqlite.session import Session
from runner.store.sqlite.topics import Word

log = Logger("runner.store")
T = TypeVar("T")

Operation = Callable[[Session], Any]


class DiskFull(StoreUnavailable):
    """There is no room left on the disk; nothing was written."""


class Connection:
    """What is opened, worked with and given back."""

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


class Batches:
    """Writes through one connection; one call at a time."""

    def __init__(self, connection: Connection, clock: Callable[[], int], where: str) -> None:
        self._db = connection.db
        self._ns = connection.ns
        self._clock = clock
        self._where = where

    def alone(self, operation: Callable[[Session], T]) -> tuple[T, list[Word]]:
        """Run one operation in a transaction of its own. Returns its answer and the words to publish; raises its error."""
        session = Session(self._db, self._ns, self._clock())
        try:
            self._db.execute("BEGIN IMMEDIATE")
            answer = operation(session)
            self._db.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            made = translated(error, self._where)
            if made is error:
                raise
            log.error("store.write_failed", store=self._where, error=str(error))
            raise made from error
        return answer, session.words

    def write(self, batch: list[Asked]) -> list[Word]:
        """Run a batch in one transaction; each has its answer or its error then. Returns the words to publish."""
        if len(batch) == 1:
            return self._single(batch[0])
        words: list[Word] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for asked in batch:
                words += self._one(asked)
            self._db.execute("COMMIT")
        except Exception:  # noqa: BLE001 - a caller must never wait for an answer that nobody gives
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            # Nothing of it happened: each on its own, so that only the cause fails.
            return [word for asked in batch for word in self._single(asked)]
        return words

    def _single(self, asked: Asked) -> list[Word]:
        asked.answer = asked.error = None
        try:
            asked.answer, words = self.alone(asked.operation)
        except Exception as error:  # noqa: BLE001 - it belongs to the caller
            asked.error = error
            return []
        return words

    def _one(self, asked: Asked) -> list[Word]:
        session = Session(self._db, self._ns, self._clock())
        asked.answer = asked.error = None
        self._db.execute("SAVEPOINT one")
        try:
            asked.answer = asked.operation(session)
        except Exception as error:
            if not self._db.in_transaction:
                raise  # SQLite has rolled everything back: a full disk does that
            self._db.execute("ROLLBACK TO one")
            asked.error = translated(error, self._where)
            session.words.clear()
        self._db.execute("RELEASE one")
        return session.words


def translated(error: BaseException, where: str) -> BaseException:
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


def not_opened(error: BaseException, where: str) -> BaseException:
    """Why a file could not be opened, with the cure; anything that is not SQLite's stays what it is."""
    match error:
        case sqlite3.Error(sqlite_errorname="SQLITE_BUSY" | "SQLITE_LOCKED" | "SQLITE_FULL"):
            return translated(error, where)
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
