"""What only the Redis store has to get right about its data: names, keys and their end, indexes and pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis import Redis

from runner.errors import ConfigError, PayloadError
from runner.records import Filter, Status
from runner.store import partition_of
from runner.store.redis import RedisStore
from runner.store.vitals import GONE_MS
from runner.transactions import (
    Action,
    Fail,
    FailCompensation,
    Follow,
)
from tests.contract.kit import (
    Turn,
    a_cancel,
    a_notice,
    a_parcel,
    a_schedule,
    a_signal,
    a_start,
    a_wait,
    an_entry,
    begin,
    claim,
    operate,
    part,
    start,
)
from tests.contract.redis_kit import Opened, home, opening
from tests.servers import RedisServer


@pytest.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url, namespace=namespace)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def opened(namespace: str) -> AsyncIterator[Opened]:
    async with opening(namespace) as opened:
        yield opened


# -- the namespace --------------------------------------------------------------------------------


async def test_a_namespace_keeps_its_number_of_partitions(store: RedisStore, redis_url: str) -> None:
    other = RedisStore(redis_url, namespace=store.namespace, partitions=64)
    with pytest.raises(ConfigError) as caught:
        await other.open()
    await other.close()
    for word in (store.namespace, "created with 16 partitions", "not 64", "set partitions to 16"):
        assert word in str(caught.value)


async def test_a_record_that_was_changed_by_hand_is_named(store: RedisStore, redis_url: str) -> None:
    await store.start([a_start("a")])
    with Redis.from_url(redis_url) as admin:
        admin.hset(f"runner:{{{store.namespace}:{partition_of('a', store.partitions)}}}:x:a", "status", "nonsense")
    for look in (store.record("a"), store.read("a")):
        with pytest.raises(PayloadError, match="the record of execution 'a' cannot be read"):
            await look


async def test_a_newer_schema_is_refused(store: RedisStore, redis_url: str) -> None:
    with Redis.from_url(redis_url) as admin:
        admin.hset(f"runner:{{{store.namespace}}}:meta", "schema", 99)
    with pytest.raises(ConfigError, match="schema 99"):
        await store.open()


@pytest.mark.parametrize("namespace", ["", "a:b", "a{b", "a}b", "a b", "-a", "ä", "x" * 101])
def test_a_namespace_that_would_mix_keys_is_refused(namespace: str) -> None:
    with pytest.raises(ConfigError, match="namespace"):
        RedisStore("redis://localhost", namespace=namespace)


@pytest.mark.parametrize("option", ["decode_responses=True", "socket_timeout=0", "ssl_cert_reqs=none", "protocol=3"])
def test_a_url_cannot_overrule_what_we_rely_on(option: str, namespace: str) -> None:
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        RedisStore(f"rediss://:secret@localhost/0?{option}", namespace=namespace)


# -- keys -----------------------------------------------------------------------------------------


async def _a_life_that_uses_every_key(store: RedisStore, retention_ms: int) -> Turn:
    """Of e-1, in a turn: with attributes, children, followers, inbox, waits, an audit trail and a full outbox."""
    cancelled = replace(a_cancel("later", request="early"), tombstone=True)
    await store.deliver(cancelled)
    begun = a_start(
        "e-1",
        queue="q",
        key="k",
        timeout_ms=60_000,
        retention_ms=retention_ms,
        parent="p-1",
        parent_run=1,
        attributes=(("colour", '"red"'), ("size", "1")),
        entries=(an_entry(1, "forked"),),
    )
    await start(store, begun)
    await store.pass_over("e-1", "unknown workflow")
    turn = await claim(store)
    await store.follow(Follow(target="e-1", waiter="f-1", run=1, workflow="order"))
    await store.deliver(a_signal())
    await store.deliver(a_notice("c-1"))
    await turn.commit(
        entries=[an_entry(2)],
        opens=[a_wait()],
        outgoing=[a_parcel("r")],
        children=[("c-1", "cancel"), ("c-2", "abandon")],
        attributes=[("colour", '"blue"')],
        outstanding=1,
    )
    return turn


async def test_all_keys_of_a_namespace_carry_its_tag(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)
    await _a_life_that_uses_every_key(store, retention_ms=60_000)
    await store.lead("n", "one", 60_000)
    await store.put_schedules([a_schedule(due_at=1)])
    tags = tuple(f"runner:{{{store.namespace}:{n}}}:" for n in range(16))
    wide = f"runner:{{{store.namespace}}}:"
    with Redis.from_url(own_redis.url, decode_responses=True) as admin:
        keys = set(admin.keys("*"))
    assert {f"{home(store)}{kind}:e-1" for kind in "xjwidcsa"} < keys
    assert f"{home(store, 'later')}t:later" in keys
    assert {key for key in keys if not key.startswith(tags)} == {
        f"{wide}{name}" for name in ("meta", "leader", "schedules", "schedules:ids", "schedules:due")
    }
    assert {key for key in keys if "e-1" in key} == {f"{home(store)}{kind}:e-1" for kind in "xjwidcsa"}


@pytest.mark.parametrize("reopened", [False, True])
async def test_what_is_purged_leaves_no_key(own_redis: RedisServer, opened: Opened, reopened: bool) -> None:
    store = await opened(own_redis.url)
    with Redis.from_url(own_redis.url, decode_responses=True) as admin:
        empty = set(admin.keys("*"))
        turn = await _a_life_that_uses_every_key(store, retention_ms=1)
        admin.delete(f"{home(store, 'later')}t:later")
        await turn.commit(outstanding=1, end=Fail(error=b"e", escaped=("step-2",)), seen=2)
        if reopened:
            await operate(store, Action.ROLLBACK)
            turn = await claim(store)
            await turn.commit(outstanding=1, end=FailCompensation(error=b"e"))
        assert f"{home(store)}by:stuck" in admin.keys("*")
        here = part(store)
        until_gone = await store.now() + 10
        while await store.now() < until_gone:
            await asyncio.sleep(0.01)
        await store.overdue(here, 10, 1_000)
        parcels = await store.relay(here, 10)
        await store.relayed(here, [parcel.place for parcel in parcels])
        assert await store.purge(here, 10) == (1, None)
        assert set(admin.keys("*")) - {f"{home(store)}outbox", f"{home(store)}gone"} == empty
        assert 0 < admin.pttl(f"{home(store)}gone") <= GONE_MS


async def test_what_is_no_more_so_is_in_no_index(store: RedisStore, redis_url: str) -> None:
    turn = await begin(store, a_start(attributes=(("colour", '"red"'),)))
    await turn.commit(attributes=[("colour", '"blue"')], outstanding=1, end=Fail(error=b"e"))
    with Redis.from_url(redis_url, decode_responses=True) as admin:
        assert admin.zrange(f'{home(store)}by:attr:colour:"red"', 0, -1) == []
        assert admin.zrange(f'{home(store)}by:attr:colour:"blue"', 0, -1) == ["e-1"]
        assert admin.zrange(f"{home(store)}by:stuck", 0, -1) == ["e-1"]
        await operate(store, Action.ROLLBACK)
        assert admin.zrange(f"{home(store)}by:stuck", 0, -1) == []


async def test_a_tombstone_is_kept_for_a_week_and_no_longer(store: RedisStore, redis_url: str) -> None:
    week = 7 * 24 * 3600 * 1000
    stone = replace(a_cancel("c-1", request="early"), tombstone=True)
    await store.deliver(stone)
    with Redis.from_url(redis_url) as admin:
        left = admin.pttl(f"{home(store, 'c-1')}t:c-1")
        assert week - 60_000 < left <= week
        admin.pexpire(f"{home(store, 'c-1')}t:c-1", 60_000)
        await store.deliver(stone)
        assert admin.pttl(f"{home(store, 'c-1')}t:c-1") <= 60_000, "a repeat makes it last no longer"
        admin.pexpire(f"{home(store, 'c-1')}t:c-1", 1)
        while admin.exists(f"{home(store, 'c-1')}t:c-1"):
            await asyncio.sleep(0.01)
    assert (await start(store, a_start("c-1"))).wake is not None


# -- looking ------------------------------------------------------------------------------------


async def test_a_backlog_does_not_hide_another_queues_lost_hint(store: RedisStore, redis_url: str) -> None:
    here = partition_of("e-0", 16)
    ids = [f"e-{n}" for n in range(300) if partition_of(f"e-{n}", 16) == here][:9]
    queues = dict(zip(ids, ("big", "small", *["big", "other"] * 3, "other"), strict=True))
    await store.start([a_start(id, queue=queue) for id, queue in queues.items()])
    with Redis.from_url(redis_url) as admin:
        for id, queue in queues.items():
            admin.zadd(f"runner:{{{store.namespace}:{here}}}:ready:{queue}", {id: 1_700_000_000_000})
    seen = await store.overdue(here, 5, 60_000)
    assert sorted(wake.queue for wake in seen.lost) == ["big", "big", "other", "other", "small"]
    assert seen.ready == {"big": 4, "other": 4, "small": 1}
    assert len((await store.overdue(here, 200, 60_000)).lost) == 4


async def test_a_rush_that_is_limited_goes_on_where_it_stopped(store: RedisStore) -> None:
    here = partition_of("e-0", 16)
    ids = [f"e-{n}" for n in range(300) if partition_of(f"e-{n}", 16) == here][:3]
    for id in ids:
        await start(store, a_start(id))
        await store.pass_over(id, "unknown workflow")
    first = await store.rush([("order", 1)], 2)
    then = await store.now()
    while await store.now() == then:
        pass  # the next offer is made in another millisecond
    second = await store.rush([("order", 1)], 2)
    assert len(first) == len(second) == 2
    assert {wake.id for wake in (*first, *second)} == set(ids)


# -- listing --------------------------------------------------------------------------------------


async def test_pages_go_on_inside_one_millisecond(store: RedisStore, redis_url: str) -> None:
    ids = [f"e-{n:04}" for n in range(300)]
    await store.start([a_start(id) for id in ids])
    with Redis.from_url(redis_url) as admin:
        for id in ids:
            prefix = f"runner:{{{store.namespace}:{partition_of(id, 16)}}}:"
            for index in ("by:all", "by:workflow:order", "by:status:pending"):
                admin.zadd(prefix + index, {id: 1_700_000_000_000})
    for filter in (Filter(limit=37), Filter(limit=37, workflow="order"), Filter(limit=37, status=Status.PENDING)):
        assert await _all_pages(store, filter) == sorted(ids, reverse=True)


async def _all_pages(store: RedisStore, filter: Filter) -> list[str]:
    seen: list[str] = []
    while True:
        page = await store.executions(filter)
        seen += [one.id for one in page.executions]
        if page.cursor is None:
            return seen
        filter = replace(filter, cursor=page.cursor)
