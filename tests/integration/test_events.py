"""Events from workflows to functions, and observers of executions and workers, on both pairs of backends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from runner import App, Context, events
from runner.signals import Event, Signal
from tests.integration.conftest import Run


@dataclass(frozen=True)
class Paid:
    order: str
    amount: int


paid = Event[Paid]("order.paid")


async def until(true: Callable[[], bool], why: str = "it happened") -> None:
    try:
        async with asyncio.timeout(30):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never came true: {why}") from None


# -- emitted events -------------------------------------------------------------------------------------------


async def test_what_a_workflow_emits_reaches_every_subscriber_once_across_replays(app: App, run: Run) -> None:
    heard: list[tuple[str, Paid]] = []

    @app.workflow
    async def pay(ctx: Context, order: str) -> str:
        await ctx.emit(paid, Paid(order, 7))
        await ctx.sleep(0.05)  # and replayed after it
        await ctx.emit(paid, Paid(order, 8))
        return order

    @app.on(paid)
    async def mail(event: Paid) -> None:
        heard.append(("mail", event))

    @app.on(paid)
    def book(event: Paid) -> None:
        heard.append(("book", event))

    async with run(app) as fleet:
        await (await fleet.client.start(pay, "o-1")).result(timeout=30)
        await until(lambda: len(heard) == 4, "both have heard both")
        await asyncio.sleep(0.1)
    expected = [(who, Paid("o-1", amount)) for who in ("book", "mail") for amount in (7, 8)]
    assert sorted(heard, key=str) == expected


async def test_events_are_on_their_way_at_once_and_need_no_scheduler(app: App, run: Run) -> None:
    heard = asyncio.Event()

    @app.workflow
    async def pay(ctx: Context) -> None:
        await ctx.emit(paid, Paid("o", 1))

    @app.on(paid)
    async def mail(_: Paid) -> None:
        heard.set()

    async with run(app, scheduler=False) as fleet:
        await fleet.client.start(pay)
        await asyncio.wait_for(heard.wait(), 30)


async def test_two_workers_share_a_subscriber(app: App, run: Run) -> None:
    heard: list[str] = []

    @app.workflow
    async def pay(ctx: Context, order: str) -> None:
        await ctx.emit(paid, Paid(order, 1))

    @app.on(paid)
    async def mail(event: Paid) -> None:
        heard.append(event.order)

    async with run(app, workers=2) as fleet:
        handles = await fleet.client.start_many(pay, [f"o-{number}" for number in range(20)])
        for handle in handles:
            await handle.result(timeout=30)
        await until(lambda: len(heard) >= 20, "all were heard")
    assert sorted(heard) == sorted({f"o-{number}" for number in range(20)})


async def test_an_event_whose_function_fails_is_heard_again(
    app: App, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.broker.handling.REQUEUE_PAUSE", 0.01)
    calls: list[Paid] = []

    @app.workflow
    async def pay(ctx: Context) -> None:
        await ctx.emit(paid, Paid("o", 1))

    @app.on(paid)
    async def mail(event: Paid) -> None:
        calls.append(event)
        if len(calls) < 3:
            raise RuntimeError("the mail server is away")

    async with run(app) as fleet:
        await fleet.client.start(pay)
        await until(lambda: len(calls) == 3, "tried until it went well")


async def test_what_a_leaving_worker_was_hearing_another_one_hears(app: App, run: Run) -> None:
    calls: list[str] = []
    began = asyncio.Event()

    @app.workflow
    async def pay(ctx: Context) -> None:
        await ctx.emit(paid, Paid("o", 1))

    @app.on(paid)
    async def mail(event: Paid) -> None:
        calls.append(event.order)
        began.set()
        if len(calls) == 1:
            await asyncio.Event().wait()

    async with run(app, grace_s=0.5) as fleet:
        await fleet.client.start(pay)
        await asyncio.wait_for(began.wait(), 30)
        await fleet.workers[0].drain()
        assert len(calls) == 1
        await fleet.add_worker()
        await until(lambda: len(calls) == 2, "the other worker heard it")


# -- observers ------------------------------------------------------------------------------------------------

go = Signal[int]("go")


async def test_observers_see_an_execution_from_its_claim_to_its_end_in_order(app: App, run: Run) -> None:
    umbrella: list[events.AuditAppended] = []
    typed: list[events.ExecutionEvent] = []

    async def charge() -> int:
        return 1

    async def fail() -> None:
        raise ValueError("no")

    @app.workflow
    async def order(ctx: Context) -> int:
        await ctx.step("charge", charge)
        await ctx.note("charged", by="ann")
        try:
            await ctx.step("fail", fail)
        except Exception:
            await ctx.sleep(0.01, id="nap")
        return await ctx.wait_for_signal(go, id="go")

    app.on(events.AuditAppended)(umbrella.append)
    app.on(events.ExecutionEvent)(typed.append)
    async with run(app) as fleet:
        handle = await fleet.client.start(order)
        await until(lambda: any(isinstance(one, events.WaitOpened) and one.id == "go" for one in typed), "it waits")
        await handle.signal(go, 3)
        assert await handle.result(timeout=30) == 3
        await until(lambda: (typed[-1:] or [None])[0] == ended(typed), "its end was told")
    of_turns = [one for one in typed if not isinstance(one, events.ExecutionCreated | events.SignalDelivered)]
    expected = [
        events.StepCompleted,
        events.NoteAdded,
        events.AttemptFailed,
        events.StepFailed,
        events.WaitOpened,  # the nap
        events.Slept,
        events.WaitOpened,  # for the signal
        events.SignalConsumed,
    ]
    seen = [type(one) for one in of_turns if not isinstance(one, events.ExecutionStatusChanged)]
    assert seen == expected
    assert {one.execution_id for one in typed} == {handle.id}
    [note] = [one for one in typed if isinstance(one, events.NoteAdded)]
    assert (note.message, note.fields) == ("charged", {"by": "ann"})
    [signal] = [one for one in typed if isinstance(one, events.SignalConsumed)]
    assert (signal.id, signal.name) == ("go", "go")
    [failed] = [one for one in typed if isinstance(one, events.AttemptFailed)]
    assert (failed.id, failed.error, failed.again) == ("fail", "ValueError: no", False)
    changes = [(one.before, one.after) for one in typed if isinstance(one, events.ExecutionStatusChanged)]
    assert changes[0] == ("pending", "running") and changes[-1] == ("running", "completed")
    assert len(umbrella) == len(typed)


def ended(typed: list[events.ExecutionEvent]) -> events.ExecutionEvent | None:
    return next(
        (one for one in typed if isinstance(one, events.ExecutionStatusChanged) and one.after == "completed"), None
    )


async def test_a_signal_that_came_before_its_wait_is_told_by_name(app: App, run: Run) -> None:
    told: list[events.SignalConsumed] = []

    @app.workflow
    async def late(ctx: Context) -> int:
        return await ctx.wait_for_signal(go, id="gate")

    app.on(events.SignalConsumed)(told.append)
    async with run(app, workers=0) as fleet:
        handle = await fleet.client.start(late)
        await handle.signal(go, 3)
        await fleet.add_worker()
        await handle.result(timeout=30)
        await until(lambda: bool(told), "it was told")
    assert [(one.id, one.name) for one in told] == [("gate", "go")]


async def test_the_trail_in_the_store_says_what_the_observers_were_told(app: App, run: Run) -> None:
    told: list[str] = []

    async def charge() -> int:
        return 1

    @app.workflow
    async def order(ctx: Context) -> int:
        return await ctx.step("charge", charge)

    app.on(events.AuditAppended)(lambda one: told.append(one.kind))
    async with run(app) as fleet:
        handle = await fleet.client.start(order)
        await handle.result(timeout=30)
        stored = [row.kind for row in await fleet.store.audit(handle.id)]
        await until(lambda: [kind for kind in told if kind != "created"] == stored[1:], "all of it was told")
    assert stored == ["created", "status", "step", "status"]


async def test_an_observer_that_fails_or_hangs_changes_nothing(app: App, run: Run) -> None:
    calls: list[object] = []

    async def charge() -> int:
        return 1

    @app.workflow
    async def order(ctx: Context) -> int:
        return await ctx.step("charge", charge)

    @app.on(events.ExecutionStatusChanged)
    async def hangs(event: events.ExecutionStatusChanged) -> None:
        calls.append(event)
        await asyncio.Event().wait()

    @app.on(events.StepCompleted)
    def fails(event: events.StepCompleted) -> None:
        calls.append(event)
        raise RuntimeError("boom")

    async with run(app) as fleet:
        for _ in range(3):
            assert await (await fleet.client.start(order)).result(timeout=5) == 1
        await until(lambda: bool(calls), "they were called")


async def test_a_workers_life_is_told_in_order(app: App, run: Run) -> None:
    told: list[tuple[str, str]] = []
    app.on(events.WorkerEvent)(lambda one: told.append((type(one).__name__, one.worker)))
    async with run(app) as fleet:
        worker = fleet.workers[0].options.id
        await until(lambda: told == [("Ready", worker)], "it is ready")
        await fleet.workers[0].drain()
        assert told == [(kind, worker) for kind in ("Ready", "Draining", "Drained")]


async def test_a_worker_that_cuts_something_off_says_so(app: App, run: Run) -> None:
    told: list[str] = []
    began = asyncio.Event()

    async def long() -> None:
        began.set()
        await asyncio.Event().wait()

    @app.workflow
    async def slow(ctx: Context) -> None:
        await ctx.step("long", long)

    app.on(events.WorkerEvent)(lambda one: told.append(type(one).__name__))
    async with run(app, grace_s=0.5) as fleet:
        await fleet.client.start(slow)
        await asyncio.wait_for(began.wait(), 30)
        await fleet.workers[0].drain()
    assert told == ["Ready", "Draining", "Aborting", "Drained"]


# -- what a commit causes elsewhere ---------------------------------------------------------------------------


async def test_a_child_is_started_and_its_end_told_at_once_without_a_scheduler(app: App, run: Run) -> None:
    @app.workflow
    async def child(ctx: Context, number: int) -> int:
        await ctx.sleep(0, id="breath")
        return number * 2

    @app.workflow
    async def parent(ctx: Context) -> int:
        return sum(await ctx.gather(*(ctx.run_child(f"c-{number}", child, number) for number in range(10))))

    async with run(app, scheduler=False) as fleet:
        assert await (await fleet.client.start(parent)).result(timeout=30) == 90
