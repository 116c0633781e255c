"""What the tests of both brokers need: hints, a handler that collects, and patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiormq.abc import AbstractChannel

from runner.broker import Delivery
from runner.broker.rabbitmq import RabbitBroker
from runner.broker.rabbitmq.address import parse_address
from runner.broker.rabbitmq.link import dial
from runner.messages import Hint

#: Seconds until something counts as not happening. Far above what it takes, for machines that are busy.
PATIENCE = 30.0

#: Seconds between checks of a consumer: whatever healed it, it was not the check.
NEVER = 3600.0

#: Opens a broker at a URL, in the namespace of the test.
Open = Callable[..., Awaitable[RabbitBroker]]

#: Puts raw bytes into a queue.
Inject = Callable[[str, bytes], Awaitable[None]]


def hint(number: int = 1) -> Hint:
    return Hint(f"order-{number}", "orders", 1, number)


class Catcher:
    """A handler that keeps its deliveries for the test to settle."""

    def __init__(self) -> None:
        self._caught: asyncio.Queue[Delivery] = asyncio.Queue()

    async def __call__(self, delivery: Delivery) -> None:
        self._caught.put_nowait(delivery)

    async def next(self) -> Delivery:
        async with asyncio.timeout(PATIENCE):
            return await self._caught.get()

    async def take(self, count: int) -> list[Delivery]:
        return [await self.next() for _ in range(count)]

    @property
    def waiting(self) -> int:
        return self._caught.qsize()


class Acker:
    """A handler that acknowledges everything and remembers which it was."""

    def __init__(self) -> None:
        self.seqs: list[int] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.seqs.append(delivery.hint.seq)
        await delivery.ack()


async def eventually(condition: Callable[[], Awaitable[bool]] | Callable[[], bool], why: str) -> None:
    """Return when the condition holds; fail with the reason after PATIENCE."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (held if isinstance(held := condition(), bool) else await held):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never came true: {why}") from None


@asynccontextmanager
async def raw_channel(url: str) -> AsyncIterator[AbstractChannel]:
    link = await dial(parse_address(url, {}), "test")
    try:
        async with link.spare() as channel:
            yield channel
    finally:
        await link.close()
