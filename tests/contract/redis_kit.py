"""Short words for the tests of what only Redis has to get right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis import Redis

from runner.store.redis import RedisStore
from tests.contract.kit import part

Opened = Callable[..., Awaitable[RedisStore]]


@asynccontextmanager
async def opening(namespace: str) -> AsyncIterator[Opened]:
    """Opens stores on servers, and closes them in the end."""
    stores: list[RedisStore] = []

    async def opened(url: str, **settings: float) -> RedisStore:
        store = RedisStore(url, namespace=namespace, **settings)
        stores.append(store)
        await store.open()
        return store

    yield opened
    for store in stores:
        await store.close()


def home(store: RedisStore, id: str = "e-1") -> str:
    """What the keys of an execution's partition begin with."""
    return f"runner:{{{store.namespace}:{part(store, id)}}}:"


def fill(admin: Redis) -> None:
    """Put the server's memory limit below what it uses."""
    admin.config_set("maxmemory", "1mb")
    assert admin.info("memory")["used_memory"] > 1024 * 1024
