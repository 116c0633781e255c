"""The door of `runner dev`: the store behind it answers as if it were here, and only to its owner."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from runner import App, Client, Context, Signal
from runner.broker.memory import MemoryBroker
from runner.cli.door import open_door
from runner.cli.visitor import DoorStore
from runner.cli.wire import door_of
from runner.errors import ConfigError, Overloaded, StoreUnavailable, UnknownExecution
from runner.events import AuditAppended
from runner.scheduler import Scheduler
from runner.store.sqlite import SqliteStore
from runner.transactions import Start
from runner.workers import Worker, WorkerOptions

app = App("shop")
go = Signal[str]("go")


@app.workflow("waiting")
async def waiting(ctx: Context, text: str) -> str:
    return text + await ctx.wait_for_signal(go)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@contextlib.asynccontextmanager
async def held(file: Path, store: SqliteStore | None = None):
    """A process that holds the file, with its worker, and the door open."""
    store = store or SqliteStore(str(file), namespace="shop")
    broker = MemoryBroker("shop")
    async with contextlib.AsyncExitStack() as stack:
        await store.open()
        stack.push_async_callback(store.close)
        await broker.open(["default"])
        stack.push_async_callback(broker.close)
        await stack.enter_async_context(Scheduler(store, broker))
        options = WorkerOptions(grace_s=2.0, watch_loop=False)
        await stack.enter_async_context(Worker(app, store, broker, options))
        await stack.enter_async_context(open_door(file, Client(app, store, broker)))
        yield store


@contextlib.asynccontextmanager
async def visiting(file: Path):
    door = await DoorStore.find(file)
    assert door is not None
    broker = MemoryBroker("shop")
    await broker.open()
    async with Client(app, door, broker) as client:
        yield client
    await broker.close()
    await door.close()


async def test_a_client_works_through_the_door(file):
    async with held(file), visiting(file) as client:
        async with asyncio.timeout(30):
            handle = await client.start(waiting, "a")
            waited = asyncio.create_task(handle.result())
            assert await client.signal(handle.id, go, "b")
            assert await waited == "ab"
            assert not await client.signal(handle.id, go, "c")
        history = await client.history(handle.id)
        assert [entry.kind for entry in history.entries] == ["signal"]
        page = await client.executions(limit=5)
        assert [execution.id for execution in page.executions] == [handle.id]
        (worker,) = await client.store.workers(60_000)
        assert worker.workflows[0][:2] == ("waiting", 1)
        leader = await client.store.leader()
        assert leader is not None
        assert leader.leader.startswith("scheduler-")
        assert (await client.store.standing(handle.id, "default")).waiting == 0
        assert client.store.namespace == "shop"


async def test_what_is_started_through_the_door_is_published_there_at_once(file):
    """Without that, the scheduler would find it after its grace of two seconds."""
    published: list[str] = []

    class Listening(MemoryBroker):
        async def publish_many(self, hints):
            published.extend(hint.execution_id for _, hint in hints)
            return len(hints)

    store = SqliteStore(str(file), namespace="shop")
    await store.open()
    async with open_door(file, Client(app, store, Listening("shop"))), visiting(file) as client:
        handle = await client.start(waiting, "a")
        assert published == [handle.id]
    await store.close()


async def test_what_an_operator_does_through_the_door_is_told_and_carried_behind_it(file):
    """The parent's notice leaves the outbox at once, observers in the process that holds the file hear of it."""
    told: list[str] = []
    shop = App("shop")
    shop.hooks.add(AuditAppended, lambda event: told.append(event.kind))
    store = SqliteStore(str(file), namespace="shop")
    await store.open()
    async with open_door(file, Client(shop, store, MemoryBroker("shop"))), visiting(file) as client:
        parent = await client.start(waiting, "a", id="parent")
        child = Start(
            id="child",
            request="r",
            workflow="waiting",
            version=1,
            queue="default",
            input=b"",
            digest="",
            parent="parent",
        )
        await client.store.start([child])
        await client.operator.force_fail("child", "enough", actor="ann")
        assert [line.item.name for line in (await parent.detail()).unread] == ["child"]
        assert [line.kind for line in await client.audit("child")][-2:] == ["operator", "status"]
        assert (await client.tree("parent")).children == ()
        await shop.hooks.settle()
        assert told.count("operator") == 1
    await store.close()


async def test_errors_come_through_as_themselves(file):
    class Full(SqliteStore):
        async def start(self, starts):
            raise Overloaded("the disk is full")

    async with held(file, Full(str(file), namespace="shop")), visiting(file) as client:
        with pytest.raises(Overloaded, match="the disk is full"):
            await client.start(waiting, "a")
        with pytest.raises(UnknownExecution):
            await client.execution("nobody")


async def test_only_the_owner_may_knock(file):
    async with held(file):
        assert door_of(file).stat().st_mode & 0o777 == 0o600


async def test_nobody_behind_the_door(file):
    assert await DoorStore.find(file) is None
    async with held(file):
        pass
    assert not door_of(file).exists()
    # A process that was killed leaves its socket; the next one takes its place.
    async with held(file):
        os.link(door_of(file), file.with_name("kept"))
    file.with_name("kept").rename(door_of(file))
    assert await DoorStore.find(file) is None
    async with held(file), visiting(file) as client:
        assert (await client.executions()).executions == ()


async def test_a_waiting_visitor_is_told_when_the_process_goes(file):
    async with contextlib.AsyncExitStack() as stack:
        async with held(file):
            client = await stack.enter_async_context(visiting(file))
            handle = await client.start(waiting, "a")
            waited = asyncio.create_task(handle.result())
            while not (await client.executions(status="sleeping")).executions:
                await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="goes on when"):
            async with asyncio.timeout(30):
                await waited


async def test_a_file_deep_down(tmp_path):
    """The system bounds the address of a socket at about a hundred characters."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    async with held(folder / "state.db"), visiting(folder / "state.db") as client:
        assert (await client.executions()).executions == ()


async def test_garbage_is_answered_or_dropped_and_others_are_served(file):
    async with held(file), visiting(file) as client:
        for line in (b"garbage\n", b'{"method": "start", "params": 7}\n', b'{"method": "close", "params": null}\n'):
            reader, writer = await asyncio.open_unix_connection(str(door_of(file)))
            writer.write(line)
            answer = await reader.readline()
            assert answer == b"" or b"error" in answer
            writer.close()
            await writer.wait_closed()
        assert (await client.executions()).executions == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
async def test_a_door_of_another_user(file):
    async with held(file):
        door_of(file).chmod(0)
        with pytest.raises(ConfigError, match="another user"):
            await DoorStore.find(file)
