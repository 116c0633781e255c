"""What only Redis can have wrong: every index is a key of its own, and anybody can write keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from runner.store.redis import RedisStore
from runner.store.redis.survey import PAGE
from runner.transactions import Complete, Suspend
from tests.contract.fsck_kit import Check, mended
from tests.contract.hands import RedisHand
from tests.contract.kit import a_schedule, a_start, a_wait, begin, claim, part, start

LISTINGS = ("by:all", "by:status:pending", "by:both:pending:order", "by:workflow:order", 'by:attr:k:"v"')


@pytest.fixture
async def store(redis_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url, namespace=namespace)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def hand(store: RedisStore, redis_url: str) -> Iterator[RedisHand]:
    hand = RedisHand(redis_url, store.namespace, store.partitions)
    yield hand
    hand.close()


async def test_listings_that_do_not_have_it(store: RedisStore, hand: RedisHand, check: Check) -> None:
    await start(store, a_start(attributes=(("k", '"v"'),)))
    for listing in LISTINGS:
        hand.redis.zrem(f"{hand.home('e-1')}{listing}", "e-1")
    report = await check()
    assert report.counts == {"index_missing": len(LISTINGS)}
    assert {one.text.rpartition(" ")[2] for one in report.findings} == set(LISTINGS)
    await mended(check, "index_missing")
    created_at = hand.redis.hget(f"{hand.home('e-1')}x:e-1", "created_at")
    assert {hand.redis.zscore(f"{hand.home('e-1')}{listing}", "e-1") for listing in LISTINGS} == {
        float(str(created_at))
    }


async def test_what_is_kept_of_losses_and_of_purges_is_nothing_wrong(store: RedisStore, check: Check) -> None:
    turn = await begin(store, a_start(retention_ms=1))
    await turn.commit(end=Complete(result=b""))
    until = await store.now() + 10
    while await store.now() < until:
        await asyncio.sleep(0.01)
    assert (await store.purge(part(store), 10))[0] == 1
    await start(store, a_start("e-2"))
    for id in ("e-2", "nobody"):
        await store.claim(id, "nonce", "w-1", 60_000, 9)
    assert (await check()).counts == {}


async def test_listings_that_have_it_in_a_wrong_place(store: RedisStore, hand: RedisHand, check: Check) -> None:
    await start(store, a_start())
    hand.redis.zadd(f"{hand.home('e-1')}by:all", {"e-1": 1})
    await mended(check, "index_missing")


async def test_listings_that_have_it_and_should_not(store: RedisStore, hand: RedisHand, check: Check) -> None:
    await start(store, a_start(attributes=(("k", "1"),)))
    wrong = ("by:status:failed", "by:both:failed:order", "by:stuck", "passed:order:1")
    foreign = ("by:workflow:other", "by:both:pending:other", "by:attr:k:2", "passed:order:2", "ready:other")
    for listing in (*wrong, *foreign):
        hand.redis.zadd(f"{hand.home('e-1')}{listing}", {"e-1": 1})
    assert (await check()).counts == {"index_surplus": len(wrong), "stray_entry": len(foreign)}
    await mended(check, "index_surplus", "stray_entry")
    await claim(store)


async def test_one_that_was_passed_over_and_would_not_be_offered_again(
    store: RedisStore, hand: RedisHand, check: Check
) -> None:
    await start(store, a_start())
    await store.pass_over("e-1", "no such workflow")
    hand.redis.delete(f"{hand.home('e-1')}passed:order:1")
    await mended(check, "index_missing")
    assert [wake.id for wake in await store.rush([("order", 1)], 10)] == ["e-1"]


async def test_one_that_is_not_in_the_line_of_its_queue(store: RedisStore, hand: RedisHand, check: Check) -> None:
    for id in ("e-1", "e-2"):
        await start(store, a_start(id))
    hand.redis.delete(f"{hand.home('e-1')}line:default")
    await claim(store, "e-2")
    hand.redis.zadd(f"{hand.home('e-2')}line:default", {"e-2": 1})
    await mended(check, "index_missing", "index_surplus")
    assert (await store.standing("e-1", "default")).since is not None


async def test_a_queue_that_nobody_looks_through(store: RedisStore, hand: RedisHand, check: Check) -> None:
    await start(store, a_start())
    hand.redis.delete(f"{hand.home('e-1')}queues")
    await mended(check, "queue_unlisted")
    assert hand.redis.smembers(f"{hand.home('e-1')}queues") == {"default"}


async def test_keys_that_would_fade_away(store: RedisStore, hand: RedisHand, check: Check) -> None:
    turn = await begin(store)
    await turn.commit(opens=[a_wait()], end=Suspend())
    await store.put_schedules([a_schedule()])
    keys = [f"{hand.home('e-1')}{name}" for name in ("x:e-1", "w:e-1", "by:all")]
    keys += [f"{hand.wide}{name}" for name in ("schedules", "meta")]
    for key in keys:
        assert hand.redis.expire(key, 3600)
    await mended(check, "fading", "stray_fading")
    assert {hand.redis.ttl(key) for key in keys} == {-1}


async def test_entries_and_keys_of_nobody(store: RedisStore, hand: RedisHand, check: Check) -> None:
    places = (
        "ready:default",
        "leases",
        "timers",
        "expiry",
        "by:all",
        "by:status:running",
        "by:stuck",
        "passed:order:1",
    )
    for place in places:
        hand.redis.zadd(f"{hand.home('ghost')}{place}", {"ghost": 1})
    for kind in "jwdc":
        hand.redis.hset(f"{hand.home('ghost')}{kind}:ghost", "a", "b")
    hand.redis.rpush(f"{hand.home('ghost')}i:ghost", "1 signal x")
    for index in ("schedules:due", "schedules:ids"):
        hand.redis.zadd(f"{hand.wide}{index}", {"ghost": 1})
    assert (await check()).counts == {"stray_entry": len(places) + 2, "stray_data": 5}
    await mended(check, "stray_entry", "stray_data")
    assert hand.redis.keys(f"{hand.home('ghost')}*") == []
    assert hand.redis.keys(f"{hand.wide}schedules*") == []


async def test_foreign_keys_are_told_and_left(store: RedisStore, hand: RedisHand, check: Check) -> None:
    keys = [f"{hand.wide}mine", f"{hand.home('e-1')}own", f"runner:{{{store.namespace}:99}}:x:e-1"]
    for key in keys:
        hand.redis.set(key, "1")
    hand.redis.set(f"runner:{{{store.namespace}-other}}:x", "1")
    for _ in range(2):
        report = await check(repair=True)
        assert {one.subject for one in report.findings} == set(keys)
        assert report.counts == {"stray_foreign": len(keys)}
    assert hand.redis.exists(*keys) == len(keys)


async def test_pages_go_on_until_the_end(store: RedisStore, hand: RedisHand, check: Check) -> None:
    count = 3 * PAGE
    await store.start([a_start(f"e-{number}") for number in range(count)])
    hand.redis.zadd(f"{hand.home('ghost')}by:all", {f"ghost-{number}": number for number in range(2 * PAGE)})
    report = await check()
    assert report.executions >= count
    assert report.counts == {"stray_entry": 2 * PAGE}
    assert len(report.findings) == 100, "so many are kept"


async def test_the_living_come_page_by_page(store: RedisStore) -> None:
    for number in range(20):
        turn = await begin(store, a_start(f"e-{number}"))
        if number % 2:
            await turn.commit(end=Complete(result=b"r"))
    seen, pages = set[str](), 0
    for partition in range(store.partitions):
        cursor = ""
        while True:
            facts, cursor = await store.living(partition, cursor, 2)
            seen |= {one.id for one in facts}
            pages += 1
            if not cursor:
                break
    assert seen == {f"e-{number}" for number in range(0, 20, 2)}
    assert pages >= store.partitions
