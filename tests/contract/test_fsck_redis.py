"""What only Redis can have wrong: every index is a key of its own, and anybody can write keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from runner.app import App
from runner.broker.memory import MemoryBroker
from runner.courier import Courier
from runner.errors import PayloadError
from runner.hooks import Hooks
from runner.records import Filter, Status, WorkerInfo
from runner.recovery import recover
from runner.store.redis import RedisStore
from runner.store.redis.survey import PAGE
from runner.transactions import Complete, Suspend
from runner.why import ReasonCode
from runner.why.gather import Asking
from tests.contract.fsck_kit import Check, mended
from tests.contract.hands import RedisHand
from tests.contract.kit import a_schedule, a_start, a_wait, an_entry, begin, claim, part, start

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


async def test_what_is_no_text_is_told_of_and_swept_where_it_is_an_entry(
    store: RedisStore, hand: RedisHand, redis_url: str, check: Check
) -> None:
    """Nothing of ours is named so; and neither the check, nor the leader's look, nor a listing stumbles over it."""
    await start(store, a_start())
    home = hand.home("e-1").encode()
    with Redis.from_url(redis_url) as raw:
        raw.hset(home + b"x:\xff", "status", "pending")
        for index in (b"by:all", b"by:status:pending", b"timers"):
            raw.zadd(home + index, {b"\xfe": 9e15})
    report = await check()
    assert (report.executions, report.counts) == (1, {"stray_foreign": 1, "stray_entry": 3})
    assert {one.subject for one in report.findings} == {f"{home.decode()}x:\\udcff", "\\udcfe"}
    look, _ = await store.living(part(store), "", 100)
    assert [one.id for one in look.facts] == ["e-1"]
    page = await store.executions(Filter(limit=1))
    assert ([one.id for one in page.executions], list(page.unreadable)) == (["e-1"], ["\\udcfe"])
    report = await check(repair=True)
    assert (report.left, report.repaired) == (1, 3)
    assert (await check()).counts == {"stray_foreign": 1}


@pytest.mark.parametrize("field", ["queue", "created_at", "audit", "input", "cause"])
async def test_a_record_that_lacks_something(
    store: RedisStore, hand: RedisHand, check: Check, broker: MemoryBroker, field: str
) -> None:
    for id in ("e-1", "e-2"):
        await start(store, a_start(id))
    hand.redis.hdel(f"{hand.home('e-1')}x:e-1", field)
    for repair in (False, True):
        report = await check(repair=repair)
        assert (report.executions, report.counts, report.left) == (2, {"record_unreadable": 1}, 1)
        assert f"its field '{field}' is missing" in report.findings[0].text
    if field == "input":
        done = await recover(store, broker, Courier(store, broker), Hooks(), most=10)
        assert done.skipped["it cannot be read"] == 1


@pytest.mark.parametrize("kind", ["x", "j", "w", "i"])
async def test_a_key_of_an_execution_that_is_something_else(
    store: RedisStore, hand: RedisHand, check: Check, kind: str
) -> None:
    turn = await begin(store, a_start("e-1"))
    await turn.commit(entries=[an_entry()], opens=[a_wait()], end=Suspend())
    await start(store, a_start("e-2"))
    hand.redis.set(f"{hand.home('e-1')}{kind}:e-1", "mine")
    for repair in (False, True):
        report = await check(repair=repair)
        assert (report.counts, report.left) == ({"record_unreadable": 1}, 1), report.findings
        assert f"{kind}:e-1" in report.findings[0].text
    if kind == "x":
        page = await store.executions(Filter())
        assert ([one.id for one in page.executions], list(page.unreadable)) == (["e-2"], ["e-1"])
    why = await Asking(App("shop"), store, None).why("e-1")
    assert why is not None
    assert why.codes == (ReasonCode.RECORD_UNREADABLE,)


