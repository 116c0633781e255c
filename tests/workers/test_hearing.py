"""A worker is never alive and deaf: it takes a new session, and when that does not help it makes room for another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import App, Client, Context
from runner.broker import Broker
from runner.broker.memory import MemoryBroker
from runner.broker.rabbitmq import RabbitBroker
from runner.broker.rabbitmq.consumer import RabbitConsumer
from runner.store.sqlite import SqliteStore
from runner.workers import Worker, WorkerOptions
from runner.workers.hearing import Hearing, Verdict, verdict
from runner.workers.unwell import EXIT_DEAF

OPTIONS = WorkerOptions(watch_loop=False, grace_s=1.0)


def test_one_look_is_chance_and_a_new_session_has_time_to_prove_itself() -> None:
    verdicts = [verdict(looks) for looks in range(1, 7)]
    well, renew, leave = Verdict.WELL, Verdict.RENEW, Verdict.LEAVE
    assert verdicts == [well, renew, well, renew, well, leave]


@given(st.integers(min_value=1, max_value=10**6))
def test_a_worker_that_cannot_leave_goes_on_trying(looks: int) -> None:
    """Embedded, it shares its process: however long it has been deaf, it is soon given a new session, and complains."""
    ahead = {verdict(looks + more) for more in range(6)}
    assert ahead == set(Verdict)
    assert Verdict.RENEW in {verdict(looks + more) for more in range(4)}


async def working(app: App, broker: Broker, then: Callable[[Worker, Client], Awaitable[None]]) -> None:
    """A worker that looks often, on an embedded store without a scheduler: a hint comes once, or not at all."""

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return "heard"

    store = SqliteStore(None, namespace=app.name)
    await store.open()
    await broker.open(["default"])
    worker = Worker(app, store, broker, OPTIONS)
    worker._hearing = Hearing(worker._intake, broker, worker.leave, every_s=0.1)
    try:
        async with worker, Client(app, store, broker) as client:
            await then(worker, client)
    finally:
        await broker.close()
        await store.close()


async def test_a_subscription_that_brings_nothing_is_taken_anew(rabbit_url: str, namespace: str) -> None:
    async def then(worker: Worker, client: Client) -> None:
        consumer = worker._intake.consumer
        assert isinstance(consumer, RabbitConsumer)
        assert consumer._session is not None
        deaf = consumer._session
        for tag in deaf._tags.values():
            await deaf.link.channel.basic_cancel(tag)
        handle = await client.start("flow")
        assert worker.consuming  # as far as the session knows
        assert await handle.result(timeout=60) == "heard"
        assert consumer._session is not deaf

    await working(App(namespace), RabbitBroker(rabbit_url, namespace=namespace, check_every=3600), then)


async def test_a_worker_that_stays_deaf_leaves_for_another(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
    monkeypatch.setattr(MemoryBroker, "pump", lambda self, queue: None)

    async def then(worker: Worker, client: Client) -> None:
        worker.when_unwell(lambda code, why: left.put_nowait((code, why)))
        await client.start("flow")
        async with asyncio.timeout(60):
            assert await left.get() == (EXIT_DEAF, "deaf to queue 'default'")

    await working(App(namespace), MemoryBroker(namespace), then)
    assert left.empty()


async def test_a_worker_without_room_is_not_deaf(namespace: str) -> None:
    """Hints wait in the broker because all slots are taken."""
    app = App(namespace)
    running, let_go = asyncio.Semaphore(0), asyncio.Event()

    async def work() -> None:
        running.release()
        await let_go.wait()

    @app.workflow("long")
    async def long(ctx: Context) -> None:
        await ctx.step("work", work)

    async def then(worker: Worker, client: Client) -> None:
        looks = 0
        renew = worker._intake.renew

        async def counted(reason: str) -> None:
            nonlocal looks
            looks += 1
            await renew(reason)

        worker._intake.renew = counted  # type: ignore[method-assign]
        handles = await client.start_many("long", [None] * (OPTIONS.concurrency + 5))
        for _ in range(OPTIONS.concurrency):
            await running.acquire()
        await asyncio.sleep(1.0)  # ten looks
        assert looks == 0
        let_go.set()
        await asyncio.gather(*(handle.result(timeout=30) for handle in handles))

    await working(app, MemoryBroker(namespace), then)
