"""Inside the door of ``runner dev``: the process that holds the file lets other commands use its store."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from runner.cli.carried import inward, outward
from runner.cli.wire import LONGEST_LINE, METHODS, Refused, Request, address_of, door_of, line_of
from runner.client import Client
from runner.errors import RunnerError
from runner.log import Logger
from runner.store import Store

log = Logger("runner.dev")

#: How soon it is noticed that a listener has hung up.
_HANG_UP_S = 1.0


@asynccontextmanager
async def open_door(file: Path, client: Client) -> AsyncGenerator[None]:
    """Serve the client's store until left, and announce what visitors change.

    The caller holds the file's lock: a socket that is there is a dead process's.
    """
    path = door_of(file)
    path.unlink(missing_ok=True)
    visitors: set[asyncio.Task[None]] = set()

    def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(reader, writer, client))
        visitors.add(task)
        task.add_done_callback(visitors.discard)

    server = await asyncio.start_unix_server(visit, sock=_bound(path), limit=LONGEST_LINE)
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
        with address_of(path) as address:
            opened.bind(address)
        # Before it listens nobody can connect: there is no moment at which others could.
        path.chmod(0o600)
    except BaseException:
        opened.close()
        raise
    return opened


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: Client) -> None:
    try:
        while line := await reader.readline():
            request = msgspec.json.decode(line, type=Request)
            if request.method == "subscribe":
                await _stream(reader, writer, client.store, msgspec.json.decode(request.params, type=str))
            else:
                writer.write(await _answer(request, client))
                await writer.drain()
    except (ConnectionError, ValueError, msgspec.MsgspecError) as error:
        log.warning("door.visitor_lost", error=str(error))
    finally:
        writer.close()


async def _answer(request: Request, client: Client) -> bytes:
    try:
        asked = msgspec.json.decode(request.params, type=METHODS[request.method][0])
        return line_of({"ok": outward(await _do(request.method, inward(asked), client))})
    except KeyError:
        return line_of(
            {"error": Refused("UsageError", f"`runner dev` has no method {request.method!r}: another version?")}
        )
    except RunnerError as error:
        return line_of({"error": Refused(type(error).__name__, str(error))})


async def _do(method: str, asked: Any, client: Client) -> Any:
    store = client.store
    match method:
        case "hello":
            return store.namespace
        case "start":
            started = await store.start(asked)
            await client.announce(*started)
            return started
        case "deliver" | "operate":
            done = await getattr(store, method)(asked)
            await client.announce(done)
            return done
        case "fsck":
            return await client.fsck(asked)
        case "audit":
            return [row.pack() for row in await store.audit(asked)]
        case "now" | "leader" | "vitals" | "backlog" | "losses" | "forget_losses":
            return await getattr(store, method)()
        case "standing" | "schedules" | "drop_schedule":
            return await getattr(store, method)(*asked)
        case _:
            return await getattr(store, method)(asked)


async def _stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, store: Store, topic: str) -> None:
    """Words, until the other side hangs up."""
    words = await store.subscribe(topic)
    try:
        writer.write(line_of({"ok": None}))
        while not reader.at_eof():
            await writer.drain()
            word = await words.next(_HANG_UP_S)
            if word is not None:
                writer.write(line_of({"ok": word}))
    finally:
        await words.close()
