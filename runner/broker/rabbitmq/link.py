"""One connection to RabbitMQ with one channel: opened, used and, at the first doubt, dropped; never repaired.

The channels are those of the library's lower layer (aiormq). The upper one keeps callbacks of every closed
channel for as long as its connection lives, 4 KiB each, and takes one for every question asked of a broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

import aio_pika
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError

from runner.apart import keep, leave_behind
from runner.broker.rabbitmq.address import Address
from runner.errors import BrokerUnavailable, RunnerError
from runner.tls import Tls

#: Seconds. A silent peer is noticed after three times one more than this.
HEARTBEAT = 10

#: Seconds until a connection stands, until an answer to a request is here, until a goodbye is given up.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 5.0
CLOSE_TIMEOUT = 5.0

T = TypeVar("T")


class Link:
    """Use ``channel`` to publish with confirms or to consume, ``spare()`` for what may close its channel."""

    def __init__(self, connection: aio_pika.abc.AbstractConnection, channel: AbstractChannel) -> None:
        self.channel = channel
        #: Done, with the reason in words, as soon as the connection or the channel is gone.
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connection = connection
        for closing in (channel.closing, channel.connection.closing):
            closing.add_done_callback(self._on_closing)

    @property
    def alive(self) -> bool:
        return not self.lost.done()

    def lose(self, reason: str) -> None:
        """Declare it lost; whoever waits for ``lost`` drops it."""
        if self.alive:
            self.lost.set_result(reason)

    @asynccontextmanager
    async def spare(self) -> AsyncGenerator[AbstractChannel]:
        """A channel of its own: declaring what does not fit, or asking for what is missing, closes it."""
        channel = await self.spare_channel()
        try:
            yield channel
        finally:
            await self.close_spare(channel)

    async def spare_channel(self) -> AbstractChannel:
        """As ``spare``, for whoever calls ``close_spare`` in time."""
        opening = self.channel.connection.channel(publisher_confirms=False, timeout=ANSWER_TIMEOUT)
        return await bounded(ANSWER_TIMEOUT, opening)

    @staticmethod
    async def close_spare(channel: AbstractChannel) -> None:
        with suppress(Exception):
            await bounded(CLOSE_TIMEOUT, channel.close())

    def drop(self) -> None:
        """Close without waiting: a connection that is in doubt may take its time to go."""
        self.lose("dropped")
        keep(asyncio.get_running_loop().create_task(self.close()))

    async def close(self) -> None:
        """Close in bounded time; what was delivered and not settled goes back. Raises nothing."""
        self.lose("closed")
        await _farewell(self._connection)

    def _on_closing(self, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else closing.exception()
        self.lose(in_words(error) if error is not None else "closed")


async def dial(address: Address, role: str) -> Link:
    """A fresh connection and channel. Raises BrokerUnavailable, with the cure."""
    with translated(address, "connect to"):
        connecting = aio_pika.connect(
            address.url, client_properties={"connection_name": f"runner {role}"}, heartbeat=HEARTBEAT
        )
        connection = await bounded(CONNECT_TIMEOUT, connecting)
        try:
            opening = _lower(connection).channel(publisher_confirms=True, on_return_raises=True)
            return Link(connection, await bounded(ANSWER_TIMEOUT, opening))
        except BaseException:
            keep(asyncio.get_running_loop().create_task(_farewell(connection)))
            raise


async def bounded(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of a library call, or TimeoutError: on time, whatever the library does when it is cancelled.

    A cancelled request first writes a farewell to its channel, and that waits for ever when the broker does
    not read. So the call runs apart, and is left behind. The library also cancels calls of its own accord
    when a connection goes; that must not look like a cancellation of ours.
    """
    call = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait({call}, timeout=seconds)
    finally:
        if not call.done():
            leave_behind(call)
    if not call.done():
        raise TimeoutError(f"no answer within {seconds:g} s")
    if call.cancelled():
        raise ConnectionError("the connection closed meanwhile")
    return call.result()


@contextmanager
def translated(address: Address, doing: str) -> Generator[None]:
    """The library raises from five families of exceptions; to our callers all mean the same."""
    try:
        yield
    except RunnerError:
        raise
    except Exception as error:
        raise BrokerUnavailable(f"cannot {doing} RabbitMQ at {address.masked}: {_cure(error, address.tls)}") from error


def in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _cure(error: Exception, tls: Tls) -> str:
    match error:
        case ProbableAuthenticationError():
            return "wrong user or password"
        case ChannelAccessRefused():
            return f"this user may not do that ({error})"
        case TimeoutError():
            return (
                f"{str(error) or 'no answer in time'}: is it overloaded, out of memory or disk, or behind a firewall?"
            )
        case _ if "Connection.OpenOk" in str(error):
            return "the virtual host does not exist, or this user may not enter it"
        case _ if (said := tls.cured(str(error))) != str(error):
            return said
        case ConnectionError() | OSError():
            return f"{error}: is it running, and are host and port right?"
        case _:
            return in_words(error)


def _lower(connection: aio_pika.abc.AbstractConnection) -> AbstractConnection:
    if connection.transport is None:
        raise ConnectionError("the connection closed meanwhile")
    return connection.transport.connection


async def _farewell(connection: aio_pika.abc.AbstractConnection) -> None:
    with suppress(Exception):
        await bounded(CLOSE_TIMEOUT, _closing(connection))


async def _closing(connection: aio_pika.abc.AbstractConnection) -> None:
    await connection.close()
