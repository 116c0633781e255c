"""No statement of SQLite's walks through what it does not need."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from runner.records import Filter, Status
from runner.store.sqlite import SqliteStore
from runner.store.sqlite.session import Session
from runner.transactions import (
    Action,
    Complete,
    ContinueAsNew,
    Fail,
    Follow,
    Lease,
    RetryAttempt,
    Suspend,
)
from tests.contract.conftest import SkipClock
from tests.contract.kit import (
    a_cancel,
    a_notice,
    a_parcel,
    a_schedule,
    a_sleep,
    a_start,
    a_wait,
    an_entry,
    begin,
    cancel,
    claim,
    operate,
    part,
    start,
)
from tests.contract.kit import signal as send
from tests.contract.sqlite_kit import opened, traced


async def a_family_life(store: SqliteStore) -> None:
    """A parent, its children, its followers, its runs and its operator."""
    await store.deliver(replace(a_cancel("f-child"), tombstone=True))
    await start(store, a_start("f-child", parent="f", attributes=(("a", "1"), ("b", "2"))))
    turn = await begin(store, a_start("f", audit=2, entries=(an_entry(),)))
    await store.follow(Follow(target="f", waiter="other", run=1, workflow="order"))
    await send(store, "f")
    await turn.commit(children=[("f-child", "cancel"), ("f-2", "cancel")], attributes=[("a", "2")], opens=[a_wait()])
    await store.deliver(a_notice("f-child", "f"))
    await turn.commit(end=ContinueAsNew(input=b"i"), seen=0)
    turn = await claim(store, "f")
    await turn.commit(entries=[an_entry()], opens=[a_sleep(after_ms=60_000)], end=Fail(error=b"e"))
    await operate(store, Action.RETRY, "f", entries=1, drop=("step-1",))
    await operate(store, Action.RECORD, "f", entry=an_entry())
    await operate(store, Action.HURRY, "f", hurry=("nap",))
    await operate(store, Action.FORCE_FAIL, "f")
    await store.audit("f")
    await store.children("f")


async def a_schedules_life(store: SqliteStore) -> None:
    await store.put_schedules([a_schedule("s-1", due_at=1), a_schedule("s-2")])
    await store.put_schedules([a_schedule("s-1", due_at=1, revision=2)])
    await store.stir_schedule("s-2")
    await store.due_schedules(1)
    await store.schedules(1, "s-1")
    await store.drop_schedule("s-1", 2)


async def a_whole_life(store: SqliteStore, clock: SkipClock) -> None:
    """Every operation at least once, each finding something to do."""
    here = part(store)
    await store.start([a_start(retention_ms=5), a_start("b", delay_ms=5), a_start("c", timeout_ms=5)])
    await store.pass_over("e-1", "unknown")
    await store.rush([("order", 1)], 10)
    turn = await claim(store)
    await turn.commit(entries=[an_entry()], opens=[a_sleep(after_ms=5), a_wait()], outgoing=[a_parcel("r")])
    await turn.commit(closes=["approval"], end=Suspend())
    await send(store)
    await cancel(store)
    await asyncio.to_thread(store.renewer().renew, [Lease(id="e-1", nonce="n")], 5)
    turn = await claim(store, lease_ms=5)
    clock.now += 10
    for partition in range(store.partitions):
        await store.due(partition, 10)
        await store.reap(partition, 10, [])
        await store.overdue(partition, 10, 5)
        await store.next_due(partition)
    turn = await claim(store)
    await store.release("e-1", turn.nonce)
    turn = await claim(store, "b")
    await turn.commit(entries=[an_entry()], end=RetryAttempt(after_ms=5, error=b"e", drop=("step-1",)))
    turn = await claim(store)
    await turn.commit(end=Fail(error=b"e"), seen=2)
    turn = await begin(store, a_start("d"))
    await turn.commit(end=Complete(result=b"r"))
    for parcel in await store.relay(here, 10):
        await store.relayed(here, [parcel.place])
    await store.read("e-1")
    for filter in (
        Filter(),
        Filter(stuck=True),
        Filter(attributes=(("a", "1"), ("b", "2"))),
        Filter(attributes=(("a", "1"),), status=Status.COMPLETED, created_after=0, created_before=1, cursor="5.5"),
        Filter(status=Status.COMPLETED),
        Filter(workflow="order"),
        Filter(status=Status.COMPLETED, workflow="order", created_after=0, created_before=1, cursor="5.5"),
        Filter(limit=1),
    ):
        await store.executions(filter)
    clock.now += 10
    assert (await store.purge(here, 10))[0] == 1
    await a_family_life(store)
    await a_schedules_life(store)
    await store.lead("n", "name", 5)
    await store.leader()
    await start(store, a_start("z"))
    await store.standing("z", "default")
    await store.workers(5)


async def test_no_statement_walks_through_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement of a whole life finds its rows by an index and needs no sorting."""
    clock = SkipClock()
    statements = traced(monkeypatch)
    store = await opened(None, clock=clock)
    statements.clear()
    await a_whole_life(store, clock)
    ran = {one for one in statements if re.match("SELECT|UPDATE|DELETE|INSERT", one)}
    assert len(ran) > 60

    def plans(session: Session) -> dict[str, list[str]]:
        session.db.set_trace_callback(None)
        return {one: [row[3] for row in session.db.execute(f"EXPLAIN QUERY PLAN {one}")] for one in ran}

    found = await store._do(plans)
    await store.close()
    walks = {
        sql: plan
        for sql, plan in found.items()
        if any(step.startswith("SCAN") and "CONSTANT" not in step for step in plan)
    }
    assert walks == {}
    used = " ".join(step for plan in found.values() for step in plan)
    indexes = {
        "line",
        "ready",
        "ready_queue",
        "passed_over",
        "timers",
        "leases",
        "expiry",
        "outbox_order",
        "schedules_due",
    }
    listings = {"by_age", "by_status", "by_workflow", "by_both", "by_need", "by_attribute"}
    assert {name for name in indexes | listings if not re.search(rf"INDEX {name}\b", used)} == set()
    sorts = {sql: plan for sql, plan in found.items() if any("TEMP B-TREE" in step for step in plan)}
    assert {sql.partition(" FROM ")[2].split(" ")[0] for sql in sorts} <= {"entry"}, "one execution's journal is small"
