"""A Redis that is at its memory limit refuses new work, and nothing that lets running work end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis import Redis

from runner.errors import Overloaded
from runner.records import Filter, Status, WorkerInfo
from runner.transactions import (
    Action,
    Complete,
    ContinueAsNew,
    Fail,
    Follow,
    Lease,
    Outgoing,
    Reception,
    Verdict,
)
from tests.contract.kit import (
    LEASE,
    a_cancel,
    a_parcel,
    a_row,
    a_schedule,
    a_signal,
    a_start,
    a_wait,
    an_entry,
    begin,
    carry,
    claim,
    history,
    operate,
    start,
)
from tests.contract.redis_kit import Opened, fill, opening
from tests.servers import RedisServer


@pytest.fixture
async def opened(namespace: str) -> AsyncIterator[Opened]:
    async with opening(namespace) as opened:
        yield opened


async def test_a_full_store_refuses_new_work_and_lets_the_running_end(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)
    first, second, never = a_start("e-1"), a_start("e-2"), a_start("e-3")
    turn, other = await begin(store, first), await begin(store, second)
    await start(store, never)
    heard = a_signal("e-1")
    await store.deliver(heard)
    with Redis.from_url(own_redis.url) as admin:
        fill(admin)
    with pytest.raises(Overloaded, match="memory limit"):
        await store.start([a_start("e-4")])
    with pytest.raises(Overloaded):
        await store.start([a_start("e-5", parent="@a-schedule")])
    assert await store.put_schedules([a_schedule()]) == [True], "what is decided must be written down"
    with pytest.raises(Overloaded):
        await store.deliver(a_signal("e-1"))
    # A repeat is no new work: it happened, and its caller must learn so.
    assert (await store.start([first]))[0].new
    assert (await store.deliver(heard)).reception is Reception.DELIVERED
    assert await store.record("e-4") is None
    # What runs goes on to its end, with all that takes.
    slept = await turn.commit(entries=[an_entry()], opens=[a_wait(after_ms=1)], outgoing=[a_parcel("r")], seen=1)
    assert not slept.released
    assert (await turn.commit(end=Complete(result=b"done"), seen=1)).status is Status.COMPLETED
    assert await store.release("e-2", other.nonce) is not None
    turn = await claim(store, "e-2")
    assert (await store.deliver(a_cancel("e-2"))).reception is Reception.DELIVERED
    assert (await store.deliver(a_cancel("e-3"))).reception is Reception.DELIVERED
    renewer = store.renewer()
    leases = [Lease(id="e-2", nonce=turn.nonce)]
    assert (await asyncio.to_thread(renewer.renew, leases, LEASE))[0].held
    await asyncio.to_thread(renewer.heartbeat, WorkerInfo(id="w", build="b", queues=(), workflows=(), slots=1))
    renewer.close()
    assert (await store.lead("n", "one", 1_000)).leading
    for partition in range(store.partitions):
        await store.due(partition, 10)
        await store.overdue(partition, 10, 1_000)
        await store.reap(partition, 10, ["w-1"])
        await store.purge(partition, 10)
        parcels = await store.relay(partition, 10)
        await store.relayed(partition, [parcel.place for parcel in parcels])
    assert await store.rush([("order", 1)], 10) == []
    late = await opened(own_redis.url)
    assert len((await late.executions(Filter())).executions) == 3


async def test_a_full_store_lets_executions_deal_with_one_another(own_redis: RedisServer, opened: Opened) -> None:
    store = await opened(own_redis.url)
    parent, other = await begin(store), await begin(store, a_start("e-2"))
    child = a_start("c-1", parent="e-1", parent_run=1)
    with Redis.from_url(own_redis.url) as admin:
        fill(admin)
    with pytest.raises(Overloaded):
        await store.start([a_start("c-2")])
    out = Outgoing(target="c-1", request=child.request, kind="start", payload=child.pack())
    went = await parent.commit(
        outgoing=[out], children=[("c-1", "cancel")], attributes=[("colour", '"red"')], audit=[a_row()], outstanding=1
    )
    assert await carry(store, went.parcels) == []
    assert await store.follow(Follow(target="c-1", waiter="e-2", run=1, workflow="order")) == ()
    turn = await claim(store, "c-1")
    ended = await turn.commit(end=Complete(result=b"r"))
    assert {one.outgoing.target for one in ended.parcels} == {"e-1", "e-2"}
    assert await carry(store, ended.parcels) == []
    assert [one.ended for one in await store.children("e-1")] == [True]
    assert len((await history(store)).inbox) == len((await history(store, "e-2")).inbox) == 1
    stone = replace(a_cancel("early"), tombstone=True)
    assert (await store.deliver(stone)).reception is Reception.DELIVERED
    assert (await start(store, a_start("early", parent="e-1", parent_run=1))).wake is None
    assert (await other.commit(end=ContinueAsNew(input=b"next"), seen=1)).wake is not None
    assert (await parent.commit(end=Fail(error=b"e", escaped=("s",)), outstanding=1, seen=1)).released
    for action in (Action.RECORD, Action.RETRY, Action.HURRY, Action.FORCE_FAIL, Action.ROLLBACK):
        answer = await operate(store, action, entry=an_entry(0, "s"))
        assert answer.verdict is Verdict.DONE, action
    assert await store.audit("e-1") != ()
