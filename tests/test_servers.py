"""The servers of the tests keep what they say: data over a kill, nothing after a wipe, nobody left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.servers import (
    ROOT,
    RedisServer,
    ServerError,
    binary,
    port_is_free,
    start_redis,
)


async def test_redis_keeps_acknowledged_data_over_a_kill(own_redis: RedisServer) -> None:
    async with Redis.from_url(own_redis.url) as redis:
        await redis.set("kept", "yes")
    own_redis.kill()
    assert port_is_free(own_redis.port)
    own_redis.start()
    async with Redis.from_url(own_redis.url) as redis:
        assert await redis.get("kept") == b"yes"


async def test_a_paused_redis_is_silent_and_goes_on_when_resumed(own_redis: RedisServer) -> None:
    async with Redis.from_url(own_redis.url) as redis:
        await redis.ping()
        own_redis.pause()
        answer = asyncio.ensure_future(redis.ping())
        await asyncio.sleep(0.3)
        assert not answer.done()
        own_redis.resume()
        assert await answer


async def test_redis_takes_settings(tmp_path: Path) -> None:
    server = start_redis(tmp_path, maxmemory="9mb")
    try:
        async with Redis.from_url(server.url) as redis:
            assert (await redis.config_get("maxmemory"))["maxmemory"] == str(9 * 2**20)
            assert (await redis.config_get("appendfsync"))["appendfsync"] == "always"
    finally:
        server.kill()


def test_nothing_is_left_when_the_process_that_started_a_server_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from tests.servers import start_redis\n"
        f"server = start_redis(pathlib.Path({str(tmp_path)!r}))\n"
        "print(server.port, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        port = int(starter.stdout.readline())
        assert not port_is_free(port)
        os.kill(starter.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not port_is_free(port):
        assert time.monotonic() < deadline, "the server outlived the process that started it"
        time.sleep(0.05)


def test_a_missing_binary_names_its_package() -> None:
    with pytest.raises(ServerError, match="apt-get install some-package"):
        binary("no-such-binary-anywhere", "some-package")
