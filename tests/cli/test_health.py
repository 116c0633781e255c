"""Probes: what they say while all is well, while it is not, and to whoever asks for too much."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from runner import App, Context, health
from runner.broker.memory import MemoryBroker
from runner.cli import probes
from runner.cli.worker import _health_of
from runner.errors import ConfigError
from runner.health import Facts, Health
from runner.store.sqlite import SqliteStore
from runner.workers import Worker, WorkerOptions
from tests.servers import ROOT, RabbitServer, RedisServer

HOST = "127.0.0.1"


async def say(port: int, words: bytes) -> bytes:
    """What comes back until it is hung up on."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(words)
        return await reader.read()
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def get(port: int, path: str) -> tuple[int, Any]:
    answer = await say(port, f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    assert f"Content-Length: {len(body)}".encode() in head
    return int(head.split()[1]), json.loads(body)


@pytest.fixture
async def one() -> AsyncIterator[Health]:
    async with Health(0) as one:
        yield one


# -- what is answered -----------------------------------------------------------------------------------------


async def test_it_is_alive_from_the_beginning_and_ready_when_it_says_so(one: Health) -> None:
    assert await get(one.port, "/livez") == (200, {"live": True})
    assert await get(one.port, "/readyz") == (503, {"ready": False, "reason": "it is starting"})
    said: Facts = {"ready": True, "leader": False}

    async def check() -> Facts:
        return said

    one.check = check
    assert await get(one.port, "/readyz") == (200, said)
    said = {"ready": False, "store": "away"}
    assert await get(one.port, "/readyz") == (503, said)
    assert await get(one.port, "/livez") == (200, {"live": True})


async def test_a_check_that_breaks_is_not_ready(one: Health) -> None:
    async def check() -> Facts:
        raise ZeroDivisionError

    one.check = check
    assert await get(one.port, "/readyz") == (503, {"ready": False, "reason": "ZeroDivisionError"})


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", 404),
        (b"GET /livez?verbose HTTP/1.1\r\n\r\n", 404),
        (b"POST /livez HTTP/1.1\r\n\r\n", 405),
        (b"hello\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * health.REQUEST_BYTES + b"\r\n\r\n", 431),
        (b"GET /livez" + b"x" * health.REQUEST_BYTES, 431),
    ],
)
async def test_anything_else_is_refused(one: Health, words: bytes, status: int) -> None:
    assert (await say(one.port, words)).startswith(b"HTTP/1.1 %d " % status)
    assert (await get(one.port, "/livez"))[0] == 200


