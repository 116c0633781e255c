"""A producer process: starts its share of the orders and signals them, until everything was acknowledged.

It may be killed at any moment. Its successor reads in the ledger what was acknowledged, and does the rest again under
the same keys: `python -m tests.faults.producer INDEX PRODUCERS EXECUTIONS RATE SEED`.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from runner import Client
from runner.errors import ConfigError, InfrastructureError, Overloaded, RunnerError
from tests.e2e import ledger
from tests.faults import program
from tests.faults.clocks import shift_as_told

T = TypeVar("T")

#: Orders that are being started or signalled at once.
AT_ONCE = 200
#: An acknowledged request is made again, for no reason, so often; and these last ones by every successor.
AGAIN_SHARE, AGAIN_LAST = 0.2, 3
#: A signal is sent at once or after up to so many seconds: before its wait, while it is open, long after it opened.
LATEST_S = 1.5
PAUSE_S = 0.05


@dataclass(frozen=True)
class Share:
    """What one producer has to do."""

    index: int
    producers: int
    executions: int
    rate: float  # of all producers together, in orders a second
    seed: int

    def numbers(self, done: set[int]) -> list[int]:
        """Its orders that were not acknowledged in full, after a few of those that were."""
        mine = range(self.index, self.executions, self.producers)
        return [number for number in mine if number in done][-AGAIN_LAST:] + [n for n in mine if n not in done]


async def produce(share: Share) -> None:
    chance = random.Random(f"{share.seed} {share.index}")
    numbers = share.numbers(acknowledged(ledger.read(program.LEDGER)))
    slots = asyncio.Semaphore(AT_ONCE)
    async with Client(program.app) as client, asyncio.TaskGroup() as orders:
        begun, interval = asyncio.get_running_loop().time(), share.producers / share.rate
        for place, number in enumerate(numbers):
            await asyncio.sleep(max(0.0, begun + place * interval - asyncio.get_running_loop().time()))
            await slots.acquire()
            order = orders.create_task(Ordering(client, number, random.Random(chance.random())).carry_out())
            order.add_done_callback(lambda _: slots.release())


def acknowledged(lines: list[ledger.Line]) -> set[int]:
    """The orders of which nothing is left to do."""
    told = {(line["number"], line["value"]) for line in lines if line["kind"] == "signalled"}
    return {number for number, _ in told if all((number, value) in told for value in program.signals_of(number))}


class Ordering:
    """One order, from its start to its last signal."""

    def __init__(self, client: Client, number: int, chance: random.Random) -> None:
        self._client = client
        self._number = number
        self._chance = chance

    async def carry_out(self) -> None:
        try:
            execution = await self._twice_by_chance(self._start)
            for value in program.signals_of(self._number):
                await asyncio.sleep(self._chance.choice((0.0, self._chance.uniform(0, LATEST_S))))
                await self._twice_by_chance(lambda value=value: self._signal(execution, value))
        except RunnerError as error:
            # Nothing that was acknowledged may be unknown later, and nothing here is wrong in itself.
            ledger.write(program.LEDGER, kind="refused", number=self._number, error=f"{type(error).__name__}: {error}")

    async def _start(self) -> str:
        key = f"order-{self._number}"
        handle = await self._client.start(program.order, program.Order(self._number), idempotency_key=key)
        ledger.write(program.LEDGER, kind="started", number=self._number, execution=handle.id)
        return handle.id

    async def _signal(self, execution: str, value: str) -> bool:
        taken = await self._client.signal(execution, program.told, value, dedup_id=value)
        fields = {"number": self._number, "execution": execution, "value": value, "taken": taken}
        ledger.write(program.LEDGER, kind="signalled", **fields)
        return taken

    async def _twice_by_chance(self, ask: Callable[[], Awaitable[T]]) -> T:
        if self._chance.random() < AGAIN_SHARE:
            await until_acknowledged(ask)
        return await until_acknowledged(ask)


async def until_acknowledged(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, however often it takes: servers are killed, cut off and overloaded here."""
    while True:
        try:
            return await ask()
        except (InfrastructureError, Overloaded):
            await asyncio.sleep(PAUSE_S)


async def main(share: Share) -> None:
    while True:
        try:
            await produce(share)
        except* (InfrastructureError, ConfigError):  # when it opens: no server answers, or it is a replica just then
            await asyncio.sleep(PAUSE_S)
        else:
            break


if __name__ == "__main__":
    shift_as_told()
    index, producers, executions, rate, seed = sys.argv[1:]
    asyncio.run(main(Share(int(index), int(producers), int(executions), float(rate), int(seed))))
