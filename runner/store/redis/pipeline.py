"""All commands of one event-loop tick in one write: concurrency costs neither round trips nor connections.

A caller awaits a future. What it waits for is sent and read by a task of ours, which no caller can cancel:
a reply that nobody reads would be taken for the answer to the next command.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable

from runner.errors import StoreClosed, StoreUnavailable
from runner.store.redis.connection import Call, Endpoint, Health, Link, Reply, Word, pack
from runner.store.redis.failures import is_passing, reason, translate
from runner.store.redis.scripts import Script

#: Batches in flight at once, each on a connection of its own.
LINKS = 4
#: A batch holds the server's one thread for no longer than this many commands take.
MAX_BATCH = 500
BACKOFF_FIRST_S, BACKOFF_LAST_S = 0.02, 0.5


class Pipeline:
    """Sends commands in batches and asks again for as long as ``patience_s`` lasts."""

    def __init__(self, endpoint: Endpoint, health: Health, patience_s: float) -> None:
        self.written = 0  # batches sent so far
        self._endpoint = endpoint
        self._health = health
        self._patience_s = patience_s
        self._waiting: deque[Call] = deque()
        self._idle = [Link(endpoint, health) for _ in range(LINKS)]
        self._links = tuple(self._idle)
        self._flushes: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._closed = False

    async def run(self, script: Script, prefix: str, *arguments: Word) -> Reply:
        """The script's answer. Safe to repeat is what every script of ours is, so it is repeated.

        Raises StoreUnavailable when the patience ran out, Overloaded, or what else the server refused.
        """
        return await self._ask(("EVALSHA", script.sha, 1, prefix, *arguments), script)

    async def command(self, *words: Word) -> Reply:
        """As ``run``, for a plain command that is safe to repeat."""
        return await self._ask(words, None)

    def open(self) -> None:
        self._closed = False

    async def close(self) -> None:
        """Ends the connections once what was sent has been answered; what waits is refused."""
        self._closed = True
        self._refuse(self._waiting, ConnectionError("the store was closed"))
        self._waiting.clear()
        if self._flushes:
            await asyncio.wait(self._flushes)
        for link in self._links:
            await link.close()

    async def _ask(self, words: tuple[Word, ...], script: Script | None) -> Reply:
        packed = pack(words)  # here: a text that cannot be encoded must harm its own caller, not the batch
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        delay, last = BACKOFF_FIRST_S, None
        while True:
            self._refuse_when_closed()
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._put(Call(packed, loop.create_future(), script))
            except TimeoutError:
                raise self._gave_up(last) from None
            except Exception as error:  # noqa: BLE001 - what it means is judged here
                if not is_passing(error):
                    raise translate(error, self._endpoint.name, self._endpoint.tls) from None
                last = error
            self._refuse_when_closed()  # before the patience: a closed store must not look like one that is away
            pause = delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
            if loop.time() + pause > deadline:
                raise self._gave_up(last)
            await asyncio.sleep(pause)
            delay = min(delay * 2, BACKOFF_LAST_S)

    def _gave_up(self, last: Exception | None) -> StoreUnavailable:
        error = last or TimeoutError("no answer")
        self._health.away(error)
        said = reason(error, self._endpoint.tls)
        return StoreUnavailable(f"{self._endpoint.name} did not answer for {self._patience_s:g} s: {said}")

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StoreClosed(f"{self._endpoint.name}: this store was closed")

    def _put(self, call: Call) -> asyncio.Future[Reply]:
        self._waiting.append(call)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)
        return call.answer

    def _flush(self) -> None:
        """Send what has come together; with every connection busy it goes on coming together."""
        self._scheduled = False
        while self._waiting and self._idle:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            # Whoever gave up before it was sent does not want it any more.
            wanted = [call for call in batch if not call.answer.done()]
            if wanted:
                # The last to come back is the first to go: little load needs one connection.
                task = asyncio.create_task(self._send(self._idle.pop(), wanted))
                self._flushes.add(task)
                task.add_done_callback(self._flushes.discard)

    async def _send(self, link: Link, batch: list[Call]) -> None:
        self.written += 1
        try:
            replies = await link.exchange(batch)
        except Exception as error:  # noqa: BLE001 - each caller gets it, and judges it
            if is_passing(error):
                self._health.away(error)
            self._refuse(batch, error)
        else:
            self._health.back()
            for call, reply in zip(batch, replies, strict=True):
                self._settle(call, reply)
        finally:
            self._idle.append(link)
            if self._waiting:
                self._flush()

    @staticmethod
    def _settle(call: Call, reply: Reply) -> None:
        if call.answer.done():
            return
        if isinstance(reply, Exception):
            call.answer.set_exception(reply)
        else:
            call.answer.set_result(reply)

    @classmethod
    def _refuse(cls, calls: Iterable[Call], error: Exception) -> None:
        for call in calls:
            cls._settle(call, error)
