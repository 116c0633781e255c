"""A TCP proxy that loses replies, or holds everything, on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Self

from tests.servers import HOST


class Proxy:
    """Stands before a server. Use as a context manager; ``url`` leads through it."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._pipes: set[asyncio.Task[None]] = set()
        self._lose = 0
        self._open = asyncio.Event()
        self._open.set()
        self.lost = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.url = f"redis://{HOST}:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await self._server.wait_closed()

    def lose_replies(self, count: int) -> None:
        """The server does what the next commands ask, and the connection breaks instead of the answer."""
        self._lose = count

    def hold(self) -> None:
        """From now on nothing passes, in either direction, and no connection breaks."""
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)
        async with _closing(writer):
            # The server may be away: then the caller's connection just ends. And a handler that ends cancelled
            # is an error to asyncio's streams.
            with suppress(OSError, asyncio.CancelledError):
                await self._join(reader, writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(HOST, self._upstream)
        async with _closing(up_writer):
            await _until_one_ends(
                self._pass(reader, up_writer, replies=False), self._pass(up_reader, writer, replies=True)
            )

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, replies: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                await self._open.wait()
                if replies and self._lose:
                    self._lose -= 1
                    self.lost += 1
                    return
                target.write(data)
                await target.drain()


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _until_one_ends(*ways: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
