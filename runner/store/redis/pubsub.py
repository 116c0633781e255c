"""One connection for all topics a process listens to. It dies in silence, so it is pinged; it comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import Any

from redis.asyncio.connection import AbstractConnection

from runner.errors import StoreUnavailable
from runner.log import Logger
from runner.store.keys import Keys
from runner.store.redis.connection import Endpoint
from runner.store.redis.failures import is_refusal, reason, translate

log = Logger("runner.store.redis")

#: A ping leaves this often; a connection on which nothing came for two of them is dead.
PING_S = 5.0
BACKOFF_FIRST_S, BACKOFF_LAST_S = 0.05, 1.0
#: Words kept for a listener that does not listen; the oldest go first, as words can be lost anyway.
MAX_WORDS = 1_000


class Topic:
    """What comes on one topic, for one listener."""

    def __init__(self, hub: PubSub, channel: bytes) -> None:
        self._hub = hub
        self._channel = channel
        self._words: asyncio.Queue[str] = asyncio.Queue(MAX_WORDS)

    async def next(self, timeout: float) -> str | None:
        """The next word, or None when ``timeout`` seconds passed without one."""
        with contextlib.suppress(TimeoutError, asyncio.QueueEmpty):
            if not self._words.empty():
                return self._words.get_nowait()
            async with asyncio.timeout(timeout):
                return await self._words.get()
        return None

    async def close(self) -> None:
        await self._hub.forget(self._channel, self)

    def hear(self, word: str) -> None:
        if self._words.full():
            self._words.get_nowait()
        self._words.put_nowait(word)


class PubSub:
    """Keeps the connection and hands each word to whoever listens to its topic."""

    def __init__(self, endpoint: Endpoint, keys: Keys, patience_s: float) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._patience_s = patience_s
        self._topics: defaultdict[bytes, set[Topic]] = defaultdict(set)
        self._in_force: set[bytes] = set()
        # Each waits for its own topic: a thousand may begin to listen at once, and must not all wake for each other.
        self._changes: defaultdict[bytes, set[asyncio.Future[None]]] = defaultdict(set)
        self._to_send: asyncio.Queue[tuple[str | bytes, ...]] = asyncio.Queue()
        self._keeper: asyncio.Task[None] | None = None
        self._refusal: StoreUnavailable | None = None
        self._trouble = ""  # what the last attempt to connect ended with

    async def subscribe(self, topic: str) -> Topic:
        """In force when it returns. Raises StoreUnavailable when that takes longer than the patience."""
        channel = self._keys.channel(topic).encode()
        listener = Topic(self, channel)
        self._topics[channel].add(listener)
        self._refusal = None
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        self._to_send.put_nowait(("SUBSCRIBE", channel))
        try:
            await self._wait_until_in_force(channel)
        except BaseException:
            await self.forget(channel, listener)
            raise
        return listener

    async def forget(self, channel: bytes, listener: Topic) -> None:
        listeners = self._topics.get(channel, set())
        listeners.discard(listener)
        if channel in self._topics and not listeners:
            del self._topics[channel]
            self._in_force.discard(channel)
            self._to_send.put_nowait(("UNSUBSCRIBE", channel))

    async def close(self) -> None:
        if self._keeper is not None:
            await _end(self._keeper)
            self._keeper = None
        self._topics.clear()

    async def _wait_until_in_force(self, channel: bytes) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                while not (channel in self._in_force or self._refusal):
                    await self._change_of(channel)
        except TimeoutError:
            said = f": {self._trouble}" if self._trouble else ""
            raise StoreUnavailable(f"{self._endpoint.name} did not answer for {self._patience_s:g} s{said}") from None
        if self._refusal:
            raise self._refusal

    async def _change_of(self, channel: bytes) -> None:
        change = asyncio.get_running_loop().create_future()
        self._changes[channel].add(change)
        try:
            await change
        finally:
            self._changes[channel].discard(change)
            if not self._changes[channel]:
                del self._changes[channel]

    def _changed(self, channel: bytes) -> None:
        for change in self._changes.get(channel, ()):
            if not change.done():
                change.set_result(None)

    async def _keep(self) -> None:
        """Connect, subscribe to all that is wanted, listen until it breaks; again."""
        delay = BACKOFF_FIRST_S
        while True:
            connection = self._endpoint.connection()
            try:
                await self._session(connection)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next connection may do better
                if is_refusal(error):
                    self._refuse(error)
                    if not self._topics:
                        return
                    self._in_force.clear()  # a password may be changed back: who listens already must hear again
                self._trouble = reason(error, self._endpoint.tls)
                if self._in_force:
                    log.info("store.subscriptions_lost", url=self._endpoint.name, error=self._trouble)
                delay = BACKOFF_FIRST_S if self._in_force else min(delay * 2, BACKOFF_LAST_S)
            finally:
                self._in_force.clear()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay)

    async def _session(self, connection: AbstractConnection) -> None:
        await connection.connect()  # type: ignore[no-untyped-call]
        while not self._to_send.empty():
            self._to_send.get_nowait()
        if self._topics:
            await connection.send_command("SUBSCRIBE", *self._topics)
        reading = asyncio.create_task(self._read(connection))
        writing = asyncio.create_task(self._write(connection))
        try:
            done, _ = await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            await _end(reading)
            await _end(writing)

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            words: tuple[str | bytes, ...] = ("PING",)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_S):
                    words = await self._to_send.get()
            await connection.send_command(*words)

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            reply = await connection.read_response(timeout=2 * PING_S)
            if reply is None:
                raise OSError("nothing came, not even the answer to a ping")
            await self._take(reply)

    async def _take(self, reply: Any) -> None:
        match reply:
            case [b"message", bytes(channel), bytes(word)]:
                for listener in self._topics.get(channel, ()):
                    listener.hear(word.decode(errors="replace"))
            case [b"subscribe", bytes(channel), _]:
                if channel in self._topics:
                    self._in_force.add(channel)
                    self._changed(channel)
            case _:
                pass  # an answer to a ping, or to a subscription that ended

    def _refuse(self, error: Exception) -> None:
        said = translate(error, self._endpoint.name, self._endpoint.tls)
        self._refusal = said if isinstance(said, StoreUnavailable) else StoreUnavailable(str(said))
        for channel in self._changes:
            self._changed(channel)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancelled until it has ended: ``wait_for``, which the library writes with, can swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
    if not task.cancelled():
        task.exception()  # seen: who ends it does not want to know
