"""What is SQLite's own: the file and its lock, the writer's thread, a full disk, the indexes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import ConfigError, Overloaded, StoreClosed, StoreConflict, StoreUnavailable
from runner.records import Filter, Status, WorkerInfo
from runner.store.sqlite import SqliteStore, schema
from runner.store.sqlite.arrivals import TOMBSTONE_MS
from runner.store.sqlite.session import Session
from runner.transactions import (
    Action,
    Complete,
    ContinueAsNew,
    Fail,
    Follow,
    Lease,
    Reception,
    RetryAttempt,
    Suspend,
)
from tests.contract.conftest import SkipClock
from tests.contract.kit import (
    a_cancel,
    a_notice,
    a_parcel,
    a_signal,
    a_sleep,
    a_start,
    a_wait,
    an_entry,
    begin,
    cancel,
    claim,
    history,
    operate,
    part,
    record,
    start,
)
from tests.contract.kit import signal as send

#: Opens the file, starts executions as fast as it can and says what was acknowledged, until it is killed.
CHILD = """
import asyncio, sys
from runner.transactions import Start
from runner.store.sqlite import SqliteStore

async def main(path, lease_ms):
    store = SqliteStore(path, namespace="n")
    await store.open()
    number = 0
    while True:
        ids = [f"c-{number + i}" for i in range(5)]
        number += 5
        await asyncio.gather(*(
            store.start([Start(id=id, request=id, workflow="w", version=1, queue="q", input=b"i", digest="d")])
            for id in ids
        ))
        await store.claim(ids[0], "nonce-" + ids[0], "w-child", lease_ms)
        print(*ids, flush=True)

asyncio.run(main(sys.argv[1], 3_600_000))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(str(path), namespace="n")
    await store.open()
    yield store
    await store.close()


async def opened(path: Path | None, namespace: str = "n", clock: Callable[[], int] | None = None) -> SqliteStore:
    store = SqliteStore(None if path is None else str(path), namespace=namespace, clock=clock)
    await store.open()
    return store


def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that connections opened from now on will run."""
    statements: list[str] = []
    connect = schema.connect

    def tracing(path: str | None) -> sqlite3.Connection:
        db = connect(path)
        db.set_trace_callback(statements.append)
        return db

    monkeypatch.setattr(schema, "connect", tracing)
    return statements


def names(said: str) -> list[str]:
    """The ids among the child's words; it logs too."""
    return [word for word in said.split() if word.startswith("c-")]


# -- the file and its lock ------------------------------------------------------------------------


async def test_a_second_store_on_the_file_is_refused_until_it_is_closed(store: SqliteStore, path: Path) -> None:
    link = path.parent / "link.db"
    link.symlink_to(path)
    for place in (path, link, path.parent / "." / "state.db"):
        with pytest.raises(ConfigError, match=f"{path}.*process {os.getpid()}"):
            await opened(place)
    await start(store, a_start())
    await store.close()
    other = await opened(link)
    assert (await record(other)).status is Status.PENDING
    await other.close()


