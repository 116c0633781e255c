"""What is SQLite's own: the file and its lock, and what goes with what."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.records import Status, WorkerInfo
from runner.store.sqlite import SqliteStore, schema
from runner.store.sqlite.arrivals import TOMBSTONE_MS
from runner.store.sqlite.session import Session
from runner.transactions import (
    Fail,
    Suspend,
)
from tests.contract.conftest import SkipClock
from tests.contract.kit import (
    a_cancel,
    a_sleep,
    a_start,
    a_wait,
    an_entry,
    begin,
    cancel,
    claim,
    history,
    part,
    record,
    start,
)
from tests.contract.kit import signal as send
from tests.contract.sqlite_kit import opened

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


def names(said: str) -> list[str]:
    """The ids among the child's words; it logs too."""
    return [word for word in said.split() if word.startswith("c-")]


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
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"not Runner's"):
        await opened(path)
    assert path.read_bytes() == before


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
    apart = {
        "meta",
        "namespace",
        "outbox",
        "schedule",
        "seat",
        "worker",
        "tombstone",
        "sqlite_sequence",
        "loss",
        "gone",
    }
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