@pytest.mark.parametrize("index", ["by:all", "by:status:pending", "timers", "ready:default"])
async def test_an_index_that_is_something_else_is_one_finding_and_is_filled_anew(
    store: RedisStore, hand: RedisHand, check: Check, index: str
) -> None:
    away = next(id for id in (f"a-{n}" for n in range(1_000)) if part(store, id) != part(store))
    near = next(id for id in (f"b-{n}" for n in range(10_000)) if part(store, id) == part(store))
    for id in ("e-1", near, away):
        await start(store, a_start(id))
    key = f"{hand.home('e-1')}{index}"
    hand.redis.delete(key)
    hand.redis.set(key, "mine")
    report = await check()
    assert report.counts == {"index_unreadable": 1}, report.findings
    assert report.findings[0].subject == key
    page = await store.executions(Filter())
    assert away in {one.id for one in page.executions}
    assert list(page.unreadable) == ([key] if index == "by:all" else [])
    look, _ = await store.living(part(store, away), "", 100)
    assert [one.id for one in look.facts] == [away]
    hand.redis.delete(key)
    assert (await check(repair=True)).left == 0
    assert (await check()).clean
    for id in ("e-1", near):
        await claim(store, id)


async def test_damage_that_hinders_one_repair_hinders_no_other(
    store: RedisStore, hand: RedisHand, check: Check
) -> None:
    """A trail that is none is not looked at before it is written to."""
    for id in ("a", "e-1"):
        turn = await begin(store, a_start(id))
        await turn.commit(children=[("c-1", "cancel")], opens=[a_wait()], end=Suspend())
    hand.redis.delete(f"{hand.home('a')}a:a")
    hand.redis.set(f"{hand.home('a')}a:a", "mine")
    report = await check(repair=True)
    assert (report.counts, report.left) == ({"child_lost": 2}, 1)
    assert {one.subject: one.repaired for one in report.findings} == {"a": False, "e-1": True}


async def test_what_nobody_can_read_of_schedules_and_of_the_outbox(
    store: RedisStore, hand: RedisHand, check: Check
) -> None:
    await store.put_schedules([a_schedule()])
    hand.redis.hset(f"{hand.wide}schedules", "odd", "mine")
    hand.redis.xadd(f"{hand.home('e-1')}outbox", {"kind": "start"})
    report = await check(repair=True)
    assert (report.counts, report.left) == ({"index_unreadable": 1, "parcel_unreadable": 1}, 2)
    assert {"field odd" in one.text for one in report.findings} == {True, False}


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
            look, cursor = await store.living(partition, cursor, 2)
            seen |= {one.id for one in look.facts}
            pages += 1
            if not cursor:
                break
    assert seen == {f"e-{number}" for number in range(0, 20, 2)}
    assert pages >= store.partitions


@pytest.mark.parametrize("kind", ["j", "w", "i"])
async def test_what_lost_its_journal_waits_or_inbox_is_nobodys_and_is_passed_over(
    store: RedisStore, hand: RedisHand, kind: str
) -> None:
    await start(store, a_start())
    key = f"{hand.home('e-1')}{kind}:e-1"
    hand.redis.set(key, "mine")
    with pytest.raises(PayloadError, match=r"e-1.*WRONGTYPE"):
        await store.claim("e-1", "nonce", "w-1", 60_000)
    (record,) = (await store.executions(Filter())).executions
    assert (record.status, record.worker) == (Status.PENDING, "")
    await store.pass_over("e-1", "it cannot be read")
    hand.redis.delete(key)
    await claim(store)


async def test_what_is_no_heartbeat_keeps_no_worker_from_beginning(store: RedisStore, hand: RedisHand) -> None:
    hand.redis.hset(f"{hand.wide}workers", "odd", "mine")
    assert await store.workers(60_000) == []
    renewer = store.renewer()
    await asyncio.to_thread(renewer.heartbeat, WorkerInfo(id="w-1", build="", queues=(), workflows=(), slots=1))
    await asyncio.to_thread(renewer.close)
    assert [one.id for one in await store.workers(60_000)] == ["w-1"]
    assert hand.redis.hkeys(f"{hand.wide}workers") == ["w-1"]
