"""What comes a moment too early or too late, on purpose: between a turn's last look and the store's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runner import App
from runner.errors import StoreConflict
from runner.records import History, Status
from runner.store.crashes import GIVE_UP
from runner.store.redis import RedisStore
from runner.transactions import Action, Commit, Committed, Complete, RetryAttempt, Suspend
from tests.contract.kit import (
    a_cancel,
    a_signal,
    a_start,
    an_entry,
    begin,
    claim,
    history,
    operate,
    part,
    record,
    start,
)
from tests.e2e import ledger
from tests.faults.fleet import Fleet, acknowledged, fleet, until
from tests.faults.small import app, fails, finishes, hears, takes_long

Meddle = Callable[[Commit], Awaitable[object]]
LONG_S = 3.0


class Meddled(RedisStore):
    """Something happens right before a turn's commit of one kind arrives, once."""

    def __init__(self, url: str, namespace: str, end: type, meddle: Meddle) -> None:
        super().__init__(url, namespace=namespace)
        self._end = end
        self._meddle: Meddle | None = meddle

    async def commit(self, commit: Commit) -> Committed | None:
        if isinstance(commit.end, self._end) and self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            await meddle(commit)
        return await super().commit(commit)


async def meddled(one: Fleet, end: type, meddle: Meddle) -> None:
    """A worker whose first such commit comes too late."""
    await one.add_worker(store=Meddled(one.redis, one.namespace, end, meddle))


async def statused(one: Fleet, id: str) -> tuple[Status, Any]:
    """How it has ended, and why."""
    await one.ended(id)
    execution = await acknowledged(lambda: one.client.execution(id))
    return execution.status, execution.cause


# -- what comes while a turn ends -----------------------------------------------------------------


async def test_a_signal_that_comes_while_its_waiter_decides_to_suspend_is_heard(
    redis_url: str, rabbit_url: str, namespace: str
) -> None:
    async with fleet(redis_url, rabbit_url, namespace, app=app) as one:
        quiet, _ = await one.connected()
        await meddled(
            one, Suspend, lambda commit: quiet.deliver(replace(a_signal(commit.id), name="told", payload=YES))
        )
        handle = await one.client.start(hears)
        await one.ended(handle.id)
        assert await handle.result() == "yes"


YES = b"\xa3yes"


async def test_an_end_that_comes_after_the_deadline_is_a_time_out(
    redis_url: str, rabbit_url: str, namespace: str
) -> None:
    async with fleet(redis_url, rabbit_url, namespace, app=app) as one:

        async def late(commit: Commit) -> None:
            deadline = (await one.client.execution(commit.id)).deadline
            assert deadline is not None
            await until(lambda: _passed(one, deadline), lambda: "the deadline to pass")

        await meddled(one, Complete, late)
        handle = await one.client.start(finishes, timeout=timedelta(seconds=1))
        assert await statused(one, handle.id) == (Status.FAILED, "timed_out")


async def _passed(one: Fleet, moment: int) -> bool:
    return await one.client.store.now() > moment


async def test_a_cancel_that_comes_while_an_attempt_is_given_up_ends_it(
    redis_url: str, rabbit_url: str, namespace: str
) -> None:
    """It is no failure of the code, and there is no further attempt."""
    async with fleet(redis_url, rabbit_url, namespace, app=app) as one:
        quiet, _ = await one.connected()
        await meddled(one, RetryAttempt, lambda commit: quiet.deliver(a_cancel(commit.id)))
        handle = await one.client.start(fails)
        assert (await statused(one, handle.id))[0] is Status.CANCELLED
        assert (await handle.execution()).attempt == 1


async def test_a_cancel_that_comes_behind_a_completion_does_not_undo_it(
    redis_url: str, rabbit_url: str, namespace: str
) -> None:
    async with fleet(redis_url, rabbit_url, namespace, app=app) as one:
        quiet, _ = await one.connected()
        await meddled(one, Complete, lambda commit: quiet.deliver(a_cancel(commit.id)))
        handle = await one.client.start(finishes)
        assert (await statused(one, handle.id))[0] is Status.COMPLETED
        assert await handle.result() == "done"