async def test_a_killed_process_leaves_everything_acknowledged_and_no_lease(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged: list[str] = []
    try:
        while len(acknowledged) < 200:
            acknowledged += names(await asyncio.to_thread(child.stdout.readline))
        with pytest.raises(ConfigError, match=f"{path}.*process {child.pid}"):
            await opened(path)
    finally:
        child.send_signal(signal.SIGKILL)
        rest, _ = await asyncio.to_thread(child.communicate)
    acknowledged += names(rest.rpartition("\n")[0])
    store = await opened(path)
    found = [await store.record(id) for id in acknowledged]
    assert None not in found
    claimed = [one for one in found if one is not None and one.started_at is not None]
    assert len(claimed) == len(acknowledged) // 5
    assert {(one.status, one.crashes, one.lease_until) for one in claimed} == {(Status.PENDING, 1, None)}
    lost: set[str] = set()
    for partition in range(store.partitions):
        lost |= {wake.id for wake in (await store.overdue(partition, 10_000, 60_000)).lost}
    assert lost >= set(acknowledged), "every hint was lost with the process"
    await claim(store, acknowledged[0])
    await store.close()


async def test_opening_takes_over_leases_hints_seat_and_workers(path: Path) -> None:
    clock = SkipClock()
    store = await opened(path, clock=clock)
    await store.lead("old", "old", 3_600_000)
    worker = WorkerInfo(id="w", build="b", queues=(), workflows=(), slots=1)
    await asyncio.to_thread(store.renewer().heartbeat, worker)
    sleeper = await begin(store, a_start("sleeper"))
    await sleeper.commit(opens=[a_sleep(after_ms=60_000)], end=Suspend())
    owned = await begin(store, a_start("owned"), lease_ms=3_600_000)
    await owned.commit(entries=[an_entry()], lease_ms=3_600_000)
    await begin(store, a_start("doomed"), lease_ms=3_600_000)
    await cancel(store, "doomed")
    await store.start([a_start("ready"), a_start("passed")])
    await store.pass_over("passed", "unknown")
    await store.close()
    store = await opened(path, clock=clock)
    assert (await store.lead("new", "new", 1_000)).leading
    assert await store.workers(3_600_000) == []
    assert [(await record(store, id)).status for id in ("sleeper", "owned", "doomed")] == [
        Status.SLEEPING,
        Status.PENDING,
        Status.CANCELLING,
    ]
    assert [(await record(store, id)).crashes for id in ("owned", "doomed", "ready")] == [1, 1, 0]
    assert len((await history(store, "owned")).entries) == 1
    owned.store = store
    assert await owned.ask(entries=[an_entry(2)]) is None
    offered = set()
    for partition in range(store.partitions):
        found = await store.overdue(partition, 10, 60_000)
        offered |= {wake.id for wake in (*found.lost, *found.passed)}
    assert offered == {"owned", "doomed", "ready", "passed"}
    await store.close()


async def test_folders_are_made(tmp_path: Path) -> None:
    store = await opened(tmp_path / "new" / "folder" / "state.db")
    await start(store, a_start())
    await store.close()


async def test_an_unusable_place_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file" / "state.db", tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(place))):
            await opened(place)


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5_000])
async def test_a_damaged_file_is_named_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{path}.*(backup|own)"):
        await opened(path)
    assert path.read_bytes() == content


async def test_a_damaged_file_that_was_ours_is_named(store: SqliteStore, path: Path) -> None:
    await store.start([a_start(f"e-{i}") for i in range(500)])
    await store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(ConfigError, match=f"{path}.*backup"):
        await opened(path)


async def test_a_foreign_database_is_refused_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE customers (id INTEGER)")
    with pytest.raises(ConfigError, match=r"not Runner's"):
        await opened(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]


async def test_a_newer_schema_is_refused(store: SqliteStore, path: Path) -> None:
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(ConfigError, match=f"{path} has schema 99"):
        await opened(path)


async def test_a_refused_open_gives_the_lock_back(path: Path) -> None:
    path.write_bytes(b"garbage" * 1_000)
    for _ in range(2):
        with pytest.raises(ConfigError, match="damaged"):
            await opened(path)
    path.unlink()
    await (await opened(path)).close()


async def test_an_open_that_is_given_up_gives_the_lock_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, connect = threading.Event(), schema.connect

    def slow(path: str | None) -> sqlite3.Connection:
        held.wait(30)
        return connect(path)

    monkeypatch.setattr(schema, "connect", slow)
    opening = asyncio.create_task(opened(path))
    while not Path(f"{path}.lock").exists():
        await asyncio.sleep(0.01)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    held.set()
    async with asyncio.timeout(30):
        while True:
            try:
                store = await opened(path)
            except ConfigError:
                await asyncio.sleep(0.01)
            else:
                break
    await store.close()


async def test_what_is_committed_survives_a_power_loss(store: SqliteStore) -> None:
    def settings(session: Session) -> tuple[str, int]:
        (journal,) = session.db.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = session.db.execute("PRAGMA synchronous").fetchone()
        return journal, synchronous

    assert await store._do(settings) == ("wal", 2)


