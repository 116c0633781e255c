"""A Redis that is not set to keep what is promised is refused at start-up, and found when it comes back as such."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import structlog
from redis import Redis

from runner import Client
from runner.errors import ConfigError
from runner.store.redis import RedisStore
from runner.store.vitals import NO_DEMANDS, Demands
from tests.contract.kit import a_start, begin
from tests.servers import RedisServer, free_ports

FSYNC, EVERYSEC = Demands(durability="fsync"), Demands(durability="everysec")
LOOKING = Demands(refusing=False)


@asynccontextmanager
async def opened(url: str, namespace: str, demands: Demands = NO_DEMANDS) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, namespace=namespace, demands=demands)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def refusal(url: str, namespace: str, demands: Demands = NO_DEMANDS) -> str:
    """Why the store is refused."""
    with pytest.raises(ConfigError) as caught:
        async with opened(url, namespace, demands):
            pass
    return str(caught.value)


async def warnings(url: str, namespace: str, demands: Demands = NO_DEMANDS) -> list[str]:
    """What is warned of at opening."""
    with structlog.testing.capture_logs() as logs:
        async with opened(url, namespace, demands):
            pass
    return [entry["event"] for entry in logs if entry["log_level"] == "warning"]


async def test_each_demand_is_compared_with_the_servers_settings(own_redis: RedisServer, namespace: str) -> None:
    url = own_redis.url
    with Redis.from_url(url) as admin:
        assert await warnings(url, namespace, FSYNC) == []
        admin.config_set("appendfsync", "everysec")
        told = await refusal(url, namespace, FSYNC)
        assert "appendfsync everysec" in told
        assert "set appendonly yes, appendfsync always and no-appendfsync-on-rewrite no" in told
        assert "is declared, but" in await refusal(url, namespace), "who asks for nothing adopts what was declared"
        assert await warnings(url, f"{namespace}-2", EVERYSEC) == []
        admin.config_set("appendonly", "no")
        assert "appendonly is off" in await refusal(url, f"{namespace}-2", EVERYSEC)
        assert await warnings(url, f"{namespace}-3") == ["store.not_durable"]
        assert "appendonly is off" in await refusal(url, f"{namespace}-3", EVERYSEC)
        async with opened(url, f"{namespace}-3") as store:
            assert (await store.vitals()).declared is None, "who is refused declares nothing"
        async with opened(url, namespace, LOOKING) as store:
            assert (await store.vitals()).facts["aof_enabled"] == "0", "who only looks is not refused"


async def test_a_client_demands_what_it_was_given_or_the_environment(
    own_redis: RedisServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Redis.from_url(own_redis.url) as admin:
        admin.config_set("appendfsync", "everysec")
    with pytest.raises(ConfigError, match="appendfsync always"):
        async with Client(namespace, own_redis.url, "memory://", durability="fsync"):
            pass
    monkeypatch.setenv("RUNNER_DURABILITY", "everysec")
    async with Client(namespace, own_redis.url, "memory://") as client:
        assert (await client.store.vitals()).declared == "everysec"


async def test_an_eviction_policy_is_refused_unless_it_is_allowed_by_name(
    own_redis: RedisServer, namespace: str
) -> None:
    with Redis.from_url(own_redis.url) as admin:
        admin.config_set("maxmemory-policy", "volatile-lru")
    told = await refusal(own_redis.url, namespace)
    assert "volatile-lru" in told
    assert "RUNNER_ALLOW_EVICTION=volatile-lru" in told
    await refusal(own_redis.url, namespace, Demands(allow_eviction="allkeys-lru"))
    allowed = Demands(allow_eviction="volatile-lru")
    assert await warnings(own_redis.url, namespace, allowed) == ["store.eviction_policy"]


async def test_a_user_who_may_not_read_the_configuration_is_told_what_to_grant(
    own_redis: RedisServer, namespace: str
) -> None:
    with Redis.from_url(own_redis.url) as admin:
        admin.execute_command("ACL", "SETUSER", "ann", "on", ">pw", "~*", "&*", "+@all", "-config")
    url = own_redis.url.replace("redis://", "redis://ann:pw@")
    assert await warnings(url, namespace) == [], "what nobody asked for need not be checked"
    assert await warnings(url, namespace, EVERYSEC) == ["store.unread"]
    assert "+config|get" in await refusal(url, f"{namespace}-2", FSYNC)
    async with opened(url, namespace) as store:
        vitals = await store.vitals()
        assert "appendfsync" not in vitals.facts
        assert vitals.facts["maxmemory_policy"] == "noeviction"
        assert "config" in vitals.unread


async def test_a_replica_is_refused_by_its_role(own_redis: RedisServer, namespace: str) -> None:
    (nobody,) = free_ports(1)
    async with opened(own_redis.url, namespace):
        pass
    with Redis.from_url(own_redis.url) as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", nobody)
    told = await refusal(own_redis.url, namespace)
    assert f"is a replica of 127.0.0.1:{nobody}: give the primary's URL" in told
    async with opened(own_redis.url, namespace, LOOKING) as store:
        assert (await store.vitals()).facts["role"] == "slave"
        assert dict(await store.backlog()) == {}
        assert (await store.losses()).orphaned == 0


async def test_a_restart_with_less_durability_is_found_counted_once_and_stops_nobody(
    own_redis: RedisServer, namespace: str
) -> None:
    async with opened(own_redis.url, namespace, FSYNC) as store, opened(own_redis.url, namespace) as other:
        own_redis.settings["appendfsync"] = "everysec"
        with structlog.testing.capture_logs() as logs:
            own_redis.restart()
            await begin(store, a_start("e-1"))
            await begin(other, a_start("e-2"))
            await until(lambda: len([one for one in logs if one["event"] == "store.durability_broken"]) == 2)
        (reason, _) = (entry["reason"] for entry in logs if entry["event"] == "store.durability_broken")
        assert "appendfsync everysec" in reason
        await until_broken(store)
        vitals = await store.vitals()
        assert (vitals.breaks, "appendfsync everysec" in vitals.broken_why) == (1, True), "once, whoever finds it"
        assert vitals.broken_at is not None
        own_redis.settings["appendfsync"] = "always"
        own_redis.restart()
        with structlog.testing.capture_logs() as logs:
            await begin(store, a_start("e-3"))
            assert (await store.vitals()).breaks == 1
        assert not [one for one in logs if one["event"] == "store.durability_broken"]


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not met():
            await asyncio.sleep(0.02)


async def until_broken(store: RedisStore) -> None:
    async with asyncio.timeout(60):
        while not (await store.vitals()).breaks:
            await asyncio.sleep(0.02)
