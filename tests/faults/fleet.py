"""A fleet in this process, for faults that strike servers or other processes: no launching, and nothing to kill.

Each member has connections of its own, as processes have.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar, Unpack

from runner import Client
from runner.app import App
from runner.broker.rabbitmq import RabbitBroker
from runner.errors import InfrastructureError
from runner.ids import id_from_key
from runner.records import Execution
from runner.scheduler import Scheduler, SchedulerOptions
from runner.starts import StartOptions
from runner.store.redis import RedisStore
from runner.workers import Worker, WorkerOptions
from tests.e2e import ledger
from tests.faults import producer, program
from tests.faults.checker import Finding, check
from tests.faults.finals import Clocks, all_executions, finals, is_over, left_over

T = TypeVar("T")

#: What has not come about after this long does not come about, in seconds: far beyond what any fault here takes to heal.
PATIENCE_S = float(os.environ.get("RUNNER_TEST_PATIENCE_S", "90"))
LOOK_S = 0.05


class Fleet:
    """Made by ``fleet``. ``lease_s``: of its workers."""

    def __init__(
        self, redis: str, rabbit: str, namespace: str, stack: AsyncExitStack, app: App, lease_s: float
    ) -> None:
        self.redis, self.rabbit, self.namespace = redis, rabbit, namespace
        self.app = app
        self.lease_s = lease_s
        self._stack = stack
        self.client: Client

    async def connected(self, store: RedisStore | None = None) -> tuple[RedisStore, RabbitBroker]:
        """A store (or the given one, opened) and a broker of somebody's own."""
        store = store or RedisStore(self.redis, namespace=self.namespace)
        self._stack.push_async_callback(store.close)
        await acknowledged(store.open)
        broker = RabbitBroker(self.rabbit, namespace=self.namespace)
        self._stack.push_async_callback(broker.close)
        await acknowledged(broker.open)
        return store, broker

    async def add_client(self) -> Client:
        return await self._stack.enter_async_context(Client(self.app, *await self.connected()))

    async def add_worker(self, app: App | None = None, store: RedisStore | None = None) -> Worker:
        # The watch would end this whole process when its loop stands still.
        options = WorkerOptions(concurrency=50, lease_s=self.lease_s, grace_s=2, watch_loop=False)
        store, broker = await self.connected(store)
        return await acknowledged(
            lambda: self._stack.enter_async_context(Worker(app or self.app, store, broker, options))
        )

    async def add_scheduler(self) -> Scheduler:
        options = SchedulerOptions(lease_s=self.lease_s)
        return await self._stack.enter_async_context(Scheduler(*await self.connected(), options))

    # -- orders -----------------------------------------------------------------------------------

    async def order(self, numbers: Iterable[int]) -> list[str]:
        """Start and signal these orders, until everything is acknowledged; their ids."""
        wanted = list(numbers)
        async with asyncio.TaskGroup() as orders:
            for number in wanted:
                orders.create_task(producer.Ordering(self.client, number, random.Random(number)).carry_out())
        return [id_from_key("order", f"order-{number}") for number in wanted]

    async def start_parcel(self, number: int, **options: Unpack[StartOptions]) -> str:
        """One step and no signals; its id."""
        id = f"parcel-{number}"
        await acknowledged(lambda: self.client.start(program.parcel, program.Order(number), id=id, **options))
        ledger.write(program.LEDGER, kind="started", number=number, execution=id)
        return id

    async def ended(self, id: str) -> None:
        """Wait until it has."""

        async def has() -> bool:
            return (await self.client.execution(id)).status.terminal

        await until(has, lambda: f"{id} to end")

    async def executions(self) -> list[Execution]:
        return await acknowledged(lambda: all_executions(self.client))

    async def until_over(self) -> None:
        """Wait until every execution has ended, and nothing is left to do."""
        await until(self.is_over, lambda: "all to end")

    async def is_over(self) -> bool:
        return await is_over(self.client) and not await left_over(self.client.store)

    async def findings(self) -> list[Finding]:
        """What is wrong with this namespace's executions: their lines of the ledger, and what the store says."""
        return await acknowledged(self._findings)

    async def _findings(self) -> list[Finding]:
        clocks = await Clocks.compare(self.client.store)
        ended = await finals(self.client, await all_executions(self.client), clocks)
        return check(self.lines({one.id for one in ended}), ended, await left_over(self.client.store))

    @staticmethod
    def lines(ids: Iterable[str]) -> list[ledger.Line]:
        wanted = set(ids)
        return [line for line in ledger.read(program.LEDGER) if line.get("execution") in wanted]


async def until(met: Callable[[], object], what: Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Ask again and again; an answer that does not come because a server is away is none."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            answer = met()
            if answer is not None and asyncio.iscoroutine(answer):
                answer = await answer
        except InfrastructureError:
            answer = False
        if answer:
            return
        assert time.monotonic() < deadline, f"waited in vain for {what()}"
        await asyncio.sleep(LOOK_S)


async def acknowledged(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, asked for again while servers are away or slow."""
    answers: list[T] = []

    async def has_answered() -> bool:
        answers.append(await ask())
        return True

    await until(has_answered, lambda: "an answer")
    return answers[0]


def again(lines: Iterable[ledger.Line]) -> int:
    """How many calls of steps were not the first."""
    calls = [(line["execution"], line["step"]) for line in lines if line["kind"] == "called"]
    return len(calls) - len(set(calls))


@asynccontextmanager
async def fleet(
    redis: str, rabbit: str, namespace: str, *, app: App = program.app, lease_s: float = 2.0
) -> AsyncIterator[Fleet]:
    """A client, and whoever is added."""
    async with AsyncExitStack() as stack:
        one = Fleet(redis, rabbit, namespace, stack, app, lease_s)
        one.client = await one.add_client()
        yield one


@asynccontextmanager
async def crew(redis: str, rabbit: str, namespace: str, *, lease_s: float) -> AsyncIterator[Fleet]:
    """A scheduler and two workers, whose servers are to be struck."""
    async with fleet(redis, rabbit, namespace, lease_s=lease_s) as one:
        await one.add_scheduler()
        for _ in range(2):
            await one.add_worker()
        yield one
