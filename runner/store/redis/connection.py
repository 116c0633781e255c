"""Connections to one server, made our way: no retries of the library's own, finite timeouts, bytes in and out."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from redis import Redis
from redis import exceptions as redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from runner.errors import ConfigError
from runner.log import Logger
from runner.store.redis.failures import reason
from runner.store.redis.scripts import Script
from runner.tls import Tls
from runner.urls import masked

log = Logger("runner.store.redis")

SOCKET_TIMEOUT_S = 3.0
CONNECT_TIMEOUT_S = 2.0

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_URL_OPTIONS = frozenset({"db", *_FILES, "ssl_password"})
#: Other ways to write what we do anyway.
_URL_SETTINGS = frozenset({("ssl_cert_reqs", "required"), ("ssl_check_hostname", "True")})

Word = str | bytes | int
#: What the server answers, as the library decodes it: bytes, int, None or a list of these.
Reply = Any


class Endpoint:
    """A server and how to reach it.

    The library would resend commands that got no answer, ten times; our own layer does the asking
    again, because it knows what is safe to repeat.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = masked(url)
        try:
            self._check_options()
            self.tls = Tls.of(url, *_FILES)
            self.tls.check_files()
            self._pool = ConnectionPool.from_url(
                url, **self._options(), retry=AsyncRetry(NoBackoff(), 0), driver_info=None
            )
        except ValueError as error:
            raise ConfigError(f"{self.name} is no usable Redis URL: {error}") from None

    def _check_options(self) -> None:
        """The library lets a URL overrule what it is called with: timeouts, decoding, and whether to verify."""
        for option, value in parse_qsl(urlsplit(self.url).query, keep_blank_values=True):
            if option not in _URL_OPTIONS and (option, value) not in _URL_SETTINGS:
                raise ConfigError(
                    f"{self.name}: the option {option!r} is not supported in a Redis URL (these are: "
                    f"{', '.join(sorted(_URL_OPTIONS))}; certificates are always verified)"
                )

    @staticmethod
    def _options() -> dict[str, Any]:
        return {
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "decode_responses": False,
            "protocol": 2,
        }

    def connection(self) -> AbstractConnection:
        """A connection of the caller's own, not yet connected."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    def blocking_client(self) -> Redis:
        """A synchronous client for a thread of its own."""
        return Redis.from_url(self.url, **self._options(), retry=Retry(NoBackoff(), 0), driver_info=None)


class Health:
    """Counts how often the server was found away or restarted; ``restarted`` is told when it is another process."""

    def __init__(self, endpoint: Endpoint, restarted: Callable[[], None] = lambda: None) -> None:
        self.interruptions = 0
        self._restarted = restarted
        self._name = endpoint.name
        self._tls = endpoint.tls
        self._run_id = b""
        self._is_away = False

    def away(self, error: Exception) -> None:
        """Called for every attempt that finds it away, so that the count moves for as long as it lasts."""
        self.interruptions += 1
        if not self._is_away:
            self._is_away = True
            log.warning("store.connection_lost", url=self._name, error=reason(error, self._tls))

    def back(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("store.connection_back", url=self._name)

    def met(self, run_id: bytes) -> None:
        if self._run_id and run_id != self._run_id:
            self.interruptions += 1
            log.warning("store.restarted", url=self._name)
            self._run_id = run_id  # before anybody asks again
            self._restarted()
        self._run_id = run_id


def pack(words: Sequence[Word]) -> bytes:
    """A command as it travels. (The library's own packing costs five times as much, and half of a call in all.)"""
    pieces = [b"*%d\r\n" % len(words)]
    for word in words:
        piece = word if isinstance(word, bytes) else str(word).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(piece), piece))
    return b"".join(pieces)


class Call:
    """One command on its way; ``answer`` is the reply or the error that came for it."""

    __slots__ = ("answer", "packed", "script")

    def __init__(self, packed: bytes, answer: asyncio.Future[Reply], script: Script | None = None) -> None:
        self.packed = packed
        self.answer = answer
        self.script = script


class Link:
    """One connection that carries batches: all of a batch is written at once, then all replies are read."""

    def __init__(self, endpoint: Endpoint, health: Health) -> None:
        self._connection = endpoint.connection()
        self._health = health

    async def exchange(self, calls: Sequence[Call]) -> list[Reply]:
        """The replies in order; an error that the server answered is a reply like others.

        A script that the server does not know (any more) is loaded, and only the calls it refused
        for that are sent again. Raises a redis error when the connection did not carry the batch: all
        of it may have been executed.
        """
        try:
            await self._connect()
            replies = await self._converse([call.packed for call in calls])
            await self._heal(calls, replies)
        except TimeoutError:
            await self.close()
            raise redis.TimeoutError("no answer in time") from None
        except BaseException:
            # A reply that was not read would be taken for the answer to the next command.
            await self.close()
            raise
        if any(isinstance(reply, redis.ReadOnlyError) for reply in replies):
            await self.close()  # a replica now: connect afresh to find the new primary
        return replies

    async def close(self) -> None:
        with contextlib.suppress(redis.RedisError, OSError):
            await self._connection.disconnect(nowait=True)

    async def _connect(self) -> None:
        if not self._connection.is_connected:
            await self._connection.connect()  # type: ignore[no-untyped-call]
            (info,) = await self._converse([pack(("INFO", "server"))])
            if isinstance(info, Exception):
                raise info
            self._health.met(field_of(info, b"run_id"))

    async def _heal(self, calls: Sequence[Call], replies: list[Reply]) -> None:
        missing = [place for place, reply in enumerate(replies) if isinstance(reply, redis.NoScriptError)]
        if not missing:
            return
        wanted = {call.script.sha: call.script for place in missing if (call := calls[place]).script}
        log.debug("store.scripts_loaded", scripts=sorted(script.name for script in wanted.values()))
        await self._converse([pack(("SCRIPT", "LOAD", script.source)) for script in wanted.values()])
        again = await self._converse([calls[place].packed for place in missing])
        for place, reply in zip(missing, again, strict=True):
            replies[place] = reply

    async def _converse(self, commands: Sequence[bytes]) -> list[Reply]:
        await self._connection.send_packed_command(commands)
        async with asyncio.timeout(SOCKET_TIMEOUT_S):
            return [await self._reply() for _ in commands]

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response(timeout=math.inf)
        except redis.ResponseError as error:
            return error


def field_of(info: bytes, name: bytes) -> bytes:
    """One field of an INFO answer; empty when it is not there."""
    for line in info.splitlines():
        key, _, value = line.partition(b":")
        if key == name:
            return value
    return b""
