"""One sick queue, one failing duty or one silent store holds up nothing else, and nothing outlives leadership."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from structlog.testing import capture_logs

from runner.broker.memory import MemoryBroker
from runner.errors import InfrastructureError, StoreUnavailable
from runner.messages import Hint
from runner.records import Leadership
from runner.scheduler import Scheduler, SchedulerOptions
from runner.scheduler.duties import Duties
from runner.scheduler.leader import Seat
from runner.store import partition_of
from runner.store.sqlite import SqliteStore
from runner.transactions import Start


class SickBroker(MemoryBroker):
    """Nothing that concerns the queue ``sick`` ever comes back."""

    def __init__(self) -> None:
        super().__init__("n")
        self.hung = asyncio.Event()
        self.given_up = 0

    async def publish_many(self, hints: Sequence[tuple[str, Hint]]) -> int:
        if any(queue == "sick" for queue, _ in hints):
            await self._hang()
        return await super().publish_many(hints)

    async def depth(self, queue: str) -> int | None:
        if queue == "sick":
            await self._hang()
        return await super().depth(queue)

    async def _hang(self) -> None:
        self.hung.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up += 1


def start(id: str, queue: str, delay_ms: int = 0) -> Start:
    return Start(
        id=id, request=id, workflow="w", version=1, queue=queue, input=b"", digest=id, delay_ms=delay_ms
    )  # fmt: skip


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def leftovers() -> list[str]:
    mine = asyncio.current_task()
    return [task.get_name() for task in asyncio.all_tasks() if task is not mine]


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None, namespace="n")
    await store.open()
    yield store
    await store.close()


OPTIONS = SchedulerOptions(leader_ttl_s=1.0)


async def test_a_queue_whose_publishes_and_depths_hang_holds_up_no_other(store: SqliteStore) -> None:
    broker = SickBroker()
    await broker.open(["well"])
    partitions = 2 * store.partitions  # so that both queues meet in many of them
    await store.start([start(f"lost-{n}", "sick") for n in range(partitions)])
    await store.start([start(f"sick-{n}", "sick", 100) for n in range(partitions)])
    async with Scheduler(store, broker, OPTIONS):
        await broker.hung.wait()
        await store.start([start(f"well-{n}", "well", 200) for n in range(partitions)])
        hints = broker._queues["well"]
        await until(lambda: len(hints) >= partitions, 3)
        await asyncio.sleep(2.5)  # past the grace of what was started at first: their depth is being asked for
        await store.start([start(f"again-{n}", "well", 200) for n in range(partitions)])
        await until(lambda: len({Hint.decode(copy.body).execution_id for copy in hints}) >= 2 * partitions, 3)


async def test_a_failing_duty_is_logged_rests_and_is_tried_again(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    carry_out = Duties.carry_out

    async def failing(self: Duties, duty: str, partition: int) -> None:
        if (duty, partition) == ("timers", victim):
            tries.append(asyncio.get_running_loop().time())
            if len(tries) == 1:
                raise ZeroDivisionError("a defect")
        await carry_out(self, duty, partition)

    victim = partition_of("x-0", store.partitions)
    monkeypatch.setattr(Duties, "carry_out", failing)
    broker = MemoryBroker("n")
    await broker.open(["well"])
    with capture_logs() as logs:
        await store.start([start(f"x-{n}", "well", 100) for n in range(32)])
        async with Scheduler(store, broker, OPTIONS) as scheduler:
            await until(lambda: len(broker._queues["well"]) >= 32)
            assert scheduler.leading
    assert len(tries) >= 2 and tries[1] - tries[0] >= 0.95
    failed = [line for line in logs if line["event"] == "scheduler.duty_failed"]
    assert [(line["duty"], line["partition"]) for line in failed] == [("timers", victim)]
    assert not [line for line in logs if line["event"] == "scheduler.round_failed"]


async def test_while_a_due_duty_is_still_running_the_scheduler_sleeps(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hanging(self: Duties, duty: str, partition: int) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Duties, "carry_out", hanging)
    looks = 0
    next_due = store.next_due

    async def counted(partition: int) -> object:
        nonlocal looks
        looks += 1
        return await next_due(partition)

    monkeypatch.setattr(store, "next_due", counted)
    await store.start([start(f"x-{n}", "well", 1) for n in range(32)])
    async with Scheduler(store, MemoryBroker("n"), OPTIONS):
        await asyncio.sleep(1.5)
    assert 0 < looks <= 10 * store.partitions


async def test_lost_leadership_leaves_no_task_behind(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = SickBroker()
    before = set(leftovers())
    await store.start([start(f"x-{n}", "sick", 50) for n in range(32)])
    async with Scheduler(store, broker, OPTIONS) as scheduler:
        await broker.hung.wait()
        assert any(name.startswith("publish to") for name in leftovers())
        usurped = Leadership(leading=False, leader="other", expires_in_ms=60_000)

        async def lead(nonce: str, name: str, ttl_ms: int) -> Leadership:
            return usurped

        monkeypatch.setattr(store, "lead", lead)
        await until(lambda: not scheduler.leading)
        await until(lambda: broker.given_up > 0)
        await until(lambda: set(leftovers()) - before == {"scheduler"})
    assert set(leftovers()) == before


async def test_stopping_leaves_no_task_behind(store: SqliteStore) -> None:
    broker = SickBroker()
    before = set(leftovers())
    await store.start([start(f"x-{n}", "sick", 50) for n in range(32)])
    async with Scheduler(store, broker, OPTIONS):
        await broker.hung.wait()
    assert set(leftovers()) == before


async def test_a_seat_that_cannot_be_renewed_is_not_ours_past_its_ttl(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = Seat(store, "one", 300)
    assert await seat.ask() is not None and seat.leading

    async def silent(nonce: str, name: str, ttl_ms: int) -> Leadership:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(store, "lead", silent)
    async with asyncio.timeout(5):
        await seat.keep()
    assert not seat.leading


@pytest.mark.parametrize("error", [StoreUnavailable("away"), InfrastructureError("refused")])
async def test_a_seat_survives_a_refusal(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, error: InfrastructureError
) -> None:
    seat = Seat(store, "one", 300)
    await seat.ask()

    async def refused(nonce: str, name: str, ttl_ms: int) -> Leadership:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(store, "lead", refused)
        async with asyncio.timeout(5):
            await seat.keep()
        assert not seat.leading
    assert await seat.ask() is not None and seat.leading