async def test_a_purge_leaves_no_row_behind() -> None:
    clock = SkipClock()
    store = await opened(None, clock=clock)
    turn = await begin(store, a_start(retention_ms=5, attributes=(("a", "1"),), parent="p-1"))
    await send(store)
    await turn.commit(entries=[an_entry()], opens=[a_wait()], children=[("c-1", "abandon")])
    await turn.commit(end=Fail(error=b"e"))
    await store._do(lambda s: s.db.execute("DELETE FROM audit WHERE place > 0"))
    found = await store._do(lambda s: s.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall())
    apart = {"meta", "namespace", "outbox", "seat", "worker", "tombstone", "sqlite_sequence"}
    tables = {name for (name,) in found} - apart

    def rows(session: Session) -> dict[str, int]:
        return {one: session.db.execute(f"SELECT count(*) FROM {one}").fetchone()[0] for one in tables}

    assert await store._do(rows) == {**dict.fromkeys(tables, 1), "wait": 0}, "each has something to lose"
    clock.now += 5
    assert (await store.purge(part(store), 10))[0] == 1
    assert await store._do(rows) == dict.fromkeys(tables, 0)
    await store.close()


async def test_a_tombstone_that_no_start_has_come_for_is_cleared_away() -> None:
    clock = SkipClock()
    store = await opened(None, clock=clock)
    for id in ("a", "b"):
        await store.deliver(replace(a_cancel(id), tombstone=True))
        clock.now += TOMBSTONE_MS - 1
    await start(store, a_start("a"))
    assert (await record(store, "a")).status is Status.PENDING, "its time was over"
    await start(store, a_start("b"))
    assert (await record(store, "b")).status is Status.CANCELLED
    await store.deliver(replace(a_cancel("c"), tombstone=True))
    clock.now += TOMBSTONE_MS
    await store.deliver(replace(a_cancel("d"), tombstone=True))
    left = await store._do(lambda s: s.db.execute("SELECT id FROM tombstone").fetchall())
    assert left == [("d",)]
    await store.close()


# -- the thread -----------------------------------------------------------------------------------


async def test_what_is_asked_at_once_is_written_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements = traced(monkeypatch)
    store = await opened(path)
    statements.clear()
    answers = await asyncio.gather(*(start(store, a_start(f"e-{i}")) for i in range(200)))
    await store.close()
    assert all(answer.new for answer in answers)
    assert statements.count("COMMIT") < 20, "200 starts must not cost 200 fsyncs"


async def test_one_failure_in_a_batch_is_one_failure(store: SqliteStore) -> None:
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1, payload=b"old")])
    held = threading.Event()
    blocked = asyncio.create_task(store._do(lambda _: held.wait(30)))
    others = [asyncio.create_task(start(store, a_start(f"before-{i}"))) for i in range(5)]
    conflict = asyncio.create_task(turn.ask(entries=[an_entry(2), an_entry(1, payload=b"new")]))
    others += [asyncio.create_task(start(store, a_start(f"after-{i}"))) for i in range(5)]
    await asyncio.sleep(0)
    held.set()
    assert await blocked
    with pytest.raises(StoreConflict):
        await conflict
    assert all(answer.new for answer in await asyncio.gather(*others))
    assert len((await history(store)).entries) == 1
    assert len((await store.executions(Filter(limit=100))).executions) == 11


async def test_a_slow_disk_does_not_hold_up_the_loop(store: SqliteStore) -> None:
    held = threading.Event()
    slow = asyncio.create_task(store._do(lambda _: held.wait(30)))
    asked = asyncio.create_task(start(store, a_start()))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not asked.done()
    held.set()
    assert await slow
    assert (await asked).new


async def test_a_cancelled_caller_does_no_harm(store: SqliteStore) -> None:
    held = threading.Event()
    running = asyncio.create_task(store._do(lambda _: held.wait(30)))
    waiting = [asyncio.create_task(start(store, a_start(f"w-{i}"))) for i in range(3)]
    await asyncio.sleep(0)
    running.cancel()
    waiting[1].cancel()
    await asyncio.gather(running, waiting[1], return_exceptions=True)
    held.set()
    assert (await waiting[0]).new
    assert (await waiting[2]).new
    assert (await start(store, a_start("later"))).new


async def test_words_of_what_was_undone_are_not_said(store: SqliteStore) -> None:
    def fail(session: Session) -> None:
        session.words.append(("topic", "false"))
        raise ValueError("undone")

    heard = await store.subscribe("topic")
    with pytest.raises(ValueError, match="undone"):
        await store._do(fail)
    await store._do(lambda session: session.words.append(("topic", "true")))
    assert await heard.next(5) == "true"


