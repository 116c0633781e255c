"""Every crash point: a process dies, or stands still, before or after one call; others heal what it left.

All rows of a test run at once, each in a namespace of its own, over the same servers. Whoever is struck is a process;
the others live here.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner import Client
from runner.broker.rabbitmq import RabbitBroker
from runner.errors import BrokerUnavailable
from runner.messages import Hint
from runner.records import History, Status
from tests.e2e import ledger
from tests.faults import program
from tests.faults.crashing import LEFT, Crashing, crashing
from tests.faults.fleet import Fleet, acknowledged, again, fleet, until
from tests.faults.rig import UNREACHABLE

LEASE_S = 2.0
#: Only the rows of these points, with commas between them: so that a change to one mechanism is looked at quickly.
ONLY = [point for point in os.environ.get("RUNNER_TEST_POINTS", "").split(",") if point]
#: Rows that are under way at once: each is a process, and this machine has few cores.
AT_ONCE = 12


@dataclass(frozen=True)
class Row:
    """``calls``: how many steps are called again, at most; ``heals_s``: within so much of the strike it goes on."""

    point: str
    calls: int
    heals_s: float
    left: str


#: A delivery that was not acknowledged comes back as soon as its connection is gone.
AT_ONCE_S = 1.0
#: A lease runs out, is reaped, and its hint published.
LEASE_OUT_S = LEASE_S + 1.0
#: A ready entry or an outbox entry that nobody took for its grace.
GRACE_S = 3.0
#: The leader's seat runs out.
SEAT_S = 4.0
#: What a machine with much to do may need beside that.
SLACK_S = 60.0

WORKER = (
    # First those that take longest: who stands still holds on to the hints that others are waiting for.
    Row("claim:after:1:stop", 0, LEASE_OUT_S, "a worker that comes back to a lease that is over"),
    Row("perform:after:1:stop", 1, LEASE_OUT_S, "one that comes back with a result"),
    Row("record:before:1:stop", 1, LEASE_OUT_S, "one that comes back with a commit to send"),
    Row("record:after:1:stop", 0, LEASE_OUT_S, "one that comes back with the answer to its commit"),
    Row("suspend:before:1:stop", 1, LEASE_OUT_S, "one that comes back to suspend"),
    Row("claim:before:1:kill", 0, AT_ONCE_S, "an unacknowledged delivery"),
    Row("claim:after:1:kill", 0, LEASE_OUT_S, "a lease of nobody"),
    Row("perform:before:1:kill", 0, LEASE_OUT_S, "a lease, and nothing begun"),
    Row("perform:after:1:kill", 1, LEASE_OUT_S, "an effect that is not recorded"),
    Row("perform:after:2:exit", 1, LEASE_OUT_S, "an effect that is not recorded"),
    Row("record:before:1:kill", 1, LEASE_OUT_S, "an effect that is not recorded"),
    Row("record:after:1:kill", 0, LEASE_OUT_S, "a recorded result"),
    Row("suspend:before:1:kill", 1, LEASE_OUT_S, "a last result that rode with the suspension"),
    Row("suspend:after:1:kill", 0, AT_ONCE_S, "a suspended execution, and its delivery"),
    Row("ack:before:1:kill", 0, AT_ONCE_S, "a delivery that has nothing to do any more"),
    Row("adopt:before:1:kill", 1, LEASE_OUT_S, "no child yet"),
    Row("adopt:after:1:kill", 0, LEASE_OUT_S + GRACE_S, "a child in the outbox"),
    Row("send:before:1:kill", 0, LEASE_OUT_S + GRACE_S, "a child in the outbox"),
    Row("start:after:1:kill", 0, LEASE_OUT_S + GRACE_S, "a child whose hint was not published"),
    Row("relayed:before:1:kill", 0, LEASE_OUT_S + GRACE_S, "a parcel that was delivered and not removed"),
    Row("publish_many:before:1:kill", 0, LEASE_OUT_S + GRACE_S, "a ready child without a hint"),
    Row("complete:before:1:kill", 1, LEASE_OUT_S, "a child that was about to end"),
    Row("complete:after:1:kill", 0, LEASE_OUT_S + GRACE_S, "the end of a child that its parent has not heard of"),
    Row("deliver:before:1:kill", 0, LEASE_OUT_S + GRACE_S, "a notice in the outbox"),
    Row("deliver:after:1:kill", 0, LEASE_OUT_S + GRACE_S, "a notice that was delivered and not removed"),
    Row("complete:after:2:kill", 0, AT_ONCE_S, "an end, and its delivery"),
)
SCHEDULER = (
    Row("due:before:1:kill", 0, SEAT_S, "a timer that is due"),
    Row("due:after:1:kill", 0, SEAT_S + GRACE_S, "a ready entry without a hint"),
    Row("publish_many:before:1:kill", 0, SEAT_S + GRACE_S, "a ready entry without a hint"),
    Row("publish_many:after:1:kill", 0, AT_ONCE_S, "a hint"),
    Row("due:before:1:stop", 0, SEAT_S, "a leader that comes back and is none"),
)
#: Nobody was told of what the order waits for.
LEFT_BEHIND = (
    Row("overdue:before:1:kill", 0, SEAT_S, "an overdue ready entry"),
    Row("overdue:after:1:kill", 0, SEAT_S + 5.0, "a ready entry that is to be looked at later"),
    Row("reap:before:1:kill", 0, SEAT_S, "a lease that has run out"),
    Row("reap:after:1:kill", 0, SEAT_S + GRACE_S, "a ready entry without a hint"),
)
TICK = (
    Row("put_schedules:before:1:kill", 0, SEAT_S, "a tick that is due"),
    Row("put_schedules:after:1:kill", 0, SEAT_S, "a pending decision"),
    Row("start:before:1:kill", 0, SEAT_S, "a pending decision"),
    Row("start:after:1:kill", 0, SEAT_S, "a pending decision, and its execution"),
    Row("put_schedules:before:2:kill", 0, SEAT_S, "a decision that was carried out"),
    Row("put_schedules:after:2:kill", 0, SEAT_S, "the next tick"),
    Row("put_schedules:before:1:stop", 0, SEAT_S, "a leader that comes back with a decision of long ago"),
)
TICKS = 4
PRODUCER = (
    Row("start:before:1:kill", 0, AT_ONCE_S, "nothing"),
    Row("start:after:1:kill", 0, AT_ONCE_S, "an execution that was not acknowledged"),
    Row("publish_many:before:1:kill", 0, AT_ONCE_S, "a ready entry without a hint"),
    Row("publish_many:after:1:kill", 0, AT_ONCE_S, "an execution that was not acknowledged"),
    Row("deliver:before:1:kill", 0, AT_ONCE_S, "nothing"),
    Row("deliver:after:1:kill", 0, AT_ONCE_S, "a signal that was not acknowledged"),
    Row("deliver:after:2:kill", 0, AT_ONCE_S, "a signal that was not acknowledged"),
)
ABANDONED = (
    Row("start:after:1:kill", 0, GRACE_S, "a ready entry without a hint"),
    Row("publish_many:before:1:kill", 0, GRACE_S, "a ready entry without a hint"),
    Row("publish_many:after:1:kill", 0, AT_ONCE_S, "a hint"),
)


# -- what every row has --------------------------------------------------------------------------


@dataclass(frozen=True)
class Servers:
    redis: str
    rabbit: str
    namespace: str
    book: Path


@pytest.fixture
def servers(redis_url: str, rabbit_url: str, namespace: str, book: Path) -> Servers:
    return Servers(redis_url, rabbit_url, namespace, book)


Story = Callable[[Row, int, Servers], Awaitable[None]]


async def all_heal(servers: Servers, *rows: tuple[Row, Story]) -> None:
    """Every row, told by its point where one does not come out right."""
    slots = asyncio.Semaphore(AT_ONCE)
    broken: list[str] = []

    async def tell(row: Row, story: Story, number: int) -> None:
        async with slots:
            try:
                await story(row, number, servers)
            except (AssertionError, TimeoutError) as error:
                broken.append(f"{row.point}, which leaves {row.left}: {error or type(error).__name__}")

    async with asyncio.TaskGroup() as telling:
        for place, (row, story) in enumerate(rows):
            if not ONLY or row.point in ONLY:
                telling.create_task(tell(row, story, 10 * (place + 1)))  # every tenth order has a child
    assert not broken, "\n".join(broken)


@asynccontextmanager
async def healthy(row: Row, servers: Servers) -> AsyncIterator[Fleet]:
    namespace = f"{servers.namespace}-{row.point.replace(':', '-').replace('_', '-')}"
    async with fleet(servers.redis, servers.rabbit, namespace, lease_s=LEASE_S) as one:
        yield one


@asynccontextmanager
async def struck(row: Row, one: Fleet, servers: Servers, *arguments: str) -> AsyncIterator[Crashing]:
    environment = {
        "RUNNER_STORE_URL": one.redis,
        "RUNNER_BROKER_URL": one.rabbit,
        "RUNNER_TEST_NAMESPACE": one.namespace,
        "RUNNER_TEST_LEDGER": str(servers.book),
        "RUNNER_TEST_CRASH": row.point,
    }
    log = servers.book.with_name(f"{one.namespace}.log")
    with crashing(*arguments, environment=environment, log=log) as process:
        yield process


async def until_struck(process: Crashing, row: Row, servers: Servers) -> float:
    """When it was; it is gone, or stands still."""

    def is_struck() -> bool:
        if process.code == UNREACHABLE:  # servers that are slow to answer as it begins are no fault of this row
            process.start()
        ours = (line for line in ledger.read(servers.book) if line["pid"] == process.pid)
        return any(line["kind"] == "struck" for line in ours)

    await until(is_struck, lambda: f"{row.point} to be reached\n{process.told()}")
    if not row.point.endswith("stop"):
        await until(lambda: process.code is not None, lambda: "it to be gone")
        assert process.code == (LEFT if row.point.endswith("exit") else -9)
    return time.monotonic()


async def went_on(one: Fleet, row: Row, struck_at: float) -> None:
    """All has ended, in time and right, and only what was in flight was called again."""
    await one.until_over()
    findings = await one.findings()
    assert findings == []
    ids = {line["execution"] for line in ledger.read(program.LEDGER) if line["kind"] == "started"}
    known = {execution.id for execution in await one.executions()}
    lines = one.lines(known)
    assert ids & known, "nothing was started"
    called_again = again(lines)
    assert called_again <= row.calls, f"{called_again} steps were called again"
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in lines:
        if line["kind"] == "called":
            keys[line["execution"], line["step"]].add(line["key"])
    assert {len(some) for some in keys.values()} == {1}, "a step that runs again has the same idempotency key"
    after = [line["called_at"] for line in lines if line["kind"] == "called" and line["called_at"] > struck_at]
    if after:
        assert min(after) - struck_at < row.heals_s + SLACK_S


# -- workers --------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_worker_that_dies_or_stands_still_anywhere_delays_and_loses_nothing(servers: Servers) -> None:
    await all_heal(servers, *((row, a_worker_is_struck) for row in WORKER))


async def a_worker_is_struck(row: Row, number: int, servers: Servers) -> None:
    async with healthy(row, servers) as one:
        await one.add_scheduler()
        arguments = ("worker", "--app", f"{program.__name__}:app", "--lease", str(LEASE_S))
        async with struck(row, one, servers, *arguments) as process:
            ordering = asyncio.create_task(one.order([number]))
            struck_at = await until_struck(process, row, servers)
            await one.add_worker()
            (id,) = await ordering
            if not row.point.endswith("stop"):
                await went_on(one, row, struck_at)
                return
            await one.ended(id)
            process.go_on()
            await until(lambda: "lease.lost" in process.told(), lambda: f"the worker to notice\n{process.told()}")
            await went_on(one, row, struck_at)


# -- schedulers -----------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_scheduler_that_dies_or_stands_still_anywhere_is_followed_by_another(servers: Servers) -> None:
    """Over timers, over what dead workers and lost hints left, and over the ticks of schedules."""
    await all_heal(
        servers,
        *((row, a_scheduler_is_struck) for row in SCHEDULER),
        *((row, a_scheduler_is_struck_over_a_dead_worker) for row in LEFT_BEHIND),
        *((row, a_scheduler_is_struck_at_a_tick) for row in TICK),
    )


async def a_scheduler_is_struck(row: Row, number: int, servers: Servers) -> None:
    """Over a delayed start, which nothing but time makes ready."""
    async with healthy(row, servers) as one, scheduling(row, one, servers) as process:
        await one.add_worker()
        id = await one.start_parcel(number, delay=0.5)
        struck_at = await until_struck(process, row, servers)
        await one.add_scheduler()
        await one.ended(id)
        if row.point.endswith("stop"):
            process.go_on()
            await until(
                lambda: "leader.stepped_down" in process.told(), lambda: f"the leader to notice\n{process.told()}"
            )
        await went_on(one, row, struck_at)


async def a_scheduler_is_struck_over_a_dead_worker(row: Row, number: int, servers: Servers) -> None:
    """No hint of the order was published; for the rows of `reap`, a worker has claimed it and died."""
    async with healthy(row, servers) as one, scheduling(row, one, servers) as process:
        store, broker = await one.connected()
        one.client = Client(program.app, store, Mute(one.rabbit, namespace=one.namespace))
        (id,) = await one.order([number])
        if row.point.startswith("reap"):
            claimed = await acknowledged(lambda: store.claim(id, "a dead worker's", "dead", 500))
            assert isinstance(claimed, History)
        struck_at = await until_struck(process, row, servers)
        one.client = Client(program.app, store, broker)
        await one.add_worker()
        await one.add_scheduler()
        await went_on(one, row, struck_at)


class Mute(RabbitBroker):
    """It takes nothing, as one that is away."""

    async def publish_many(self, hints: Sequence[tuple[str, Hint]]) -> int:
        raise BrokerUnavailable("it is away")


async def a_scheduler_is_struck_at_a_tick(row: Row, number: int, servers: Servers) -> None:
    """The tick is decided once, and starts one execution."""
    async with healthy(row, servers) as one, scheduling(row, one, servers) as process:
        await one.add_worker()
        await acknowledged(
            lambda: one.client.ensure_schedule(
                program.parcel, program.Order(number), id=f"ticking-{number}", interval=0.5, max_runs=TICKS
            )
        )
        struck_at = await until_struck(process, row, servers)
        await one.add_scheduler()

        async def over() -> bool:
            return (await one.client.get_schedule(f"ticking-{number}")).due_at is None

        await until(over, lambda: "the last tick")
        await one.until_over()
        ran = await one.executions()
        assert len(ran) == TICKS
        assert {execution.status for execution in ran} == {Status.COMPLETED}
        assert again(one.lines(execution.id for execution in ran)) == 0
        assert time.monotonic() - struck_at < row.heals_s + SLACK_S
        if row.point.endswith("stop"):
            kept = await one.client.get_schedule(f"ticking-{number}")
            process.go_on()
            await until(
                lambda: "leader.stepped_down" in process.told(), lambda: f"the leader to notice\n{process.told()}"
            )
            process.leave()  # what it has sent is answered then
            await until(lambda: process.code is not None, lambda: f"it to leave\n{process.told()}")
            assert await one.client.get_schedule(f"ticking-{number}") == kept


@asynccontextmanager
async def scheduling(row: Row, one: Fleet, servers: Servers) -> AsyncIterator[Crashing]:
    arguments = ("scheduler", "--namespace", one.namespace, "--lease", str(LEASE_S))
    async with struck(row, one, servers, *arguments) as process:
        yield process


# -- producers ------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_what_a_producer_had_acknowledged_or_asks_again_happens_once(servers: Servers) -> None:
    await all_heal(servers, *((row, a_producer_is_struck) for row in PRODUCER))


async def a_producer_is_struck(row: Row, number: int, servers: Servers) -> None:
    """Its successor asks for the same again."""
    async with healthy(row, servers) as one:
        await one.add_scheduler()
        await one.add_worker()
        async with struck(row, one, servers, "produce", "order", str(number)) as process:
            struck_at = await until_struck(process, row, servers)
        await one.order([number])
        await went_on(one, row, struck_at)


@pytest.mark.slow
async def test_what_a_dead_producer_had_stored_is_executed_though_nobody_asks_again(servers: Servers) -> None:
    await all_heal(servers, *((row, a_producer_is_struck_and_nobody_follows) for row in ABANDONED))


async def a_producer_is_struck_and_nobody_follows(row: Row, number: int, servers: Servers) -> None:
    async with healthy(row, servers) as one:
        await one.add_scheduler()
        await one.add_worker()
        async with struck(row, one, servers, "produce", "parcel", str(number)) as process:
            struck_at = await until_struck(process, row, servers)
        await one.ended(f"parcel-{number}")
        assert len(one.lines([f"parcel-{number}"])) == 2, "called and done, once"
        assert time.monotonic() - struck_at < row.heals_s + SLACK_S
