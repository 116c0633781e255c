"""Probes for whoever watches over a process: does it live, and can it work? HTTP, with JSON for bodies.

``GET /livez``: 200 whenever the event loop turns, whatever the servers do: what does not answer is to be started again.
``GET /readyz``: 200 when the process can do its work, else 503, with the reason in the body: it is to be waited for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Self

from runner.errors import ConfigError
from runner.log import Logger

log = Logger("runner.health")

HOST = "127.0.0.1"
#: A request is a line and a few headers: who sends more is refused, who takes longer, or is one too many, hung up on.
REQUEST_BYTES = 8_192
REQUEST_S = 5.0
AT_ONCE = 16

#: What ``/readyz`` says. Its ``ready`` is what counts, the rest tells why.
Facts = Mapping[str, Any]
Check = Callable[[], Awaitable[Facts]]
_Answer = tuple[HTTPStatus, Facts]


async def _starting() -> Facts:
    return {"ready": False, "reason": "it is starting"}


class Health:
    """``async with Health(8001) as health: ...; health.check = ready``: until then it says that it is starting.

    Port 0 takes any that is free. Raises ConfigError when it cannot listen there.
    """

    def __init__(self, port: int, host: str = HOST) -> None:
        self.host = host
        self.port = port
        self.check: Check = _starting
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=REQUEST_BYTES)
        except OSError as error:
            raise ConfigError(
                f"health: cannot listen on {self.host}:{self.port} ({error.strerror}): "
                "give another --health-port, or end whoever has it"
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]
        log.info("health.listening", host=self.host, port=self.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._answering:
            task.cancel()
        if self._answering:
            await asyncio.wait(self._answering)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._answering) == AT_ONCE:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of the server is a task
        self._answering.add(task)
        try:
            async with asyncio.timeout(REQUEST_S):
                writer.write(_response(*await self._answer(reader)))
                await writer.drain()
        except (TimeoutError, OSError, EOFError, asyncio.CancelledError):
            pass  # it went away or does not get on, or we leave (which asyncio 3.11 would report as an error)
        finally:
            self._answering.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> _Answer:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        match head.split(b"\r\n", 1)[0].split(b" "):
            case [b"GET", b"/livez", _]:
                return HTTPStatus.OK, {"live": True}
            case [b"GET", b"/readyz", _]:
                facts = await self._facts()
                return (HTTPStatus.OK if facts["ready"] else HTTPStatus.SERVICE_UNAVAILABLE), facts
            case [b"GET", _, _]:
                return _refusal(HTTPStatus.NOT_FOUND)
            case [_, _, _]:
                return _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
            case _:
                return _refusal(HTTPStatus.BAD_REQUEST)

    async def _facts(self) -> Facts:
        try:
            return await self.check()
        except Exception as error:
            # Whatever the check stumbles over, the answer must come: silence would have a live process killed.
            log.exception("health.check_failed")
            return {"ready": False, "reason": type(error).__name__}


def _refusal(status: HTTPStatus) -> _Answer:
    return status, {"error": status.phrase}


def _response(status: HTTPStatus, facts: Facts) -> bytes:
    body = json.dumps(facts).encode() + b"\n"
    head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n".encode() + body
