"""Outside the door of ``runner dev``: the store behind it, as far as a client uses one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from runner import errors
from runner.cli.carried import inward, outward
from runner.cli.wire import LONGEST_LINE, METHODS, Answer, Refused, address_of, door_of, line_of
from runner.errors import ConfigError, InfrastructureError, RunnerError, StoreClosed, StoreUnavailable
from runner.fsck import FsckReport
from runner.records import (
    AuditEntry,
    ChildLink,
    Execution,
    Filter,
    History,
    Leadership,
    Page,
    Schedule,
    WorkerInfo,
)
from runner.store.standing import Standing
from runner.store.vitals import Durability, Losses, StoreVitals
from runner.transactions import (
    Deliver,
    Delivered,
    Operate,
    Operated,
    Start,
    Started,
)

_ANSWER_S = 30.0


class DoorStore:
    """The part of a store that a client uses, through the door of the process that holds the file."""

    partitions = 0
    interruptions = 0

    def __init__(self, file: Path, line: _Line, namespace: str) -> None:
        self.namespace = namespace
        self._file = file
        self._line = line
        self._asking = asyncio.Lock()

    @classmethod
    async def find(cls, file: Path) -> Self | None:
        """None when nobody is behind the door."""
        line = await _Line.to(file)
        if line is None:
            return None
        return cls(file, line, await line.ask("hello", None))

    async def open(self) -> None:
        """Found is open."""

    async def close(self) -> None:
        await self._line.close()

    async def start(self, starts: Sequence[Start]) -> list[Started]:
        started: list[Started] = await self._ask("start", starts)
        return started

    async def deliver(self, deliver: Deliver) -> Delivered:
        delivered: Delivered = await self._ask("deliver", deliver)
        return delivered

    async def record(self, id: str) -> Execution | None:
        execution: Execution | None = await self._ask("record", id)
        return execution

    async def read(self, id: str) -> History | None:
        history: History | None = await self._ask("read", id)
        return history

    async def executions(self, filter: Filter) -> Page:
        page: Page = await self._ask("executions", filter)
        return page

    async def operate(self, operate: Operate) -> Operated:
        operated: Operated = await self._ask("operate", operate)
        return operated

    async def audit(self, id: str) -> tuple[AuditEntry, ...]:
        rows: list[bytes] = await self._ask("audit", id)
        return tuple(AuditEntry.unpack(id, row) for row in rows)

    async def children(self, id: str) -> tuple[ChildLink, ...]:
        links: list[ChildLink] = await self._ask("children", id)
        return tuple(links)

    async def fsck(self, repair: bool) -> FsckReport:
        """Carried out behind the door, where the store is."""
        report: FsckReport = await self._ask("fsck", repair)
        return report

    async def workers(self, within_ms: int) -> list[WorkerInfo]:
        workers: list[WorkerInfo] = await self._ask("workers", within_ms)
        return workers

    async def standing(self, id: str, queue: str) -> Standing:
        standing: Standing = await self._ask("standing", (id, queue))
        return standing

    async def leader(self) -> Leadership | None:
        leader: Leadership | None = await self._ask("leader", None)
        return leader

    async def schedule(self, id: str) -> Schedule | None:
        schedule: Schedule | None = await self._ask("schedule", id)
        return schedule

    async def schedules(self, limit: int, after: str = "") -> list[Schedule]:
        schedules: list[Schedule] = await self._ask("schedules", (limit, after))
        return schedules

    async def put_schedules(self, schedules: Sequence[Schedule]) -> list[bool]:
        answers: list[bool] = await self._ask("put_schedules", schedules)
        return answers

    async def drop_schedule(self, id: str, revision: int) -> bool:
        gone: bool = await self._ask("drop_schedule", (id, revision))
        return gone

    async def laid_out(self) -> bool:
        """Somebody works in it: the process behind the door."""
        return True

    async def vitals(self) -> StoreVitals:
        vitals: StoreVitals = await self._ask("vitals", None)
        return vitals

    async def backlog(self) -> Mapping[str, int]:
        backlog: dict[str, int] = await self._ask("backlog", None)
        return backlog

    async def losses(self) -> Losses:
        losses: Losses = await self._ask("losses", None)
        return losses

    async def forget_losses(self) -> None:
        await self._ask("forget_losses", None)

    async def declare(self, durability: Durability | None) -> None:
        await self._ask("declare", durability)

    async def now(self) -> int:
        now: int = await self._ask("now", None)
        return now

    async def subscribe(self, topic: str) -> DoorSubscription:
        line = await _Line.to(self._file)
        if line is None:
            raise _gone(self._file)
        await line.ask("subscribe", topic)
        return DoorSubscription(line)

    async def _ask(self, method: str, params: Any) -> Any:
        async with self._asking:
            return await self._line.ask(method, params)


class DoorSubscription:
    """A topic's words, over a connection of its own."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    async def next(self, timeout: float) -> str | None:
        """The next word, or None when the time is over. Raises StoreClosed when the process has gone."""
        try:
            async with asyncio.timeout(timeout):
                word: str | None = await self._line.answer("subscribe")
        except TimeoutError:
            return None
        return word

    async def close(self) -> None:
        await self._line.close()


class _Line:
    """A connection to the door."""

    def __init__(self, file: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._file = file
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, file: Path) -> Self | None:
        """None when there is no door, or nobody behind it."""
        try:
            with address_of(door_of(file)) as address:
                reader, writer = await asyncio.open_unix_connection(address, limit=LONGEST_LINE)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError:
            raise ConfigError(f"{file} belongs to a `runner dev` of another user") from None
        return cls(file, reader, writer)

    async def ask(self, method: str, params: Any) -> Any:
        """Raises what the store behind the door raised, or StoreUnavailable."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                self._writer.write(line_of({"method": method, "params": outward(params)}))
                await self._writer.drain()
                return await self.answer(method)
        except TimeoutError:
            raise StoreUnavailable(f"the process that holds {self._file} did not answer for {_ANSWER_S:g} s") from None
        except ConnectionError:
            raise _gone(self._file) from None

    async def answer(self, method: str) -> Any:
        """The next answer on this line."""
        line = await self._reader.readline()
        if not line:
            raise _gone(self._file)
        try:
            answer = msgspec.json.decode(line, type=Answer)
            if answer.error is None:
                return inward(msgspec.json.decode(answer.ok, type=METHODS[method][1]))
        except msgspec.MsgspecError as error:
            raise InfrastructureError(f"the process that holds {self._file} is of another version: {error}") from None
        raise _raised(answer.error)

    async def close(self) -> None:
        self._writer.close()


def _raised(error: Refused) -> RunnerError:
    """The error as it was behind the door, where its class needs no more than a message."""
    cls = getattr(errors, error.type, None)
    if isinstance(cls, type) and issubclass(cls, RunnerError) and cls.__init__ is Exception.__init__:
        return cls(error.message)
    return InfrastructureError(error.message)


def _gone(file: Path) -> StoreClosed:
    return StoreClosed(f"the process that held {file} has gone; what was started goes on when `runner dev` runs")
