"""A TCP proxy that stands before a server and misbehaves on request, as networks and machines do.

It forwards in plain protocols, without streams or a task for each direction, so that the load of a test is not the
proxy's. One for each pair of a kind of process and a server lets one side lose what the others still have.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Self, cast
from urllib.parse import urlsplit

from tests.servers import HOST

#: What waits in a direction before its sender is asked to wait, in bytes.
HELD_MAX = 256 * 1024
_RESET = struct.pack("ii", 1, 0)


class Way(Enum):
    """The two directions through a proxy."""

    UP = "up"  # requests, to the server
    DOWN = "down"  # replies, from it


BOTH = (Way.UP, Way.DOWN)


#: What becomes of what a server says on one connection, piece by piece.
Filter = Callable[[bytes], bytes]


class Proxy:
    """Stands before the server of ``url``. Use as a context manager; ``self.url`` leads through it.

    It passes everything until told otherwise; ``heal`` ends every misbehaviour. ``seed`` decides what chance decides.
    """

    def __init__(self, url: str, *, name: str = "", seed: int = 0) -> None:
        parts = urlsplit(url)
        assert parts.port is not None, f"{url} names no port"
        self.name = name
        self.chance = random.Random(seed)
        self.accepted = self.broken = self.lost = self.refused = 0  # connections, connections, replies, connections
        self._url, self._upstream = url, parts.port
        self._pairs: set[_Pair] = set()
        self._reaching: set[asyncio.Task[None]] = set()
        self._filter: Callable[[], Filter] = lambda: bytes
        self.heal()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._accept, HOST, 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._url.replace(f":{self._upstream}", f":{port}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for reaching in self._reaching:
            reaching.cancel()
        await asyncio.gather(*self._reaching, return_exceptions=True)
        await asyncio.sleep(0)  # connections that were broken off are told of it

    # -- misbehaviour -----------------------------------------------------------------------------

    def heal(self) -> None:
        """Pass everything again; what was held goes its way now, late."""
        self.refusing = False
        self.lose_next = 0
        self.lose_share = 0.0
        self.lose_to = b""
        self.latency_s = self.jitter_s = 0.0
        self.bytes_per_s = 0.0
        self._held: frozenset[Way] = frozenset()
        self._flush()

    def cut(self) -> None:
        """Break every connection, on both sides, by a reset. New ones are taken."""
        for pair in tuple(self._pairs):
            pair.reset()

    def refuse(self) -> None:
        """Break every connection, and every new one at once."""
        self.refusing = True
        self.cut()

    def stall(self, *ways: Way) -> None:
        """From now on nothing passes in these directions (both when none is named), and no connection breaks."""
        self._held = frozenset(ways or BOTH)

    def let_go(self) -> None:
        """End a stall: what was held arrives, late, also where its sender has given up meanwhile."""
        self._held = frozenset()
        self._flush()

    def filtered(self, make: Callable[[], Filter]) -> None:
        """What the server says on a new connection goes through a filter of its own, which ``make`` makes."""
        self._filter = make

    def slow(self, latency_s: float, jitter_s: float = 0.0, bytes_per_s: float = 0.0) -> None:
        """Each piece takes so long, in its order; ``bytes_per_s`` 0: no limit."""
        self.latency_s, self.jitter_s, self.bytes_per_s = latency_s, jitter_s, bytes_per_s

    def lose_replies(self, count: int = 0, *, share: float = 0.0) -> None:
        """The server does what is asked, and the connection breaks instead of the answer: to the next ``count``
        answers, and by chance to a ``share`` of those after them."""
        self.lose_next, self.lose_share = count, share

    def lose_reply_to(self, words: bytes) -> None:
        """As ``lose_replies``, to the next request that has these words in it."""
        self.lose_to = words

    # -- asked by the connections -----------------------------------------------------------------

    def asked(self, data: bytes) -> None:
        """A piece of a request has come."""
        if self.lose_to and self.lose_to in data:
            self.lose_to = b""
            self.lose_next += 1

    def holds(self, way: Way) -> bool:
        return way in self._held

    def filter(self) -> Filter:
        return self._filter()

    def loses(self) -> bool:
        """Whether the reply at hand is to be lost."""
        if self.lose_next:
            self.lose_next -= 1
        elif not self.lose_share or self.chance.random() >= self.lose_share:
            return False
        self.lost += 1
        return True

    def delay_s(self, size: int) -> float:
        """How long a piece of so many bytes is on its way."""
        pushed = size / self.bytes_per_s if self.bytes_per_s else 0.0
        return self.latency_s + self.chance.random() * self.jitter_s + pushed

    # -- connections ------------------------------------------------------------------------------

    def _accept(self) -> asyncio.Protocol:
        return _Pair(self).client

    def opened(self, pair: _Pair) -> None:
        if self.refusing:
            self.refused += 1
            pair.reset()
            return
        self.accepted += 1
        self._pairs.add(pair)
        reaching = asyncio.get_running_loop().create_task(self._reach(pair))
        self._reaching.add(reaching)
        reaching.add_done_callback(self._reaching.discard)

    def closed(self, pair: _Pair) -> None:
        self._pairs.discard(pair)

    async def _reach(self, pair: _Pair) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: pair.server, HOST, self._upstream)
        except OSError:  # the server is away: then the caller's connection just ends
            pair.reset()

    def _flush(self) -> None:
        for pair in tuple(self._pairs):
            pair.flush()


class _Pair:
    """One connection through the proxy: the caller's side, the server's, and what is on its way between them."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.filter = proxy.filter()
        self.client = _Side(self, Way.UP)
        self.server = _Side(self, Way.DOWN)
        self.client.other, self.server.other = self.server, self.client

    def flush(self) -> None:
        self.client.pump()
        self.server.pump()

    def reset(self) -> None:
        if self in self.proxy._pairs:
            self.proxy.broken += 1
            self.proxy.closed(self)
        self.client.reset()
        self.server.reset()


