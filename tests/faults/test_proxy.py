"""The proxy itself: what each misbehaviour does, seen from both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from tests.faults.proxy import Proxy, Way
from tests.servers import HOST

Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Reach = Callable[..., Awaitable[Connected]]


class Echo:
    """A server that answers every line with itself, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while line := await reader.readline():
                self.asked.append(line)
                writer.write(line)
        except ConnectionResetError:
            pass
        finally:
            self.connections -= 1
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    one = Echo()
    server = await asyncio.start_server(one.serve, HOST, 0)
    one.url = f"tcp://{HOST}:{server.sockets[0].getsockname()[1]}/"  # type: ignore[attr-defined]
    yield one
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with Proxy(echo.url, name="test", seed=1) as one:  # type: ignore[attr-defined]
        yield one


@pytest.fixture
async def reach(proxy: Proxy) -> AsyncIterator[Reach]:
    """Connects through a proxy; the connections are closed with the test."""
    opened: list[Connected] = []

    async def connect(through: Proxy = proxy) -> Connected:
        opened.append(await asyncio.open_connection(HOST, int(through.url.rsplit(":", 1)[1].strip("/"))))
        return opened[-1]

    yield connect
    for _, writer in opened:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def ask(connected: Connected, line: bytes) -> bytes:
    connected[1].write(line)
    async with asyncio.timeout(20):
        return await connected[0].readline()


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not met():
            await asyncio.sleep(0.005)


async def is_broken(connected: Connected) -> bool:
    try:
        async with asyncio.timeout(20):
            return await connected[0].readline() == b""
    except ConnectionResetError:
        return True


async def test_it_passes_everything_also_much_at_once(proxy: Proxy, reach: Reach) -> None:
    connected = await reach()
    assert await ask(connected, b"one\n") == b"one\n"
    await asyncio.gather(*(_many(reach) for _ in range(5)))
    assert (proxy.accepted, proxy.broken, proxy.lost) == (6, 0, 0)


async def _many(reach: Reach) -> None:
    reader, writer = await reach()
    lines = [b"%d" % number * 50 + b"\n" for number in range(3_000)]
    writer.write(b"".join(lines))
    async with asyncio.timeout(60):
        assert [await reader.readline() for _ in lines] == lines


async def test_a_cut_resets_both_sides_and_new_connections_pass(proxy: Proxy, echo: Echo, reach: Reach) -> None:
    connected = await reach()
    await ask(connected, b"one\n")
    proxy.cut()
    assert await is_broken(connected)
    await until(lambda: echo.connections == 0)
    assert await ask(await reach(), b"two\n") == b"two\n"
    assert proxy.broken == 1


async def test_what_is_refused_never_reaches_the_server(proxy: Proxy, echo: Echo, reach: Reach) -> None:
    proxy.refuse()
    connected = await reach()
    connected[1].write(b"one\n")
    assert await is_broken(connected)
    assert (echo.asked, proxy.refused) == ([], 1)
    proxy.heal()
    assert await ask(await reach(), b"two\n") == b"two\n"


async def test_what_is_stalled_arrives_late_also_when_its_sender_has_gone(
    proxy: Proxy, echo: Echo, reach: Reach
) -> None:
    stays, goes = await reach(), await reach()
    await ask(stays, b"before\n")
    await ask(goes, b"before\n")
    proxy.stall()
    stays[1].write(b"patient\n")
    goes[1].write(b"late\n")
    goes[1].close()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await stays[0].readline()
    assert echo.asked == [b"before\n", b"before\n"]
    proxy.let_go()
    assert await stays[0].readline() == b"patient\n"
    await until(lambda: b"late\n" in echo.asked)
    await until(lambda: echo.connections == 1)
    assert proxy.broken == 0


async def test_half_open_the_server_hears_and_is_not_heard(proxy: Proxy, echo: Echo, reach: Reach) -> None:
    connected = await reach()
    await ask(connected, b"before\n")
    proxy.stall(Way.DOWN)
    connected[1].write(b"heard\n")
    await until(lambda: echo.asked == [b"before\n", b"heard\n"])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await connected[0].readline()
    proxy.heal()
    assert await connected[0].readline() == b"heard\n"


async def test_a_lost_reply_was_carried_out_and_breaks_the_connection(proxy: Proxy, echo: Echo, reach: Reach) -> None:
    connected = await reach()
    await ask(connected, b"before\n")
    proxy.lose_replies(1)
    connected[1].write(b"done\n")
    assert await is_broken(connected)
    assert echo.asked == [b"before\n", b"done\n"]
    assert await ask(await reach(), b"after\n") == b"after\n"
    assert proxy.lost == 1


async def test_the_reply_to_one_request_is_lost(proxy: Proxy, echo: Echo, reach: Reach) -> None:
    connected = await reach()
    proxy.lose_reply_to(b"two")
    assert await ask(connected, b"one\n") == b"one\n"
    connected[1].write(b"two\n")
    assert await is_broken(connected)
    assert await ask(await reach(), b"two\n") == b"two\n"
    assert (echo.asked, proxy.lost) == ([b"one\n", b"two\n", b"two\n"], 1)


async def test_a_share_of_the_replies_is_lost_by_chance(proxy: Proxy, reach: Reach) -> None:
    proxy.lose_replies(share=0.3)
    answered = [await _answered(reach) for _ in range(100)]
    assert proxy.lost == answered.count(False)
    assert 5 < proxy.lost < 70


async def _answered(reach: Reach) -> bool:
    connected = await reach()
    connected[1].write(b"asked\n")
    try:
        return await connected[0].readline() == b"asked\n"
    except ConnectionResetError:
        return False


async def test_what_is_slow_keeps_its_order_and_takes_its_time(proxy: Proxy, reach: Reach) -> None:
    connected = await reach()
    proxy.slow(0.05, 0.05)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(5):
        connected[1].write(b"%d\n" % number)
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        assert [await connected[0].readline() for _ in range(5)] == [b"%d\n" % number for number in range(5)]
    assert loop.time() - begun >= 0.1
    proxy.slow(0, bytes_per_s=10_000)
    begun = loop.time()
    await ask(connected, b"x" * 999 + b"\n")
    assert loop.time() - begun >= 0.2


async def test_a_server_that_is_away_ends_the_connection(proxy: Proxy, reach: Reach) -> None:
    async with Proxy(f"tcp://{HOST}:1/") as leads_nowhere:
        assert await is_broken(await reach(leads_nowhere))