# -- leases ---------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_step_that_takes_longer_than_a_lease_is_called_once(
    redis_url: str, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with fleet(redis_url, rabbit_url, namespace, app=app, lease_s=1.5) as one:
        await one.add_scheduler()
        for _ in range(2):
            await one.add_worker()
        handle = await one.client.start(takes_long, LONG_S)
        assert (await statused(one, handle.id))[0] is Status.COMPLETED
        assert len(ledger.read(book)) == 1


async def test_who_leaves_hands_over_what_it_cannot_end(
    redis_url: str, rabbit_url: str, namespace: str, book: Path
) -> None:
    """Not when its lease is over: at once."""
    async with fleet(redis_url, rabbit_url, namespace, app=app, lease_s=600.0) as one:
        leaving = await one.add_worker()
        handle = await one.client.start(takes_long, 3600.0)
        await until(lambda: len(ledger.read(book)) == 1, lambda: "the step to be called")
        await leaving.drain()
        await one.add_worker()
        await until(lambda: len(ledger.read(book)) == 2, lambda: "the step to be called again")
        assert (await handle.execution()).crashes == 0


async def test_a_lease_that_is_over_cannot_write(redis_url: str, namespace: str) -> None:
    """Not even what would be its owner's first."""
    async with stored(redis_url, namespace) as store:
        zombie = await begin(store, lease_ms=1)
        await until(lambda: _reaped(store), lambda: "the lease to be taken away")
        assert await zombie.ask() is None
        owner = await claim(store)
        zombie.count = 0
        assert await zombie.ask(end=Complete(result=b"stale")) is None
        assert (await owner.commit(end=Complete(result=b"fresh"))).status is Status.COMPLETED
        assert (await record(store)).result == b"fresh"


async def test_a_recorded_result_is_never_replaced(redis_url: str, namespace: str) -> None:
    async with stored(redis_url, namespace) as store:
        turn = await begin(store)
        await turn.commit(entries=[an_entry(payload=b"first")])
        with pytest.raises(StoreConflict):
            await turn.ask(entries=[an_entry(payload=b"another")])
        assert [entry.payload for entry in (await history(store)).entries] == [b"first"]


async def _reaped(store: RedisStore) -> bool:
    return bool((await store.reap(part(store), 10, ["w-1"])).wakes)


# -- what nobody can run, and what is kept ---------------------------------------------------------


async def test_a_workflow_that_a_worker_does_not_know_waits_for_one_that_does(
    redis_url: str, rabbit_url: str, namespace: str
) -> None:
    async with fleet(redis_url, rabbit_url, namespace, app=app) as one:
        await one.add_scheduler()
        await one.add_worker(App("of-an-older-release"))
        handle = await one.client.start(finishes)

        async def is_passed() -> bool:
            return "finishes" in (await handle.execution()).passed

        await until(is_passed, lambda: "the worker to say that it does not know it")
        await one.add_worker()
        assert (await statused(one, handle.id))[0] is Status.COMPLETED


async def test_what_takes_every_worker_with_it_ends_and_says_so(redis_url: str, namespace: str) -> None:
    async with stored(redis_url, namespace) as store:
        await start(store, a_start())
        for number in range(GIVE_UP.crashes):
            assert (await record(store)).status is Status.PENDING, number
            await claim(store, worker=f"dead-{number}", lease_ms=1)
            await until(lambda: _taken(store), lambda: "the lease to be taken away")
        ended = await record(store)
        assert (ended.status, ended.cause) == (Status.FAILED, "poisoned")


async def _taken(store: RedisStore) -> bool:
    await store.reap(part(store), 10, [])
    return not (await record(store)).worker


async def test_what_lives_again_is_kept_though_it_was_to_be_deleted(redis_url: str, namespace: str) -> None:
    async with stored(redis_url, namespace) as store:
        ending = await begin(store, a_start(retention_ms=1))
        await operate(store, Action.FORCE_FAIL, error=b"e")
        assert await ending.ask() is None
        await operate(store, Action.RETRY)
        # As a writer of another version may leave it behind.
        await store._pipeline.command("ZADD", f"{store._keys.home('e-1')}expiry", 1, "e-1")
        await store.purge(part(store), 10)
        assert (await record(store)).status is Status.PENDING
        assert isinstance(await store.claim("e-1", "a nonce", "w-1", 1_000), History)


class stored:
    """A store of a test's own."""

    def __init__(self, url: str, namespace: str) -> None:
        self._store = RedisStore(url, namespace=namespace)

    async def __aenter__(self) -> RedisStore:
        await self._store.open()
        return self._store

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()