class _Side(asyncio.Protocol):
    """One side of a connection: it reads what its peer says, and hands it over when it may pass.

    ``way`` is the direction of what is read here.
    """

    other: _Side

    def __init__(self, pair: _Pair, way: Way) -> None:
        self._pair = pair
        self._way = way
        self._transport: asyncio.Transport | None = None
        self._queue: deque[tuple[float, bytes]] = deque()  # due when, what
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._crowded = False  # our peer does not read what we write
        self._ended = False  # our peer has said all it will
        self._dead = False

    # -- the transport's calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._dead:
            self.reset()
        elif self._way is Way.UP:
            self._pair.proxy.opened(self._pair)
        else:
            self.other.pump()

    def data_received(self, data: bytes) -> None:
        proxy = self._pair.proxy
        if self._way is Way.UP:
            proxy.asked(data)
        elif proxy.loses():
            self._pair.reset()
            return
        elif not (data := self._pair.filter(data)):
            return
        delay_s = proxy.delay_s(len(data))
        if not self._queue and not delay_s and self._may_pass():
            self._hand_over(data)
            return
        before = self._queue[-1][0] if self._queue else 0.0
        self._queue.append((max(before, asyncio.get_running_loop().time() + delay_s), data))
        self._size += len(data)
        self.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._transport = None
        self.pump()

    def pause_writing(self) -> None:
        self._crowded = True
        self.other.settle()

    def resume_writing(self) -> None:
        self._crowded = False
        self.other.pump()

    # -- handing over -----------------------------------------------------------------------------

    def _may_pass(self) -> bool:
        return self.other._transport is not None and not self._pair.proxy.holds(self._way)

    def _hand_over(self, data: bytes) -> None:
        if (target := self.other._transport) is not None:
            target.write(data)

    def pump(self) -> None:
        """Hand over what is due, in order, and come back for the rest."""
        now = asyncio.get_running_loop().time()
        while self._queue and self._may_pass() and self._queue[0][0] <= now:
            _, data = self._queue.popleft()
            self._size -= len(data)
            self._hand_over(data)
        if self._queue and self._may_pass() and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._queue[0][0], self._on_time)
        self.settle()
        # What was said before the end arrives before it; a stall holds the end back as well.
        if self._ended and not self._queue and not self._pair.proxy.holds(self._way):
            self._finish()

    def _on_time(self) -> None:
        self._timer = None
        self.pump()

    def settle(self) -> None:
        """Read on, or not: a peer that sends faster than the other one takes has to wait."""
        if self._transport is None or self._transport.is_closing():
            return
        wanted = not self.other._crowded and self._size < HELD_MAX
        if wanted and not self._transport.is_reading():
            self._transport.resume_reading()
        elif not wanted and self._transport.is_reading():
            self._transport.pause_reading()

    def _finish(self) -> None:
        self._pair.proxy.closed(self._pair)
        if self.other._transport is not None:
            self.other._transport.close()
        else:
            self.other._dead = True  # the server was not reached yet: it need not be any more

    def reset(self) -> None:
        self._dead = self._ended = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (transport := self._transport) is not None:
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