async def test_who_dawdles_is_hung_up_on(one: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_S", 0.1)
    async with asyncio.timeout(10):
        assert await say(one.port, b"GET /livez HTTP/1.1\r\n") == b""


async def test_who_hangs_up_disturbs_nobody(one: Health, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection(HOST, one.port)
    writer.write(b"GET /li")
    await hang_up(writer)
    assert (await get(one.port, "/livez"))[0] == 200
    assert not caplog.records


async def test_who_is_one_too_many_is_hung_up_on_and_the_first_are_served(one: Health) -> None:
    waiting = [await asyncio.open_connection(HOST, one.port) for _ in range(health.AT_ONCE)]
    async with asyncio.timeout(10):
        while len(one._answering) < health.AT_ONCE:
            await asyncio.sleep(0)
        with suppress(ConnectionResetError):
            assert await say(one.port, b"GET /livez HTTP/1.1\r\n\r\n") == b""
        reader, writer = waiting[0]
        writer.write(b"GET /livez HTTP/1.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        assert (await get(one.port, "/livez"))[0] == 200
    for _, writer in waiting:
        await hang_up(writer)


async def test_leaving_waits_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(3):
        async with Health(0) as one:
            reader, writer = await asyncio.open_connection(HOST, one.port)
            writer.write(b"GET /readyz HTTP/1.1\r\n")
            while not one._answering:
                await asyncio.sleep(0)
        with suppress(ConnectionResetError):  # what it had not read yet
            assert await reader.read() == b""
    assert not caplog.records
    await hang_up(writer)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, one.port)


async def test_a_taken_port_is_named_with_the_cure(one: Health) -> None:
    with pytest.raises(ConfigError, match=f"cannot listen on {HOST}:{one.port} .*--health-port"):
        async with Health(one.port):
            pass


# -- who is ready ---------------------------------------------------------------------------------------------


async def test_a_worker_that_leaves_or_has_no_store_is_not_ready() -> None:
    app = App("ready")

    @app.workflow("idle")
    async def idle(ctx: Context) -> None:
        pass

    store, broker = SqliteStore(None, namespace=app.name), MemoryBroker(app.name)
    await store.open()
    await broker.open(["default"])
    async with Worker(app, store, broker, WorkerOptions(watch_loop=False, id="w1")) as worker:
        check = probes.worker_check(worker, store, broker)
        well = {
            "worker": "w1",
            "store": "ok",
            "broker": "ok",
            "consuming": True,
            "draining": False,
            "turns": 0,
            "hung_threads": 0,
        }
        assert await check() == {"ready": True, **well}
        worker._intake.hold_back()  # all slots are taken
        await asyncio.sleep(0)
        assert await check() == {"ready": True, **well}
        await worker.drain()
        assert await check() == {"ready": False, **well, "consuming": False, "draining": True}
        await store.close()
        told = await check()
        assert told["store"] != "ok"
    await broker.close()


def test_each_process_of_a_pool_has_a_port_of_its_own() -> None:
    assert [_health_of(8001, place) for place in range(3)] == [["--health-port", f"800{n}"] for n in (1, 2, 3)]
    assert _health_of(0, 3) == ["--health-port", "0"]
    assert _health_of(None, 3) == []


# -- as processes ---------------------------------------------------------------------------------------------


@pytest.fixture
def shell(shell, redis_url, rabbit_url, namespace):
    shell.env |= {"RUNNER_STORE_URL": redis_url, "RUNNER_BROKER_URL": rabbit_url, "SHOP_NAMESPACE": namespace}
    shell.env |= {"RUNNER_APP": "shop:app", "RUNNER_HEALTH_PORT": "0"}
    return shell


def ports(shell, process, count: int = 1) -> list[int]:
    shell.until(lambda: len(shell.logged(process, "health.listening")) == count, otherwise=lambda: shell.err(process))
    return [entry["port"] for entry in shell.logged(process, "health.listening")]


def probe(port: int, path: str = "/readyz") -> tuple[int, Any]:
    return asyncio.run(get(port, path))


def until_probed(shell, port: int, status: int) -> Any:
    shell.until(lambda: probe(port)[0] == status, otherwise=lambda: str(probe(port)))
    return probe(port)[1]


def test_a_worker_is_ready_until_it_drains(shell) -> None:
    worker = shell.spawn_ready("worker.ready", "worker", "--grace", "60")
    (port,) = ports(shell, worker)
    assert until_probed(shell, port, 200)["consuming"]
    assert shell.run("start", "slow").code == 0
    shell.until((shell.folder / "snoozing").exists)
    assert probe(port)[1]["turns"] == 1
    worker.send_signal(signal.SIGTERM)
    told = until_probed(shell, port, 503)
    assert (told["draining"], told["store"], told["broker"]) == (True, "ok", "ok")
    assert probe(port, "/livez")[0] == 200
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def test_schedulers_are_ready_whether_they_lead_or_stand_by(shell) -> None:
    schedulers = [shell.spawn_ready("scheduler.ready", "scheduler") for _ in range(2)]
    found = [ports(shell, one)[0] for one in schedulers]

    def said() -> list[Any]:
        return [until_probed(shell, port, 200) for port in found]

    shell.until(lambda: sorted(one["leader"] for one in said()) == [False, True], otherwise=lambda: str(said()))
    shell.until(lambda: len({one["leads"] for one in said()}) == 1, otherwise=lambda: str(said()))
    leading = next(one["scheduler"] for one in said() if one["leader"])
    assert {one["leads"] for one in said()} == {leading}


def test_a_pool_is_probed_process_by_process(shell) -> None:
    pool = shell.spawn("worker", "--processes", "2", "--grace", "1")
    found = ports(shell, pool, 2)
    assert len({until_probed(shell, port, 200)["worker"] for port in found}) == 2


def test_a_port_that_is_taken_ends_the_process_with_the_reason(shell) -> None:
    scheduler = shell.spawn_ready("scheduler.ready", "scheduler")
    (port,) = ports(shell, scheduler)
    other = shell.run("scheduler", "--health-port", str(port))
    assert other.code == 2
    assert "--health-port" in other.err
    assert "Traceback" not in other.err


@pytest.mark.slow
def test_a_server_that_is_away_is_named_and_the_process_lives(
    shell, own_redis: RedisServer, own_rabbit: RabbitServer
) -> None:
    shell.env |= {"RUNNER_STORE_URL": own_redis.url, "RUNNER_BROKER_URL": own_rabbit.url}
    worker = shell.spawn_ready("worker.ready", "worker")
    scheduler = shell.spawn_ready("leader.elected", "scheduler")
    (working,), (scheduling,) = ports(shell, worker), ports(shell, scheduler)
    until_probed(shell, working, 200)
    own_redis.pause()
    for port in (working, scheduling):
        assert until_probed(shell, port, 503)["store"] == "no answer in 2 s"
        assert probe(port, "/livez") == (200, {"live": True})
    own_redis.resume()
    for port in (working, scheduling):
        assert until_probed(shell, port, 200)["store"] == "ok"
    own_rabbit.stop()
    told = until_probed(shell, working, 503)
    assert (told["store"], told["consuming"]) == ("ok", False)
    assert "guest:guest" not in told["broker"]
    assert until_probed(shell, scheduling, 200)["store"] == "ok"
    own_rabbit.start()
    assert until_probed(shell, working, 200)["broker"] == "ok"


def test_the_deployed_health_check_asks_the_port_that_is_served(shell) -> None:
    compose = (ROOT / "deploy/compose.yaml").read_text()
    assert (
        set(re.findall(r'"--health-port", "(\d+)"', compose)) == {"8001"} == set(re.findall(r":(\d+)/readyz", compose))
    )
    found = re.search(r'test: \["CMD", "python", "-c", "(.*readyz.*)"\]', compose)
    assert found is not None
    scheduler = shell.spawn_ready("scheduler.ready", "scheduler")
    (port,) = ports(shell, scheduler)
    until_probed(shell, port, 200)

    def check() -> int:
        code = found[1].replace("8001", str(port))
        return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode

    assert check() == 0
    scheduler.kill()
    scheduler.wait()
    assert check() != 0
