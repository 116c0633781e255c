"""Processes whose time of day is wrong by hours: everything happens by the store's clock."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.records import Status
from tests.faults import program
from tests.faults.clocks import VARIABLE
from tests.faults.crashing import Crashing, crashing
from tests.faults.fleet import Fleet, fleet, until
from tests.faults.rig import UNREACHABLE
from tests.servers import ROOT

WRONG_S = 3 * 3600
#: What runs in workers, schedulers and producers; commands and test kits may look at the time of day …
RUNS = ("runner/*.py", "runner/core", "runner/context", "runner/store/redis", "runner/broker", "workers", "scheduler")

#: … and who tells an operator how far it is from the store's.
TELLS = ROOT / "runner" / "store" / "redis" / "vitals.py"


@pytest.mark.slow
async def test_processes_whose_clocks_are_wrong_are_right(
    redis_url: str, rabbit_url: str, namespace: str, book: Path
) -> None:
    async with fleet(redis_url, rabbit_url, namespace) as one:
        with ExitStack() as stack:
            ahead = wrong(stack, one, book, WRONG_S, "worker", "--app", f"{program.__name__}:app")
            behind = wrong(stack, one, book, -WRONG_S, "worker", "--app", f"{program.__name__}:app")
            leading = wrong(stack, one, book, WRONG_S, "scheduler", "--namespace", namespace)
            for process, event in ((ahead, "worker.ready"), (behind, "worker.ready"), (leading, "leader.elected")):
                await until_says(process, event)
            await orders_are_right(one)
            await ticks_are_right(one)


async def orders_are_right(one: Fleet) -> None:
    """Sleeps are not early, deadlines have not passed, leases are held, delays are waited for."""
    await one.order(range(1, 11))
    delayed = await one.start_parcel(12, delay=1.0)
    limited = [await one.start_parcel(number, timeout=600) for number in range(13, 19)]
    await one.until_over()
    assert await one.findings() == []
    begun = await one.client.execution(delayed)
    assert begun.started_at is not None and begun.started_at - begun.created_at >= 1_000
    assert {(await one.client.execution(id)).status for id in limited} == {Status.COMPLETED}


async def ticks_are_right(one: Fleet) -> None:
    schedule = await one.client.ensure_schedule(
        program.parcel, program.Order(20), id="ticking", interval=0.5, max_runs=3
    )

    async def over() -> bool:
        return (await one.client.get_schedule("ticking")).due_at is None

    await until(over, lambda: "the last tick")
    await one.until_over()
    ran = [execution for execution in await one.executions() if execution.id.startswith("ticking@")]
    assert [execution.status for execution in ran] == [Status.COMPLETED] * 3
    assert all(schedule.created_at < execution.created_at < schedule.created_at + 60_000 for execution in ran)


def wrong(stack: ExitStack, one: Fleet, book: Path, by_s: float, *arguments: str) -> Crashing:
    environment = {
        "RUNNER_STORE_URL": one.redis,
        "RUNNER_BROKER_URL": one.rabbit,
        "RUNNER_TEST_NAMESPACE": one.namespace,
        "RUNNER_TEST_LEDGER": str(book),
        VARIABLE: str(by_s),
    }
    return stack.enter_context(
        crashing(*arguments, environment=environment, log=book.with_name(f"{arguments[0]}{by_s:+.0f}.log"))
    )


async def until_says(process: Crashing, event: str) -> None:
    def has_said() -> bool:
        if process.code == UNREACHABLE:
            process.start()
        return f'"{event}"' in process.told()

    await until(has_said, lambda: f"{event}\n{process.told()}")


def test_nothing_that_decides_asks_for_the_time_of_day() -> None:
    """A process can be told the wrong time by the module above only where it asks the module ``time``."""
    asks = re.compile(r"\b(?:datetime\.now|utcnow|date\.today|time\.time|time\.time_ns)\(")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for place in RUNS
        for path in (ROOT.glob(place) if place.endswith(".py") else (ROOT / place).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if path != TELLS and asks.search(line)
    ]
    assert found == []
