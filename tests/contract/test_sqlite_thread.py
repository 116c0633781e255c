"""How SQLite works: a thread for a file, none for memory, and a disk that is full."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner.errors import Overloaded, StoreClosed, StoreConflict, StoreUnavailable
from runner.records import Filter, Status
from runner.store.sqlite import SqliteStore
from runner.store.sqlite.session import Session
from runner.store.sqlite.store import PORTION
from runner.transactions import (
    Lease,
    Reception,
)
from tests.contract.conftest import SkipClock
from tests.contract.kit import (
    a_signal,
    a_start,
    an_entry,
    begin,
    cancel,
    history,
    record,
    start,
)
from tests.contract.kit import signal as send
from tests.contract.sqlite_kit import opened, traced


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(str(path), namespace="n")
    await store.open()
    yield store
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


# -- in memory ------------------------------------------------------------------------------------


async def test_memory_needs_no_thread() -> None:
    before = threading.active_count()
    store = await opened(None)
    await begin(store)
    assert threading.active_count() == before
    await store.close()
    await store.close()
    with pytest.raises(StoreClosed):
        await store.record("e-1")


async def test_memory_leaves_the_loop_to_others() -> None:
    """Whoever asks without a pause is not alone on the loop."""
    store = await opened(None)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(20):
        await store.now()
    task.cancel()
    assert turns >= 19
    await store.close()


async def test_a_big_batch_of_starts_leaves_the_loop_to_others() -> None:
    store = await opened(None)
    batch = asyncio.create_task(store.start([a_start(f"b-{number}") for number in range(5 * PORTION + 1)]))
    await asyncio.sleep(0)
    signs = 0
    while not batch.done():
        signs += 1
        await asyncio.sleep(0)
    assert signs > 5, "between any two portions"
    assert all(one.new for one in await batch)
    assert [one.wake.id for one in await batch if one.wake] == [f"b-{number}" for number in range(5 * PORTION + 1)]
    await store.close()


async def test_memory_serves_one_thread_at_a_time() -> None:
    store = await opened(None)
    turn = await begin(store)
    lease = Lease(id="e-1", nonce=turn.nonce)

    def renew() -> int:
        renewer = store.renewer()
        return sum(one.held for _ in range(300) for one in renewer.renew([lease], 60_000))

    threads = [asyncio.create_task(asyncio.to_thread(renew)) for _ in range(3)]
    for number in range(100):
        await send(store, payload=b"%d" % number)
    assert await asyncio.gather(*threads) == [300, 300, 300]
    assert [item.payload for item in (await history(store)).inbox] == [b"%d" % number for number in range(100)]
    await store.close()


async def test_what_fails_in_memory_leaves_nothing_behind() -> None:
    store = await opened(None)
    turn = await begin(store)
    await turn.commit(entries=[an_entry(1)])
    with pytest.raises(StoreConflict):
        await turn.ask(entries=[an_entry(2), an_entry(1, payload=b"other")])
    assert [entry.number for entry in (await history(store)).entries] == [1]
    with pytest.raises(StoreUnavailable, match="no such table"):
        await store._do(lambda s: s.db.execute("SELECT * FROM nowhere"))
    assert (await record(store)).status is Status.RUNNING
    await store.close()


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