async def test_closing_works_off_what_was_asked(store: SqliteStore) -> None:
    held = threading.Event()
    first = asyncio.create_task(store._do(lambda _: held.wait(30)))
    asked = asyncio.create_task(start(store, a_start()))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    held.set()
    assert await first
    assert (await asked).new
    await closing


async def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(str(path), namespace="n")
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.now()
    await store.open()
    renewer = store.renewer()
    await store.close()
    with pytest.raises(StoreClosed, match="closed"):
        await store.now()
    with pytest.raises(StoreClosed, match="closed"):
        renewer.renew([Lease(id="e", nonce="n")], 1_000)


async def test_nobody_waits_for_a_thread_that_died(path: Path) -> None:
    class Death(BaseException):
        pass

    def die(_: Session) -> None:
        began.set()
        held.wait()
        raise Death

    began, held = threading.Event(), threading.Event()
    store = await opened(path)
    dying = asyncio.create_task(store._do(die))
    assert await asyncio.to_thread(began.wait, 5)
    queued = asyncio.create_task(store.now())
    await asyncio.sleep(0)
    held.set()
    async with asyncio.timeout(5):
        for asked in (dying, queued):
            with pytest.raises(StoreUnavailable):
                await asked
        with pytest.raises(StoreUnavailable):
            await store.now()
        await store.close()
        again = await opened(path)
        await again.close()


async def test_the_clock_of_the_machine_may_go_back() -> None:
    clock = SkipClock()
    store = await opened(None, clock=clock)
    first = await store.now()
    clock.now -= 60_000
    assert await store.now() == first
    clock.now += 60_005
    assert await store.now() == first + 5
    await store.close()


async def test_listeners_of_a_loop_that_is_gone_are_forgotten(store: SqliteStore) -> None:
    async def listen() -> None:
        await store.subscribe("ended/e-1")

    await asyncio.to_thread(asyncio.run, listen())
    await start(store, a_start())
    await cancel(store)
    await start(store, a_start("e-2"))
    assert not store._topics._listeners


# -- a full disk ----------------------------------------------------------------------------------


async def test_a_full_disk_refuses_new_work_and_loses_nothing(store: SqliteStore) -> None:
    turn = await begin(store)
    (pages,) = await store._do(lambda s: s.db.execute("PRAGMA page_count").fetchone())
    await store._do(lambda s: s.db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    big = bytes(100_000)
    with pytest.raises(Overloaded, match="no room"):
        await start(store, a_start("more", input=big))
    with pytest.raises(Overloaded, match="no room"):
        await store.deliver(a_signal(payload=big))
    with pytest.raises(StoreUnavailable):
        await turn.ask(entries=[an_entry(payload=big)])
    with pytest.raises(StoreUnavailable) as unavailable:
        await start(store, a_start("child", parent="e-1", input=big))
    assert not isinstance(unavailable.value, Overloaded), "running work is asked again, not refused"
    answers = await asyncio.gather(
        start(store, a_start("too-big", input=big)), cancel(store), store.record("e-1"), return_exceptions=True
    )
    assert isinstance(answers[0], Overloaded)
    assert getattr(answers[1], "reception", None) is Reception.DELIVERED
    await store._do(lambda s: s.db.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert await turn.again() is not None
    assert (await start(store, a_start("more", input=big))).new
    found = await history(store)
    assert (found.execution.status, len(found.entries), len(found.inbox)) == (Status.CANCELLING, 1, 1)


# -- indexes --------------------------------------------------------------------------------------


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
    await store.lead("n", "name", 5)
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
    indexes = {"ready", "ready_queue", "passed_over", "timers", "leases", "expiry", "outbox_order"}
    listings = {"by_age", "by_status", "by_workflow", "by_both", "by_need", "by_attribute"}
    assert {name for name in indexes | listings if not re.search(rf"INDEX {name}\b", used)} == set()
    sorts = {sql: plan for sql, plan in found.items() if any("TEMP B-TREE" in step for step in plan)}
    assert {sql.partition(" FROM ")[2].split(" ")[0] for sql in sorts} <= {"entry"}, "one execution's journal is small"
