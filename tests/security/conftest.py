"""One locked Redis and one locked RabbitMQ for all tests in here that a process runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.secured import Papers, SecuredRabbit, SecuredRedis


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers.issued(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="session")
def locked_redis(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[SecuredRedis]:
    server = SecuredRedis(tmp_path_factory.mktemp("locked") / "redis", papers).start_anywhere()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def locked_rabbit(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[SecuredRabbit]:
    server = SecuredRabbit(tmp_path_factory.mktemp("locked") / "rabbitmq", papers).start_anywhere()
    yield server
    server.kill()
