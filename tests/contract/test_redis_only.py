"""What only the Redis store has to get right: one connection shared by all, answers lost, servers away, full or locked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import TypeVar

import pytest
from redis import Redis

from runner.core.status import TRANSITIONS
from runner.errors import InfrastructureError, StoreClosed, StoreUnavailable
from runner.records import Filter, Status, WorkerInfo
from runner.store import partition_of
from runner.store.redis import RedisStore, connection, pubsub
from runner.store.redis.scripts import Scripts, parts_of, scripts
from runner.transactions import (
    Action,
    Complete,
    ContinueAsNew,
    Follow,
    Lease,
    Reception,
    Suspend,
    Verdict,
)
from tests.contract.kit import (
    LEASE,
    a_cancel,
    a_parcel,
    a_signal,
    a_start,
    a_wait,
    an_entry,
    begin,
    claim,
    history,
    operate,
    part,
    record,
    start,
)
from tests.contract.redis_kit import Opened, opening
from tests.faults.proxy import Proxy
from tests.servers import RedisServer, start_redis

T = TypeVar("T")


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


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not met():
            await asyncio.sleep(0.02)


# -- scripts --------------------------------------------------------------------------------------


async def test_forgotten_scripts_are_loaded_again(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)
    await begin(store)
    with Redis.from_url(own_redis.url) as admin:
        admin.script_flush()
        answers = await asyncio.gather(*(start(store, a_start(f"n-{n}")) for n in range(20)), record(store))
        assert all(answer.new for answer in answers[:-1])
        assert answers[-1].status is Status.RUNNING
        # Only what was refused for want of its script was sent again: 20 starts each applied once.
        assert len((await store.executions(Filter(limit=100))).executions) == 21
        admin.script_flush()
    renewer = store.renewer()
    (renewed,) = await asyncio.to_thread(renewer.renew, [Lease(id="e-1", nonce="other")], LEASE)
    assert not renewed.held
    renewer.close()


def test_every_script_says_what_it_is_and_what_may_run_when_memory_is_short() -> None:
    lua = files("runner.store.redis") / "lua"
    names = {path.name.removesuffix(".lua") for path in lua.iterdir() if path.is_file()} - {"prelude"}
    assert names | {"start_child"} == set(Scripts.__dataclass_fields__)
    flags = {name: (lua / f"{name}.lua").read_text().splitlines()[0] for name in names}
    new_work = {name for name, line in flags.items() if line == "#!lua"}
    assert new_work == {"start", "signal"}
    reading = {name for name, line in flags.items() if line == "#!lua flags=no-writes"}
    looking = {"leader", "line", "list", "next_due", "read", "recall", "record", "relay", "standing"}
    assert reading == looking | {
        "astray",
        "backlog",
        "due_schedules",
        "facts",
        "followed",
        "losses",
        "schedules",
        "workers",
    }
    assert set(flags.values()) == {"#!lua", "#!lua flags=no-writes", "#!lua flags=allow-oom"}
    for name in names:
        text = (lua / f"{name}.lua").read_text()
        assert "-- KEYS[1]" in text, name
        assert "-- Returns " in text, name


def test_a_child_is_started_by_the_same_script_under_another_flag() -> None:
    alone, child = scripts().start.source.split("\n", 1), scripts().start_child.source.split("\n", 1)
    assert (alone[0], child[0]) == ("#!lua", "#!lua flags=allow-oom")
    assert alone[1] == child[1]


def test_every_part_is_needed_and_says_what_it_is_for() -> None:
    lua = files("runner.store.redis") / "lua"
    parts = {path.name.removesuffix(".lua"): path.read_text() for path in (lua / "parts").iterdir()}
    needed = {part for path in lua.iterdir() if path.is_file() for part in parts_of(path.read_text())}
    assert needed == set(parts)
    for name, text in parts.items():
        assert text.startswith("-- "), name
        assert text not in scripts().renew.source, "what needs none has none"


def test_the_scripts_have_the_one_status_table() -> None:
    source = scripts().claim.source
    for status, moves in TRANSITIONS.items():
        row = ", ".join(f"{move} = '{target}'" for move, target in moves.items())
        assert f"{status} = {{ {row} }}" in source
    assert "TERMINAL = { cancelled = true, compensation_failed = true, completed = true, failed = true }" in source


async def test_a_failing_script_is_an_error_of_ours(store: RedisStore, redis_url: str, namespace: str) -> None:
    with Redis.from_url(redis_url) as admin:
        admin.set(f"runner:{{{namespace}:{partition_of('e-1', 16)}}}:x:e-1", "no hash")
    with pytest.raises(InfrastructureError, match="WRONGTYPE") as caught:
        await store.record("e-1")
    assert not isinstance(caught.value, StoreUnavailable)
    assert (await start(store, a_start("e-2"))).new


# -- many at once ---------------------------------------------------------------------------------


async def test_what_is_asked_in_one_tick_travels_together(store: RedisStore, redis_url: str) -> None:
    await start(store, a_start())
    before = store._pipeline.written
    await asyncio.gather(*(store.record("e-1") for _ in range(300)))
    assert store._pipeline.written == before + 1
    await store.start([a_start(f"many-{n}") for n in range(100)])
    assert store._pipeline.written == before + 2


async def test_concurrency_costs_no_connections(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)

    async def live(id: str) -> None:
        turn = await begin(store, a_start(id))
        for number in range(1, 6):
            await asyncio.sleep(random.random() / 50)
            await turn.commit(entries=[an_entry(number)])
        await turn.commit(end=Complete(result=b""))

    await asyncio.gather(*(live(f"e-{n}") for n in range(200)))
    with Redis.from_url(own_redis.url) as admin:
        assert len(admin.client_list()) - 1 <= 4
    done = await store.executions(Filter(status=Status.COMPLETED, limit=300))
    assert len(done.executions) == 200


async def test_callers_that_give_up_leave_nobody_elses_answer(store: RedisStore) -> None:
    await store.start([a_start(f"e-{n}", digest=f"digest of e-{n}") for n in range(50)])

    async def ask(n: int) -> None:
        assert (await record(store, f"e-{n}")).digest == f"digest of e-{n}"

    for _ in range(20):
        asked = [asyncio.create_task(ask(n)) for n in range(50)]
        await asyncio.sleep(random.random() / 200)
        for task in random.sample(asked, 25):
            task.cancel()
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert answer is None or isinstance(answer, asyncio.CancelledError)
    assert store.interruptions == 0, "a caller that gives up costs no connection"


async def test_what_cannot_be_sent_harms_only_its_caller(store: RedisStore) -> None:
    answers = await asyncio.gather(
        start(store, a_start("good")), start(store, a_start("bad", queue="\ud800")), return_exceptions=True
    )
    assert answers[0].new
    assert isinstance(answers[1], UnicodeEncodeError)


# -- answers lost ---------------------------------------------------------------------------------


@pytest.fixture
async def proxy(own_redis: RedisServer) -> AsyncIterator[Proxy]:
    async with Proxy(own_redis.url) as proxy:
        yield proxy


async def test_a_turn_whose_every_answer_is_lost_once_happens_once(proxy: Proxy, opened: Opened) -> None:
    store = await opened(proxy.url)

    async def lost(asked: Awaitable[T]) -> T:
        before = proxy.lost
        proxy.lose_replies(1)
        answer = await asked
        assert proxy.lost == before + 1
        return answer

    begun = await lost(start(store, a_start()))
    assert begun.new
    assert begun.wake is not None
    for _ in range(2):
        await lost(store.pass_over("e-1", "unknown workflow"))
    times = await store.next_due(partition_of("e-1", 16))
    assert times["ready"] - times["now"] <= 2_000, "a pass that was asked again counts once"
    turn = await lost(claim(store))
    answer = await lost(turn.commit(entries=[an_entry()], opens=[a_wait(after_ms=5_000)], outgoing=[a_parcel("r-1")]))
    assert not answer.released
    delivered = await lost(store.deliver(a_signal()))
    assert delivered.reception is Reception.DELIVERED
    assert len(await store.relay(partition_of("e-1", 16), 10)) == 1
    refused = await lost(turn.commit(end=Suspend()))
    assert [item.index for item in refused.news] == [0]
    slept = await lost(turn.commit(end=Suspend(), seen=1))
    assert (slept.released, slept.status) == (True, Status.SLEEPING)
    woken = await lost(store.deliver(a_signal(name="again")))
    assert woken.wake is not None, "the wake of a delivery must not be lost with its answer"
    turn = await lost(claim(store))
    over = await lost(turn.commit(end=Complete(result=b"done")))
    assert (over.released, over.status) == (True, Status.COMPLETED)
    found = await history(store)
    assert len(found.inbox) == 2
    assert len(found.entries) == 1
    assert found.execution.result == b"done"


async def test_what_crosses_executions_happens_once_though_every_answer_is_lost_once(
    proxy: Proxy, own_redis: RedisServer, opened: Opened
) -> None:
    store = await opened(proxy.url)
    with Redis.from_url(own_redis.url) as admin:
        for field in fields(Scripts):  # or the answer that is lost says that there is no such script
            admin.script_load(getattr(scripts(), field.name).source)
    child = a_start("c-1", parent="e-1", parent_run=1)
    turn = await begin(store)
    proxy.lose_replies(1)
    await turn.commit(children=[("c-1", "cancel")], outgoing=[a_parcel("r-1")])
    proxy.lose_replies(1)
    assert (await start(store, child)).new
    proxy.lose_replies(1)
    assert await store.follow(Follow(target="c-1", waiter="e-1", run=1, workflow="order")) == ()
    proxy.lose_replies(1)
    continued = await turn.commit(end=ContinueAsNew(input=b"next"))
    assert continued.wake is not None, "the wake of the next run must not be lost with its answer"
    proxy.lose_replies(1)
    forced = await operate(store, Action.FORCE_FAIL, "c-1", error=b"e")
    assert (forced.verdict, forced.parcels) == (Verdict.DONE, ()), "what a repeat caused lies in the outbox"
    (told,) = await store.relay(part(store, "c-1"), 10)
    assert told.outgoing.request == "ended:c-1:0"
    proxy.lose_replies(1)
    reopened = await operate(store, Action.RETRY, "c-1")
    assert reopened.wake is not None, "the wake of an operator's action must not be lost with its answer"
    assert ((await record(store)).run, (await record(store, "c-1")).openings) == (2, 1)
    assert proxy.lost == 6
    assert len(await store.audit("c-1")) == len({row.pack() for row in await store.audit("c-1")}) == 5


async def test_a_commit_overtaken_by_its_successor_writes_nothing(store: RedisStore) -> None:
    """A request that was given up can be on its way for long, and arrive after the one that followed it."""
    turn = await begin(store)
    await turn.commit(opens=[a_wait()])
    late = turn.last
    await turn.commit(entries=[an_entry(1, "approval", kind="signal")])
    assert late is not None
    assert await store.commit(late) is None
    assert (await history(store)).waits == (), "the wait is closed and must not be opened again"


async def test_a_server_that_is_silent_is_given_up(
    proxy: Proxy, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 60)
    store = await opened(proxy.url, patience_s=3)
    before = store.interruptions
    proxy.stall()
    began = monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await store.record("e-1")
    assert monotonic() - began < 30, "the caller waits for its patience, not for the connection"
    assert store.interruptions > before
    proxy.let_go()
    assert (await start(store, a_start())).new


# -- servers away ---------------------------------------------------------------------------------


async def test_a_restart_is_survived_and_counted(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url, patience_s=20)
    turn = await begin(store)
    before = store.interruptions
    own_redis.kill()
    asked = asyncio.create_task(turn.commit(entries=[an_entry()]))
    await until(lambda: store.interruptions > before)
    await asyncio.to_thread(own_redis.start)
    assert not (await asked).released
    assert len((await history(store)).entries) == 1


async def test_a_restart_between_two_calls_is_counted(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)
    await start(store, a_start())
    before = store.interruptions
    await asyncio.to_thread(own_redis.restart)
    assert (await record(store)).status is Status.PENDING
    assert store.interruptions > before


async def test_a_restart_that_broke_no_connection_is_counted(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)
    before = store.interruptions
    for link in store._pipeline._links:
        await link.close()
    await store.now()
    assert store.interruptions == before, "a new connection to the same server is none"
    for link in store._pipeline._links:
        await link.close()
    await asyncio.to_thread(own_redis.restart)
    await store.now()
    assert store.interruptions == before + 1


async def test_a_server_that_is_down_is_named_without_its_password(namespace: str, own_redis: RedisServer) -> None:
    own_redis.kill()
    url = own_redis.url.replace("redis://", "redis://user:secret@")
    store = RedisStore(url, namespace=namespace, patience_s=0.3)
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    assert f"redis://user:***@127.0.0.1:{own_redis.port}" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await store.subscribe("leader")
    renewer = store.renewer()
    with pytest.raises(StoreUnavailable) as refused:
        renewer.renew([Lease(id="e-1", nonce="n")], LEASE)
    assert "secret" not in str(refused.value)
    renewer.close()
    await store.close()


async def test_a_renewer_connects_afresh(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)
    turn = await begin(store)
    renewer = store.renewer()
    leases = [Lease(id="e-1", nonce=turn.nonce)]
    assert [one.held for one in await asyncio.to_thread(renewer.renew, leases, LEASE)] == [True]
    own_redis.kill()
    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(renewer.renew, leases, LEASE)
    await asyncio.to_thread(own_redis.start)
    assert [one.held for one in await asyncio.to_thread(renewer.renew, leases, LEASE)] == [True]
    renewer.close()


async def test_a_server_that_became_a_replica_is_waited_for(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url, patience_s=20)
    before = store.interruptions
    with Redis.from_url(own_redis.url) as admin:
        admin.replicaof("127.0.0.1", "1")
        asked = asyncio.create_task(start(store, a_start()))
        await until(lambda: int(admin.info("errorstats").get("errorstat_READONLY", {"count": 0})["count"]) > 1)
        assert not asked.done()
        admin.replicaof("NO", "ONE")
    assert (await asked).new
    assert store.interruptions >= before


async def test_a_closed_store_says_so(redis_url: str, namespace: str) -> None:
    store = RedisStore(redis_url, namespace=namespace)
    await store.open()
    await store.close()
    with pytest.raises(StoreClosed, match="closed"):
        await store.now()


# -- subscriptions --------------------------------------------------------------------------------


async def test_subscriptions_come_back_by_themselves(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)
    ended, leader = await store.subscribe("ended/e-1"), await store.subscribe("leader")
    await start(store, a_start())
    with Redis.from_url(own_redis.url) as admin:
        assert admin.client_kill_filter(_type="pubsub") == 1, "one connection for all topics"
        await until(lambda: all(count == 1 for _, count in admin.pubsub_numsub(*_channels(store))))
    await store.deliver(a_cancel())
    assert await ended.next(10) == "cancelled"
    await store.lead("n", "one", 1_000)
    await store.abdicate("n")
    assert await leader.next(10) == "free"


async def test_a_subscription_that_died_in_silence_is_found_out(
    own_redis: RedisServer, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "PING_S", 0.1)
    async with Proxy(own_redis.url) as proxy:
        store = await opened(proxy.url)
        leader = await store.subscribe("leader")
        with Redis.from_url(own_redis.url) as admin:
            (dead,) = _listening(admin)
            await until(lambda: admin.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"] > 10)
            assert _listening(admin) == [dead], "that nothing is said is no reason to break it"
            proxy.stall()
            # Nothing breaks the connection: only the missing answers to its pings can tell.
            await until(lambda: not leader._hub._in_force)
            proxy.let_go()
            await until(lambda: _listening(admin) not in ([], [dead]))
        await until(lambda: bool(leader._hub._in_force))
        await store.lead("n", "one", 1_000)
        await store.abdicate("n")
        assert await leader.next(10) == "free"
        await store.close()


def _listening(admin: Redis) -> list[str]:
    return [one["id"] for one in admin.client_list() if one["sub"] == "1"]


def _channels(store: RedisStore) -> list[str]:
    return [f"runner:{store.namespace}:{topic}" for topic in ("ended/e-1", "leader")]


# -- locked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["", ":wrong@", "nobody:wrong@"])
async def test_a_wrong_password_is_said_at_once(tmp_path: Path, namespace: str, login: str) -> None:
    server = start_redis(tmp_path, requirepass="right")
    store = RedisStore(server.url.replace("redis://", f"redis://{login}"), namespace=namespace, patience_s=60)
    began = monotonic()
    with pytest.raises(StoreUnavailable, match="refuses us") as caught:
        await store.open()
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "").replace("wrong number", "")
    with pytest.raises(StoreUnavailable, match="refuses us"):
        await store.subscribe("leader")
    assert monotonic() - began < 30, "asking again would not help"
    renewer = store.renewer()
    with pytest.raises(StoreUnavailable, match="refuses us"):
        renewer.heartbeat(WorkerInfo(id="w", build="b", queues=(), workflows=(), slots=1))
    renewer.close()
    await store.close()
    store = RedisStore(server.url.replace("redis://", "redis://:right@"), namespace=namespace)
    await store.open()
    await store.close()
    server.kill()


async def test_a_user_without_the_right_is_told(own_redis: RedisServer, opened: Opened) -> None:
    with Redis.from_url(own_redis.url) as admin:
        admin.execute_command("ACL SETUSER reader on >pw ~* &* +@all -hset")
    store = await opened(own_redis.url)
    other = RedisStore(own_redis.url.replace("redis://", "redis://reader:pw@"), namespace=store.namespace)
    with pytest.raises(InfrastructureError, match=r"refuses us|can't run this command"):
        await other.start([a_start()])
    await other.close()


async def test_what_may_not_be_looked_at_is_not_called_damaged(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)
    await store.start([a_start()])
    other = RedisStore(own_redis.url.replace("redis://", "redis://reader:pw@"), namespace=store.namespace)
    with Redis.from_url(own_redis.url) as admin:
        for forbidden in ("hmget", "sismember", "zscore"):
            admin.execute_command(f"ACL SETUSER reader reset on >pw ~* &* +@all -{forbidden}")
            with pytest.raises(InfrastructureError, match="refuses us"):
                await other.facts(["e-1"])
    await other.close()
