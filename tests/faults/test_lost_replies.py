"""A reply that is lost: what was asked is asked again, happens once, and is answered as if nothing had been."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields

import pytest
from redis import Redis

from runner.store.redis import RedisStore
from runner.store.redis.scripts import Scripts, scripts
from tests.faults.comparing import comparable, stored
from tests.faults.lost import ANSWER_ANEW, CASES, Lose
from tests.faults.proxy import Proxy

ALL = {field.name: getattr(scripts(), field.name) for field in fields(Scripts)}


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    with Redis.from_url(redis_url) as admin:
        for script in ALL.values():  # or the answer that is lost says that there is no such script
            admin.script_load(script.source)
    async with Proxy(redis_url) as one:
        yield one


def test_every_script_that_writes_has_a_case() -> None:
    """One that is flagged as writing nothing cannot do it twice either: the server refuses it."""
    writing = {name for name, script in ALL.items() if not script.source.startswith("#!lua flags=no-writes")}
    assert {name.partition(".")[0] for name in CASES} == writing, "write a case of each new script into lost.py"


@pytest.mark.parametrize("name", sorted(CASES))
async def test_what_lost_its_reply_happens_once(name: str, proxy: Proxy, redis_url: str, namespace: str) -> None:
    script = name.partition(".")[0]
    with Redis.from_url(redis_url) as admin:
        heard = await told(name, redis_url, f"{namespace}-heard", lambda: None, admin)
        sha = ALL[script].sha.encode()
        lost = await told(name, proxy.url, f"{namespace}-lost", lambda: proxy.lose_reply_to(sha), admin)
    assert proxy.lost == 1
    assert lost[1] == heard[1], "what is stored"
    if script not in ANSWER_ANEW:
        assert lost[0] == heard[0], "what is answered"


async def told(name: str, url: str, namespace: str, lose: Lose, admin: Redis) -> tuple[str, dict[str, str]]:
    """What a case is answered, and what the server has then."""
    store = RedisStore(url, namespace=namespace)
    await store.open()
    try:
        answer = await CASES[name](store, lose)
        return comparable(answer, namespace), stored(admin, namespace)
    finally:
        await store.close()
