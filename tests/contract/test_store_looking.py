"""Who only looks: nothing is created, changed or taken over, and what is there is taken as it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from runner.errors import ConfigError, StoreUnavailable
from runner.records import Filter, Status, WorkerInfo
from runner.store import HEARD_MS, Store
from runner.store.sqlite import SqliteStore
from runner.store.vitals import LOOKING
from tests.contract.conftest import Backend
from tests.contract.kit import a_start, begin, start

lasting = pytest.mark.parametrize("backend", ["sqlite-file", "redis"], indirect=True)


async def opened(backend: Backend, **how: Any) -> Store:
    store = backend.store(**how)
    await store.open()
    return store


async def beat(store: Store, id: str) -> None:
    worker = WorkerInfo(id=id, build="", queues=(), workflows=(), slots=1)
    renewer = store.renewer()
    await asyncio.to_thread(renewer.heartbeat, worker)
    await asyncio.to_thread(renewer.close)


async def seen(store: Store) -> dict[str, Any]:
    """Everything that can be looked at, without what passes with time."""
    history, leader = await store.read("e-3"), await store.leader()
    return {
        "executions": [one.id for one in (await store.executions(Filter())).executions],
        "history": history and (history.execution, history.entries, history.waits, history.inbox),
        "record": await store.record("e-3"),
        "audit": await store.audit("e-3"),
        "children": await store.children("e-3"),
        "schedules": await store.schedules(10),
        "schedule": await store.schedule("s-1"),
        "workers": [one.id for one in await store.workers(HEARD_MS)],
        "leader": leader and leader.leader,
        "standing": (await store.standing("e-1", "default")).ready,
        "backlog": dict(await store.backlog()),
        "losses": await store.losses(),
        "declared": (await store.vitals()).declared,
        "surveyed": sorted([facts.id async for look in store.survey() for facts in look.facts]),
        "leases": [(await store.next_due(partition))["leases"] for partition in range(store.partitions)],
        "outbox": [await store.outbox(partition, "", 10) for partition in range(store.partitions)],
    }


@lasting
async def test_a_name_that_nobody_uses_looks_empty_and_is_not_created(backend: Backend) -> None:
    await (await opened(backend)).close()  # a file, for one
    typo = f"{backend.namespace}-typo"
    looker = await opened(backend, namespace=typo, looking=True)
    assert not await looker.laid_out()
    found = await seen(looker)
    await looker.close()
    assert not any(found[name] for name in ("executions", "history", "workers", "schedules", "backlog", "surveyed"))
    other = await opened(backend, namespace=typo, partitions=3)  # refused, had the look laid it out
    assert await other.laid_out()
    await other.close()


@lasting
async def test_what_is_there_is_taken_as_it_is(backend: Backend) -> None:
    store = await opened(backend, partitions=3, durability="fsync")
    for id in ("e-1", "e-2"):
        await start(store, a_start(id))
    await begin(store, a_start("e-3"), lease_ms=3_600_000)
    await beat(store, "w-1")
    await store.lead("n-1", "first", 3_600_000)
    before = await seen(store)
    await store.close()
    for _ in range(2):
        looker = await opened(backend, looking=True)
        assert await looker.laid_out()
        assert looker.partitions == (await looker.vitals()).partitions == 3
        found = await seen(looker)
        await looker.close()
        assert found == before, "no lease, seat or worker of the last process is taken away"
        assert found["record"].status is Status.RUNNING


async def test_a_file_that_is_looked_at_is_not_made_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    looker = SqliteStore(str(path), namespace="n", demands=LOOKING)
    with pytest.raises(ConfigError, match=r"there is no store .* yet"):
        await looker.open()
    assert not list(tmp_path.iterdir())
    path.touch()
    await looker.open()
    assert (await looker.laid_out(), (await looker.executions(Filter())).executions) == (False, ())
    await looker.close()
    assert not path.stat().st_size
    path.unlink()
    store = SqliteStore(str(path), namespace="n")
    await store.open()
    await store.close()
    looker = SqliteStore(str(path), namespace="n", demands=LOOKING)
    await looker.open()
    with pytest.raises(StoreUnavailable, match="not authorized"):
        await start(looker, a_start())
    await looker.close()


async def test_what_a_newer_version_has_laid_out_is_not_misread(redis_url: str, namespace: str) -> None:
    from runner.store.redis import RedisStore

    with Redis.from_url(redis_url) as admin:
        admin.hset(f"runner:{{{namespace}}}:meta", mapping={"partitions": 16, "schema": 2})
    looker = RedisStore(redis_url, namespace=namespace, demands=LOOKING)
    with pytest.raises(ConfigError, match="schema 2"):
        await looker.open()
    await looker.close()


async def test_who_is_gone_for_long_is_forgotten_when_another_worker_comes(backend: Backend) -> None:
    store = await opened(backend)
    for id in ("w-1", "w-2"):
        await beat(store, id)
    await long_ago(backend, store, "w-1")
    await beat(store, "w-2")
    assert [one.id for one in await store.workers(2 * HEARD_MS)] == ["w-1", "w-2"], (
        "who is known already looks for nobody"
    )
    await beat(store, "w-3")
    assert [one.id for one in await store.workers(2 * HEARD_MS)] == ["w-2", "w-3"]
    await store.close()


async def long_ago(backend: Backend, store: Store, worker: str) -> None:
    """The last heartbeats so far were sent when nobody remembers; a server's clock is not ours to move."""
    if backend.kind != "redis":
        await backend.elapse(store, HEARD_MS + 1)
        return
    key = f"runner:{{{store.namespace}}}:workers"
    with Redis.from_url(store._endpoint.url) as admin:
        blob = admin.hget(key, worker).partition(b" ")[2]
        admin.hset(key, worker, b"%d " % (await store.now() - HEARD_MS - 1) + blob)
