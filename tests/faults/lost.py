"""One call of every script that writes, for tests in which its reply is lost.

Each case makes ready what the call needs, says ``lose()`` right before it, and gives back its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from runner.core.facts import Stray
from runner.records import WorkerInfo
from runner.store.crashes import GIVE_UP
from runner.store.inspection import Repair
from runner.store.redis import RedisStore
from runner.store.redis.scripts import scripts
from runner.transactions import (
    Action,
    Complete,
    ContinueAsNew,
    Deliver,
    Fail,
    Follow,
    Lease,
    RetryAttempt,
    Suspend,
)
from tests.contract.kit import (
    LEASE,
    Turn,
    a_cancel,
    a_notice,
    a_parcel,
    a_row,
    a_schedule,
    a_signal,
    a_start,
    a_wait,
    an_entry,
    begin,
    operate,
    part,
    start,
)

Lose = Callable[[], None]
Case = Callable[[RedisStore, Lose], Awaitable[Any]]

CASES: dict[str, Case] = {}
#: A repeat finds that there is nothing left to do, and its answer says so; what the lost one named lies in an index.
ANSWER_ANEW = {"due", "overdue", "reap", "purge", "release", "mend", "sweep"}


def case(function: Case) -> Case:
    """Named by its script, and what it is about behind a dot: ``commit__suspend`` is ``commit.suspend``."""
    CASES[function.__name__.removesuffix("_").replace("__", ".")] = function
    return function


def soon(seconds: float = 0.01) -> Awaitable[None]:
    """What was asked for "in a ms" is due."""
    return asyncio.sleep(seconds)


# -- executions -----------------------------------------------------------------------------------


@case
async def start_(store: RedisStore, lose: Lose) -> Any:
    lose()
    answer = await start(store, a_start(attributes=(("colour", '"red"'),), timeout_ms=60_000))
    assert answer.new and answer.wake is not None, "it was created by this request, whoever heard of it"
    return answer


@case
async def start_child(store: RedisStore, lose: Lose) -> Any:
    await begin(store)
    lose()
    return await start(store, a_start("c-1", parent="e-1", parent_run=1))


@case
async def claim(store: RedisStore, lose: Lose) -> Any:
    await start(store, a_start())
    lose()
    return await store.claim("e-1", "a nonce", "w-1", LEASE)


async def a_full_commit(store: RedisStore) -> tuple[Turn, Mapping[str, Any]]:
    parts = {
        "entries": [an_entry(), an_entry(2)],
        "opens": [a_wait(after_ms=60_000), a_wait("other", "else")],
        "outgoing": [a_parcel("r-1"), a_parcel("r-2")],
        "children": [("c-1", "cancel")],
        "attributes": [("colour", '"red"')],
        "audit": [a_row()],
    }
    return await begin(store), parts


@case
async def commit(store: RedisStore, lose: Lose) -> Any:
    turn, parts = await a_full_commit(store)
    lose()
    return await turn.ask(outstanding=1, **parts)


@case
async def commit__suspend(store: RedisStore, lose: Lose) -> Any:
    turn, parts = await a_full_commit(store)
    lose()
    return await turn.ask(end=Suspend(), **parts)


@case
async def commit__refused(store: RedisStore, lose: Lose) -> Any:
    turn, parts = await a_full_commit(store)
    await store.deliver(a_signal())
    lose()
    return await turn.ask(end=Suspend(), **parts)


@case
async def commit__complete(store: RedisStore, lose: Lose) -> Any:
    turn, parts = await a_full_commit(store)
    lose()
    return await turn.ask(end=Complete(result=b"done"), **parts)


@case
async def commit__fail(store: RedisStore, lose: Lose) -> Any:
    turn, parts = await a_full_commit(store)
    lose()
    return await turn.ask(end=Fail(error=b"e", escaped=("step-1",)), **parts)


@case
async def commit__retry(store: RedisStore, lose: Lose) -> Any:
    turn, parts = await a_full_commit(store)
    lose()
    return await turn.ask(end=RetryAttempt(after_ms=60_000, error=b"e", drop=("step-1",)), **parts)


@case
async def commit__continue(store: RedisStore, lose: Lose) -> Any:
    turn, parts = await a_full_commit(store)
    await store.deliver(a_signal())
    lose()
    return await turn.ask(end=ContinueAsNew(input=b"next"), **parts)


@case
async def release(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store)
    lose()
    return await store.release("e-1", turn.nonce)


@case
async def break_off(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store)
    lose()
    return await store.break_off("e-1", turn.nonce, GIVE_UP)


@case
async def break_off__poisoned(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store, a_start(parent="p-1", parent_run=1))
    lose()
    return await store.break_off("e-1", turn.nonce, replace(GIVE_UP, crashes=1))


@case
async def pass_over(store: RedisStore, lose: Lose) -> Any:
    await start(store, a_start())
    lose()
    return await store.pass_over("e-1", "unknown workflow")


@case
async def signal(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store)
    await turn.ask(end=Suspend(), opens=[a_wait()])
    lose()
    return await store.deliver(a_signal())


@case
async def cancel(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store)
    await turn.ask(end=Suspend(), opens=[a_wait()])
    lose()
    return await store.deliver(a_cancel())


@case
async def cancel__unclaimed(store: RedisStore, lose: Lose) -> Any:
    await start(store, a_start())
    lose()
    return await store.deliver(a_cancel())


@case
async def cancel__early(store: RedisStore, lose: Lose) -> Any:
    lose()
    return await store.deliver(replace(a_cancel(), tombstone=True))


@case
async def notice(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store)
    await turn.ask(end=Suspend(), opens=[a_wait()], children=[("c-1", "cancel")])
    lose()
    return await store.deliver(a_notice("c-1"))


@case
async def reopened(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store)
    await turn.ask(end=Suspend(), opens=[a_wait()], children=[("c-1", "cancel")])
    await store.deliver(a_notice("c-1"))
    payload = f"1 {await store.now()} 1 cancel".encode()
    lose()
    return await store.deliver(Deliver(id="e-1", request="r", kind="reopened", name="c-1", payload=payload))


@case
async def follow(store: RedisStore, lose: Lose) -> Any:
    await start(store, a_start("t-1"))
    lose()
    return await store.follow(Follow(target="t-1", waiter="e-1", run=1, workflow="order"))


@case
async def operate__record(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store)
    await turn.ask(end=Suspend(), entries=[an_entry()], opens=[a_wait()])
    lose()
    return await operate(store, Action.RECORD, entry=an_entry(0, "approval"), drop=("step-1",))


@case
async def operate__retry(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store)
    await turn.ask(end=Fail(error=b"e", escaped=("step-1",)), entries=[an_entry()])
    lose()
    return await operate(store, Action.RETRY, drop=("step-1",))


@case
async def operate__force_fail(store: RedisStore, lose: Lose) -> Any:
    await begin(store, a_start(parent="p-1", parent_run=1))
    lose()
    return await operate(store, Action.FORCE_FAIL, error=b"e")


# -- time -----------------------------------------------------------------------------------------


@case
async def due(store: RedisStore, lose: Lose) -> Any:
    await start(store, a_start(delay_ms=1))
    await soon()
    lose()
    return await store.due(part(store), 10)


@case
async def due__timed_out(store: RedisStore, lose: Lose) -> Any:
    await start(store, a_start(timeout_ms=1, parent="p-1", parent_run=1))
    await soon()
    lose()
    return await store.due(part(store), 10)


@case
async def reap(store: RedisStore, lose: Lose) -> Any:
    await begin(store, lease_ms=1)
    await soon()
    lose()
    return await store.reap(part(store), 10, [])


@case
async def overdue(store: RedisStore, lose: Lose) -> Any:
    await start(store, a_start())
    await store._pipeline.command("ZADD", f"{store._keys.home('e-1')}ready:default", 1, "e-1")
    lose()
    return await store.overdue(part(store), 10, 5_000)


@case
async def rush(store: RedisStore, lose: Lose) -> Any:
    await start(store, a_start())
    await store.pass_over("e-1", "unknown workflow")
    lose()
    return await store.rush([("order", 1)], 10)


@case
async def purge(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store, a_start(retention_ms=1))
    await turn.ask(end=Complete(result=b"done"), entries=[an_entry()])
    await soon()
    lose()
    return await store.purge(part(store), 10)


@case
async def mend(store: RedisStore, lose: Lose) -> Any:
    await start(store, a_start())
    await store._pipeline.command("ZREM", f"{store._keys.home('e-1')}ready:default", "e-1")
    lose()
    return await store.mend("e-1", Repair(lease_ms=LEASE, wake=True))


@case
async def sweep(store: RedisStore, lose: Lose) -> Any:
    await store._pipeline.command("ZADD", f"{store._keys.home('e-1')}timers", 1, "e-1")
    lose()
    return await store.sweep([Stray(partition=part(store), kind="entry", place="timers", id="e-1")])


@case
async def broken(store: RedisStore, lose: Lose) -> Any:
    lose()
    return await store._pipeline.run(scripts().broken, store._keys.wide, "a run id", "why")


@case
async def renew(store: RedisStore, lose: Lose) -> Any:
    turn = await begin(store)
    renewer = store.renewer()
    lose()
    answer = await asyncio.to_thread(renewer.renew, [Lease(id="e-1", nonce=turn.nonce)], LEASE)
    renewer.close()
    return answer


# -- the namespace --------------------------------------------------------------------------------


@case
async def meta(store: RedisStore, lose: Lose) -> Any:
    other = RedisStore(store._endpoint.url, namespace=f"{store.namespace}-other")
    lose()
    await other.open()
    await other.close()


@case
async def lead(store: RedisStore, lose: Lose) -> Any:
    lose()
    return await store.lead("a nonce", "one", 60_000)


@case
async def abdicate(store: RedisStore, lose: Lose) -> Any:
    await store.lead("a nonce", "one", 60_000)
    lose()
    return await store.abdicate("a nonce")


@case
async def heartbeat(store: RedisStore, lose: Lose) -> Any:
    renewer = store.renewer()
    lose()
    await asyncio.to_thread(renewer.heartbeat, A_WORKER)
    renewer.close()


A_WORKER = WorkerInfo(id="w-1", build="b", queues=("default",), workflows=(("order", 1, "default"),), slots=1)


@case
async def put_schedules(store: RedisStore, lose: Lose) -> Any:
    now = await store.now()
    await store.put_schedules([a_schedule(due_at=now)])
    lose()
    return await store.put_schedules([a_schedule(revision=2, due_at=now + 1_000), a_schedule("s-2", due_at=now)])


@case
async def drop_schedule(store: RedisStore, lose: Lose) -> Any:
    await store.put_schedules([a_schedule(due_at=await store.now())])
    lose()
    return await store.drop_schedule("s-1", 1)


@case
async def stir_schedule(store: RedisStore, lose: Lose) -> Any:
    await store.put_schedules([a_schedule(due_at=await store.now() + 60_000)])
    lose()
    return await store.stir_schedule("s-1")
