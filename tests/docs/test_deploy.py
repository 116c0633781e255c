"""The files in deploy/ are taken by the programs they are for."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.servers import HOST, ROOT, Process, RabbitServer, RedisServer, binary, plain_environment

DEPLOY = ROOT / "deploy"


class DeployedRedis(RedisServer):
    """Started from deploy/redis.conf; only where it listens and writes is the test's."""

    def launch(self) -> Process:
        placed = ["--bind", HOST, "--port", str(self.port), "--dir", str(self.home)]
        argv = [binary("redis-server", "redis-server"), str(DEPLOY / "redis.conf"), *placed]
        return Process(argv, home=self.home, env=plain_environment(self.home), log=self.home / "redis.log")


class DeployedRabbit(RabbitServer):
    """Started from deploy/rabbitmq.conf; only where it listens is the test's."""

    def _write_configuration(self) -> None:
        super()._write_configuration()
        placed = f"listeners.tcp.1 = {HOST}:{self.port}\n"
        (self.home / "rabbitmq.conf").write_text(placed + (DEPLOY / "rabbitmq.conf").read_text())


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[DeployedRedis]:
    server = DeployedRedis(tmp_path / "redis", {}).start_anywhere()
    yield server
    server.kill()


def test_redis_takes_its_settings_and_keeps_the_promises_assumptions(redis: DeployedRedis) -> None:
    with Redis.from_url(redis.url, decode_responses=True) as client:
        names = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy", "maxmemory")
        settings = client.config_get(*names)
    assert settings.pop("maxmemory") != "0"
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
    }


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_rabbitmq_takes_its_settings(tmp_path: Path) -> None:
    server = DeployedRabbit(tmp_path / "rabbitmq")
    try:
        server.start_anywhere()
        assert server.answers()
    finally:
        server.kill()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").iterdir()), ids=lambda path: path.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    there = tmp_path / unit.name
    there.write_text(unit.read_text().replace("/opt/runner/bin/runner", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(there)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert unit.name not in done.stderr, done.stderr


def grace_and_patience() -> Iterator[tuple[str, int, int]]:
    compose = (DEPLOY / "compose.yaml").read_text()
    found = re.search(r'command: \["worker", "--grace", "(\d+)".*?\].*?stop_grace_period: (\d+)s', compose, re.DOTALL)
    assert found
    yield "compose.yaml", int(found[1]), int(found[2])
    unit = (DEPLOY / "systemd/runner-worker@.service").read_text()
    found = re.search(r"runner worker --grace (\d+).*?TimeoutStopSec=(\d+)", unit, re.DOTALL)
    assert found
    yield "runner-worker@.service", int(found[1]), int(found[2])


@pytest.mark.parametrize(("where", "grace", "patience"), list(grace_and_patience()))
def test_nobody_is_killed_before_handing_back(where: str, grace: int, patience: int) -> None:
    assert patience >= grace + 10, where


def test_the_image_gets_what_its_build_reads() -> None:
    kept = set(re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
    project = (ROOT / "pyproject.toml").read_text()
    assert {"pyproject.toml", "uv.lock", "runner", "workers", "scheduler"} <= kept
    assert set(re.findall(r'"([A-Z]+(?:\.md)?)"', re.search(r"only-include = (.*)", project)[1])) <= kept
    assert all((ROOT / name).exists() for name in kept)
