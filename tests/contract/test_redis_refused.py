"""A login that is refused for a while, as when passwords are changed: who listens must not stay deaf afterwards."""

from __future__ import annotations

import asyncio

from redis import Redis

from runner.store.redis import RedisStore
from tests.servers import RedisServer


async def test_who_listens_hears_again_when_its_login_is_taken_again(own_redis: RedisServer, namespace: str) -> None:
    with Redis.from_url(own_redis.url) as admin:
        admin.execute_command("ACL SETUSER worker on >pw ~* &* +@all")
        url = own_redis.url.replace("redis://", "redis://worker:pw@")
        store = RedisStore(url, namespace=namespace)
        await store.open()
        words = await store.subscribe("timers")
        admin.execute_command("ACL SETUSER worker off")
        admin.client_kill_filter(user="worker")
        async with asyncio.timeout(30):
            while store._pubsub._refusal is None:
                await asyncio.sleep(0.01)
        admin.execute_command("ACL SETUSER worker on")
        async with asyncio.timeout(30):
            while not admin.publish(f"runner:{namespace}:timers", "7"):
                await asyncio.sleep(0.05)
        assert await words.next(30) == "7"
        await store.close()
