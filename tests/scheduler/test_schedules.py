"""Every tick is decided once and carried out, whoever leads, however many do, and wherever they die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from runner.broker.memory import MemoryBroker
from runner.core.grid import execution_id
from runner.errors import Overloaded, PayloadError, StoreUnavailable
from runner.records import Leadership, Overlap, Schedule, Status, WorkerInfo
from runner.scheduler import Scheduler, SchedulerOptions
from runner.scheduler import schedules as module
from runner.store.sqlite import SqliteStore
from runner.transactions import Start, Started
from tests.contract.kit import a_schedule, a_start
from tests.scheduler.ticking import EVERY_MS, OVERLAPS, Dying, Ticking, moment

#: 1,700,000,000 s after 1970, when the clock of these tests begins.
FIRST = ["20231114T221321Z", "20231114T221322Z", "20231114T221323Z"]


def _every(schedule: Schedule, ms: int, first: int) -> Schedule:
    return replace(schedule, interval_ms=ms, start_at=first, grid_from=first - 1)


def _cron(schedule: Schedule, expression: str, zone: str) -> Schedule:
    return replace(schedule, cron=expression, timezone=zone, interval_ms=0)


def _first_id(tick: int) -> str:
    return execution_id("s", tick)


@pytest.fixture
async def ticking() -> AsyncIterator[Ticking]:
    ticking = Ticking()
    await ticking.store.open()
    await ticking.broker.open(["default"])
    yield ticking
    await ticking.broker.close()
    await ticking.store.close()


async def test_each_tick_starts_one_execution_and_the_next_is_armed(ticking: Ticking) -> None:
    made = await ticking.ensure(timeout_ms=5_000, attributes=(("size", "1"),), retention_ms=9)
    await ticking.carry_on()
    assert await ticking.executions() == []
    for _ in range(3):
        await ticking.pass_time()
    ran = await ticking.executions()
    assert [moment(one) for one in ran] == FIRST
    first = ran[0]
    assert (first.workflow, first.queue, first.input, first.digest) == ("order", "default", made.input, "digest")
    assert (first.timeout_ms, first.attributes, first.parent) == (5_000, {"size": 1}, "")
    kept = await ticking.schedule()
    assert (kept.runs, kept.skipped, kept.pending, kept.error) == (3, 0, None, "")
    assert (kept.last_tick, kept.last_execution) == (ticking.clock.now, ran[-1].id)
    assert kept.due_at == ticking.clock.now + EVERY_MS
    hints = ticking.broker._queues["default"]
    assert len(hints) == 3, "the workers are told"


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("after", [False, True])
async def test_a_scheduler_may_die_at_any_write(ticking: Ticking, overlap: Overlap, after: bool) -> None:
    """At each of the writes that a few ticks take, and whatever was running then: none is lost, none runs twice."""
    for at in range(1, 12):
        id = f"s{at}"
        await ticking.ensure(id, overlap=overlap)
        due = ticking.clock.now + EVERY_MS
        ticking.clock.now = due
        with pytest.raises(asyncio.CancelledError):
            doomed = ticking.scheduler(Dying(ticking.store, at, after=after))
            while True:
                await ticking.carry_on(doomed)
                ticking.clock.now += EVERY_MS
        await ticking.carry_on()
        kept = await ticking.schedule(id)
        ran = await ticking.executions(id)
        ticks = (ticking.clock.now - due) // EVERY_MS + 1
        waiting = kept.buffered is not None
        assert kept.runs == len(ran), "what is counted was started"
        assert kept.runs + kept.skipped + waiting == ticks, "each tick has one fate"
        if overlap in (Overlap.ALLOW, Overlap.CANCEL_OTHER):
            assert len(ran) == ticks
        assert (kept.pending, kept.due_at) == (None, ticking.clock.now + EVERY_MS) or waiting
        await ticking.store.drop_schedule(id, kept.revision)


async def test_a_decision_that_is_found_is_carried_out_and_not_decided_again(ticking: Ticking) -> None:
    await ticking.ensure()
    ticking.clock.now += EVERY_MS
    with pytest.raises(asyncio.CancelledError):
        await ticking.carry_on(ticking.scheduler(Dying(ticking.store, 1, after=True)))
    found = await ticking.schedule()
    assert found.pending is not None
    assert await ticking.executions() == []
    await ticking.pass_time(30 * EVERY_MS)
    assert moment((await ticking.executions())[0]) == FIRST[0]
    assert (await ticking.schedule()).runs == 31


async def test_what_a_paused_leader_had_decided_is_void(ticking: Ticking) -> None:
    """It read the schedule, stopped for a while, and goes on where others have been meanwhile."""
    await ticking.ensure(overlap=Overlap.CANCEL_OTHER)
    ticking.clock.now += EVERY_MS
    gate, reached = asyncio.Event(), asyncio.Event()

    class Paused(Dying):
        def __getattr__(self, name: str):
            method = getattr(ticking.store, name)
            if name != "start":
                return method

            async def held(starts: Sequence[Start]) -> list[Started]:
                reached.set()
                await gate.wait()
                answers: list[Started] = await method(starts)
                return answers

            return held

    zombie = asyncio.create_task(ticking.carry_on(ticking.scheduler(Paused(ticking.store, 0, after=False))))
    await reached.wait()
    for _ in range(3):
        await ticking.pass_time()
    before = (await ticking.schedule(), await ticking.executions())
    assert before[0].runs == 4
    gate.set()
    await zombie
    assert (await ticking.schedule(), await ticking.executions()) == before


async def test_two_leaders_at_once_give_each_tick_one_fate(ticking: Ticking, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lead(nonce: str, name: str, ttl_ms: int) -> Leadership:
        return Leadership(leading=True, leader=name, expires_in_ms=ttl_ms)

    monkeypatch.setattr(ticking.store, "lead", lead)
    monkeypatch.setattr(module, "SAFETY_POLL_S", 0.01)  # time is moved behind their backs
    await ticking.ensure("a")
    await ticking.ensure("b", overlap=Overlap.SKIP)
    options = [SchedulerOptions(leader_ttl_s=1.0, name=f"leader {n}") for n in range(3)]
    async with (
        Scheduler(ticking.store, ticking.broker, options[0]) as one,
        Scheduler(ticking.store, ticking.broker, options[1]) as two,
        Scheduler(ticking.store, ticking.broker, options[2]),
    ):
        for n in range(1, 21):
            ticking.clock.now += EVERY_MS
            async with asyncio.timeout(10):
                while (await ticking.schedule("a")).runs < n or (await ticking.schedule("b")).skipped < n - 1:
                    await asyncio.sleep(0.01)
        assert one.leading
        assert two.leading
    ran = await ticking.executions("a")
    assert len(ran) == (await ticking.schedule("a")).runs == 20
    kept = await ticking.schedule("b")
    assert (len(await ticking.executions("b")), kept.runs, kept.skipped) == (1, 1, 19)


async def test_a_scheduler_wakes_for_what_is_due_and_for_what_is_due_earlier(namespace: str) -> None:
    store, broker = SqliteStore(None, namespace=namespace), MemoryBroker(namespace)
    await store.open()
    await broker.open(["default"])
    async with Scheduler(store, broker, SchedulerOptions(leader_ttl_s=1.0)) as scheduler:
        while not scheduler.leading:
            await asyncio.sleep(0.01)
        due_at = await store.now() + 300
        made = a_schedule("s", created_at=due_at - 10_000, due_at=due_at)
        await store.put_schedules([_every(made, 10_000, due_at)])
        async with asyncio.timeout(5):
            while (record := await store.record(_first_id(due_at))) is None:
                await asyncio.sleep(0.01)
        assert 0 <= record.created_at - due_at < 400, "in time, and not before"
    await store.close()


# -- overlap --------------------------------------------------------------------------------------


async def test_a_buffered_tick_starts_when_what_ran_has_ended(ticking: Ticking) -> None:
    await ticking.ensure(overlap=Overlap.BUFFER_ONE)
    for _ in range(3):
        await ticking.pass_time()
    kept = await ticking.schedule()
    assert [moment(one) for one in await ticking.executions()] == FIRST[:1]
    assert (kept.buffered, kept.skipped) == (ticking.clock.now - EVERY_MS, 1)
    await ticking.complete(f"s@{FIRST[0]}")
    await ticking.carry_on()
    assert [moment(one) for one in await ticking.executions()] == FIRST[:2], "at once, it is told"
    assert (await ticking.schedule()).buffered is None


async def test_what_ends_while_its_successor_is_buffered_is_noticed(ticking: Ticking) -> None:
    """The word of its end is overwritten by what is being written."""
    await ticking.ensure(overlap=Overlap.BUFFER_ONE)
    await ticking.pass_time()
    ended: list[bool] = []

    class Meanwhile(Dying):
        def __getattr__(self, name: str):
            method = getattr(ticking.store, name)
            if name != "put_schedules":
                return method

            async def put(schedules: Sequence[Schedule]) -> list[bool]:
                if not ended and any(one.buffered is not None for one in schedules):
                    ended.append(True)
                    await ticking.complete(f"s@{FIRST[0]}")
                answers: list[bool] = await method(schedules)
                return answers

            return put

    ticking.clock.now += EVERY_MS
    await ticking.carry_on(ticking.scheduler(Meanwhile(ticking.store, 0, after=False)))
    assert [moment(one) for one in await ticking.executions()] == FIRST[:2]


async def test_a_skipped_tick_is_counted_and_the_next_runs_when_nothing_does(ticking: Ticking) -> None:
    await ticking.ensure(overlap=Overlap.SKIP)
    await ticking.pass_time()
    await ticking.pass_time()
    assert (await ticking.schedule()).skipped == 1
    await ticking.complete(f"s@{FIRST[0]}")
    await ticking.carry_on()
    assert [moment(one) for one in await ticking.executions()] == FIRST[:1]
    await ticking.pass_time()
    assert [moment(one) for one in await ticking.executions()] == [FIRST[0], FIRST[2]]
    assert (await ticking.schedule()).last_tick == ticking.clock.now


async def test_an_execution_takes_the_place_of_the_one_before(ticking: Ticking) -> None:
    await ticking.ensure(overlap=Overlap.CANCEL_OTHER)
    await ticking.pass_time()
    await ticking.pass_time()
    first, second = await ticking.executions()
    assert (first.status, second.status) == (Status.CANCELLED, Status.PENDING)
    assert first.reason == f"schedule s has started {second.id}"
    assert (await ticking.schedule()).running == (second.id,)


# -- what is broken -------------------------------------------------------------------------------


async def test_a_broken_schedule_is_marked_and_delays_no_other(
    ticking: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ticking.store.start

    async def refusing(starts: Sequence[Start]) -> list[Started]:
        if any(one.id.startswith("bad") for one in starts):
            raise PayloadError("cannot be stored")
        return await start(starts)

    for id in ("a", "bad", "c"):
        await ticking.ensure(id)
    with monkeypatch.context() as patched:
        patched.setattr(ticking.store, "start", refusing)
        with capture_logs() as logs:
            await ticking.pass_time()
        assert len(await ticking.executions("a")) == len(await ticking.executions("c")) == 1
        bad = await ticking.schedule("bad")
        assert (bad.error, bad.failures) == ("PayloadError: cannot be stored", 1)
        assert (bad.runs, bad.last_tick, bad.last_started_at) == (0, None, None), "health is what really started"
        assert bad.due_at == ticking.clock.now + 1_000
        assert [line["schedule"] for line in logs if line["event"] == "schedule.failed"] == ["bad"]
        await ticking.pass_time()
        assert (await ticking.schedule("bad")).due_at == ticking.clock.now + 2_000, "less and less often"
        assert len(await ticking.executions("a")) == 2
    await ticking.pass_time(2_000)
    bad = await ticking.schedule("bad")
    assert (bad.error, bad.failures, bad.runs) == ("", 0, 4)
    assert moment((await ticking.executions("bad"))[0]) == FIRST[0], "the tick was not lost"


async def test_a_time_zone_that_is_gone_breaks_its_schedule_alone(ticking: Ticking) -> None:
    await ticking.ensure("a")
    gone = a_schedule("gone", due_at=1, created_at=ticking.clock.now)
    await ticking.store.put_schedules([_cron(gone, "0 9 * * *", "Mars/Olympus")])
    await ticking.pass_time()
    kept = await ticking.schedule("gone")
    assert "Mars/Olympus" in kept.error
    assert kept.due_at == ticking.clock.now + 1_000
    assert len(await ticking.executions("a")) == 1


async def test_an_id_that_is_taken_is_said_and_not_overwritten(ticking: Ticking) -> None:
    await ticking.store.start([a_start(f"s@{FIRST[0]}", digest="another")])
    await ticking.ensure()
    await ticking.pass_time()
    kept = await ticking.schedule()
    assert "is taken by another" in kept.error
    assert kept.runs == 0


async def test_a_workflow_that_no_live_worker_knows_is_said_and_its_executions_wait(ticking: Ticking) -> None:
    worker = WorkerInfo(id="w", build="b", queues=("default",), workflows=(("other", 1, "default"),), slots=1)
    await asyncio.to_thread(ticking.store.renewer().heartbeat, worker)
    await ticking.ensure()
    await ticking.pass_time()
    kept = await ticking.schedule()
    assert kept.error == "no live worker knows workflow 'order' version 1: its executions wait for one"
    assert (len(await ticking.executions()), kept.runs, kept.failures) == (1, 1, 0)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), Overloaded("full"), ZeroDivisionError("a defect")])
@pytest.mark.parametrize("method", ["due_schedules", "put_schedules", "start", "workers", "now", "record"])
async def test_no_error_of_the_store_ends_the_schedules(
    ticking: Ticking, monkeypatch: pytest.MonkeyPatch, error: Exception, method: str
) -> None:
    monkeypatch.setattr(module, "AWAY_S", 0.01)
    await ticking.ensure(overlap=Overlap.SKIP)
    await ticking.pass_time()
    await ticking.complete(f"s@{FIRST[0]}")
    original, failures = getattr(ticking.store, method), 0

    async def failing(*arguments: object) -> object:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise error
        return await original(*arguments)

    monkeypatch.setattr(ticking.store, method, failing)
    words = await ticking.store.subscribe("schedules")
    running = asyncio.create_task(ticking.scheduler().run(words))
    ticking.clock.now += EVERY_MS
    async with asyncio.timeout(10):
        while (await ticking.schedule()).runs < 2:
            assert not running.done()
            ticking.clock.now += 10
            await asyncio.sleep(0.005)
    assert failures > 1
    running.cancel()
    await asyncio.wait([running])
