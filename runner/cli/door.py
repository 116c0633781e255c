"""The door of ``runner dev``: how other commands reach the store whose file it holds.

A Unix socket beside the file, for its owner alone. Each line is a JSON document: a request
``{"method": ..., "params": ...}``, an answer ``{"ok": ...}`` or ``{"error": {"type": ..., "message": ...}}``. The
methods are those of the store that a client calls, with its records as they are; wake-ups are published behind the
door, where the workers are. ``subscribe`` turns its connection into a stream of words.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import structlog

from runner import errors
from runner.errors import ConfigError, InfrastructureError, RunnerError, StoreUnavailable
from runner.records import Deliver, Delivered, Execution, Filter, History, Page, Start, Started, Wake, WorkerInfo
from runner.scheduler.publisher import Publisher
from runner.store import Store

log = structlog.get_logger("runner.dev")

#: What may be asked: the type of the question, and that of the answer.
_METHODS: Mapping[str, tuple[Any, Any]] = {
    "hello": (None, str),
    "start": (list[Start], list[Started]),
    "deliver": (Deliver, Delivered),
    "record": (str, Execution | None),
    "read": (str, History | None),
    "executions": (Filter, Page),
    "workers": (int, list[WorkerInfo]),
    "subscribe": (str, str | None),
}
#: One history in one line; payloads grow by a third on the way.
_LONGEST_LINE = 512 * 1024 * 1024
#: How long an address of a Unix socket may be on every system.
_LONGEST_ADDRESS = 100
_HANG_UP_S = 1.0
_ANSWER_S = 30.0


class _Request(msgspec.Struct, frozen=True):
    method: str
    params: msgspec.Raw


class _Error(msgspec.Struct, frozen=True):
    type: str
    message: str


class _Answer(msgspec.Struct, frozen=True):
    ok: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


def door_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.sock")


# -- inside: the process that holds the file -------------------------------------------------------------


@asynccontextmanager
async def open_door(file: Path, store: Store, publisher: Publisher) -> AsyncIterator[None]:
    """Serve the store until left. The caller holds the file's lock: a socket that is there is a dead process's."""
    path = door_of(file)
    path.unlink(missing_ok=True)
    visitors: set[asyncio.Task[None]] = set()

    def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(reader, writer, store, publisher))
        visitors.add(task)
        task.add_done_callback(visitors.discard)

    server = await asyncio.start_unix_server(visit, sock=_bound(path), limit=_LONGEST_LINE)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        server.close()
        for task in tuple(visitors):
            task.cancel()
        await asyncio.gather(*visitors, return_exceptions=True)


def _bound(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(path) as address:
            opened.bind(address)
        # Before it listens nobody can connect: there is no moment at which others could.
        path.chmod(0o600)
    except BaseException:
        opened.close()
        raise
    return opened


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, store: Store, publisher: Publisher
) -> None:
    try:
        while line := await reader.readline():
            request = msgspec.json.decode(line, type=_Request)
            if request.method == "subscribe":
                await _stream(reader, writer, store, msgspec.json.decode(request.params, type=str))
            else:
                writer.write(await _answer(request, store, publisher))
                await writer.drain()
    except (ConnectionError, ValueError, msgspec.MsgspecError) as error:
        log.warning("door.visitor_lost", error=str(error))
    finally:
        writer.close()


async def _answer(request: _Request, store: Store, publisher: Publisher) -> bytes:
    try:
        asked = msgspec.json.decode(request.params, type=_METHODS[request.method][0])
        return _line({"ok": await _do(request.method, asked, store, publisher)})
    except KeyError:
        return _line(
            {"error": _Error("UsageError", f"`runner dev` has no method {request.method!r}: another version?")}
        )
    except RunnerError as error:
        return _line({"error": _Error(type(error).__name__, str(error))})


async def _do(method: str, asked: Any, store: Store, publisher: Publisher) -> Any:
    match method:
        case "hello":
            return store.namespace
        case "start":
            started = await store.start(asked)
            await _wake([one.wake for one in started], publisher)
            return started
        case "deliver":
            delivered = await store.deliver(asked)
            await _wake([delivered.wake], publisher)
            return delivered
        case _:
            return await getattr(store, method)(asked)


async def _wake(wakes: Sequence[Wake | None], publisher: Publisher) -> None:
    await publisher.publish([wake for wake in wakes if wake is not None])


async def _stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, store: Store, topic: str) -> None:
    """Words, until the other side hangs up."""
    words = await store.subscribe(topic)
    try:
        writer.write(_line({"ok": None}))
        while not reader.at_eof():
            await writer.drain()
            word = await words.next(_HANG_UP_S)
            if word is not None:
                writer.write(_line({"ok": word}))
    finally:
        await words.close()


def _line(document: Any) -> bytes:
    return msgspec.json.encode(document) + b"\n"


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """A name for the socket that is short enough for the system, wherever the file is."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


# -- outside: the other commands ------------------------------------------------------------------------


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

    async def workers(self, within_ms: int) -> list[WorkerInfo]:
        workers: list[WorkerInfo] = await self._ask("workers", within_ms)
        return workers

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
        """The next word, or None when the time is over. Raises StoreUnavailable when the process has gone."""
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
            with _address(door_of(file)) as address:
                reader, writer = await asyncio.open_unix_connection(address, limit=_LONGEST_LINE)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError:
            raise ConfigError(f"{file} belongs to a `runner dev` of another user") from None
        return cls(file, reader, writer)

    async def ask(self, method: str, params: Any) -> Any:
        """Raises what the store behind the door raised, or StoreUnavailable."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                self._writer.write(_line({"method": method, "params": params}))
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
            answer = msgspec.json.decode(line, type=_Answer)
            if answer.error is None:
                return msgspec.json.decode(answer.ok, type=_METHODS[method][1])
        except msgspec.MsgspecError as error:
            raise InfrastructureError(f"the process that holds {self._file} is of another version: {error}") from None
        raise _raised(answer.error)

    async def close(self) -> None:
        self._writer.close()


def _raised(error: _Error) -> RunnerError:
    """The error as it was behind the door, where its class needs no more than a message."""
    cls = getattr(errors, error.type, None)
    if isinstance(cls, type) and issubclass(cls, RunnerError) and cls.__init__ is Exception.__init__:
        return cls(error.message)
    return InfrastructureError(error.message)


def _gone(file: Path) -> StoreUnavailable:
    return StoreUnavailable(f"the process that held {file} has gone; what was started goes on when `runner dev` runs")
