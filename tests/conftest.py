"""Servers for the tests that need real ones. They start on first use, and a missing binary fails the test.

RUNNER_TEST_STORE_URL and RUNNER_TEST_BROKER_URL name servers to use instead of the shared private ones; tests
that stop or break a server start their own in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from tests.servers import RabbitServer, RedisServer, start_rabbitmq, start_redis


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis shared by the whole session: keep to your own `namespace`, and leave it running."""
    if given := os.environ.get("RUNNER_TEST_STORE_URL"):
        yield given
        return
    server = start_redis(tmp_path_factory.mktemp("shared"))
    yield server.url
    server.kill()


@pytest.fixture(scope="session")
def rabbit_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A RabbitMQ shared by the whole session: keep to your own `namespace`, and leave it running."""
    if given := os.environ.get("RUNNER_TEST_BROKER_URL"):
        yield given
        return
    server = start_rabbitmq(tmp_path_factory.mktemp("shared"))
    yield server.url
    server.kill()


@pytest.fixture
def namespace() -> str:
    """A name no other test uses, on these servers or any."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test alone, to be killed, paused and restarted."""
    server = start_redis(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def own_rabbit(tmp_path: Path) -> Iterator[RabbitServer]:
    """A RabbitMQ of this test alone, to be killed, paused, wiped and restarted. Costs about 5 s."""
    server = start_rabbitmq(tmp_path)
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def logging_stays_as_it_was() -> Iterator[None]:
    """Whoever captures logs leaves structlog configured, and the next test's program would print between its lines."""
    configured = structlog.is_configured()
    yield
    if not configured:
        structlog.reset_defaults()
