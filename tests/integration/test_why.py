"""Why an execution does not go on, asked of real fleets: each situation is made, and the first reason names it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from runner import App, Client, Context, Handle, Retry, Signal, StoreUnavailable, SyncClient, UnknownExecution
from runner.codec import encode
from runner.load import Load
from runner.records import WorkerInfo
from runner.store import Store
from runner.store.standing import Standing
from runner.transactions import Start
from runner.why import ReasonCode, Why, assert_explained
from tests.integration.by_hand import claimed
from tests.integration.conftest import Fleet, Run

pytestmark = pytest.mark.timeout(90)

C = ReasonCode
go = Signal[str]("go")
HOUR = timedelta(hours=1)


#: What a busy machine may add to any answer.
PASSING = {C.STORE_SLOW, C.BROKER_UNREACHABLE, C.NO_SCHEDULER, C.OUTBOX_OVERDUE, C.NOT_ASKED}


def said(why: Why) -> tuple[ReasonCode, ...]:
    return tuple(code for code in why.codes if code not in PASSING)


async def until(handle: Handle[object], met: Callable[[Why], bool]) -> Why:
    """What is said as soon as it is this."""
    async with asyncio.timeout(30):
        while not met(why := await handle.why()):
            assert_explained(why)
            await asyncio.sleep(0.02)
    return why


async def until_said(handle: Handle[object], *codes: ReasonCode) -> Why:
    """These codes and no others, but for what a busy machine adds."""
    try:
        return await until(handle, lambda why: said(why) == codes)
    except TimeoutError:
        pytest.fail(f"never {codes}, but {await handle.why()}")


async def until_first(handle: Handle[object], code: ReasonCode) -> Why:
    try:
        return await until(handle, lambda why: why.codes[0] is code)
    except TimeoutError:
        pytest.fail(f"never {code}, but {await handle.why()}")


async def beat(store: Store, load: Load | None = None) -> None:
    """A worker says that it lives."""
    worker = WorkerInfo(
        id="by hand",
        build="",
        queues=("default",),
        workflows=(("order", 1, "default"),),
        slots=4,
        lease_ms=60_000,
        load=load or Load(),
    )
    renewer = store.renewer()
    await asyncio.to_thread(renewer.heartbeat, worker)
    await asyncio.to_thread(renewer.close)


@pytest.fixture
def idle(run: Run, app: App):
    """A namespace in which nobody works."""

    @app.workflow("order")
    async def order(ctx: Context) -> str:
        return "done"

    return run(app, workers=0, scheduler=False)


# -- nobody takes it ------------------------------------------------------------------------------------


async def test_who_is_missing(idle):
    async with idle as fleet:
        handle = await fleet.client.start("order")
        assert (await handle.why()).codes[:2] == (C.NO_WORKER, C.NO_SCHEDULER)
        elsewhere = await fleet.client.start("order", queue="gpu")
        await beat(fleet.store)
        assert (await elsewhere.why()).codes[0] is C.NO_WORKER_FOR_QUEUE
        assert said(await handle.why()) == (C.READY,)
        with pytest.raises(UnknownExecution, match="retention"):
            await fleet.client.why("nobody")


async def test_a_line_is_told_with_its_pace(idle):
    async with idle as fleet:
        for number in range(3):
            last = await fleet.client.start("order", id=f"o{number}")
            now = await fleet.store.now()
            while await fleet.store.now() == now:  # of one millisecond nobody is before the other
                await asyncio.sleep(0)
        await beat(fleet.store, Load(ended=(("default", 60),), over_ms=60_000))
        told = (await last.why()).reasons[0]
        assert told.code is C.BACKLOG
        assert "2 of the 3 that wait in queue 'default' are before it; about 60 a minute" in told.text
        assert told.until is not None


async def test_a_hint_that_was_lost(idle, monkeypatch):
    monkeypatch.setattr("runner.why.ready.GRACE_MS", 0)
    async with idle as fleet:
        await beat(fleet.store)
        lost = Start(id="x", request="r", workflow="order", version=1, queue="default", input=encode(None), digest="d")
        await fleet.store.start([lost])  # and nobody publishes
        handle = fleet.client.handle("x")
        assert C.NO_SCHEDULER in (await until_said(handle, C.HINT_LOST)).codes


async def test_a_worker_that_is_gone_and_a_timer_that_nobody_fires(idle, monkeypatch):
    monkeypatch.setattr("runner.why.facts.OVERDUE_MS", 0)
    async with idle as fleet:
        await beat(fleet.store)
        held = await fleet.client.start("order")
        await claimed(fleet.store, held.id, worker="gone")
        told = (await held.why()).reasons[0]
        assert told.code is C.WORKER_SILENT
        assert told.until is not None
        delayed = await fleet.client.start("order", delay=0.05)
        assert C.NO_SCHEDULER in (await until_said(delayed, C.TIMER_OVERDUE, C.DELAYED)).codes
        monkeypatch.setattr("runner.why.facts.OVERDUE_MS", 60_000)
        assert (await delayed.why()).codes[0] is C.DELAYED


async def test_workers_of_another_release(run: Run, app: App):
    newer = App(app.name)

    @app.workflow("old")
    async def old(ctx: Context) -> None: ...

    for version in (1, 2):

        @newer.workflow(f"{'old' if version == 2 else 'new'}", version=version)
        async def other(ctx: Context) -> None: ...

    async with run(app) as fleet, Client(newer, fleet.store, fleet.broker) as client:
        await until_said(await client.start("new"), C.UNKNOWN_WORKFLOW, C.PASSED_OVER)
        version = await until_first(await client.start("old"), C.UNKNOWN_VERSION)
        assert version.reasons[0].data["versions"] == {"1": [fleet.workers[0].options.id]}


async def test_a_history_that_the_code_does_not_replay(run: Run, app: App):
    release = {"broken": False}

    @app.workflow("order")
    async def order(ctx: Context) -> str:
        await ctx.step("a", str)
        return "early" if release["broken"] else await ctx.wait_for_signal(go)

    async with run(app) as fleet:
        handle = await fleet.client.start("order")
        await until_first(handle, C.WAITING_SIGNAL)
        release["broken"] = True
        await handle.signal(go, "on")
        told = (await until_first(handle, C.HISTORY_MISMATCH)).reasons[0]
        assert "does not replay its history" in told.text
        assert told.until is not None
        assert "deploy" in told.cure


# -- it waits -------------------------------------------------------------------------------------------


async def flop() -> None:
    raise ValueError("no luck")


@pytest.fixture
def waiting(run: Run, app: App):
    """A fleet at work, with a workflow for each way to wait."""

    @app.workflow("signal")
    async def signal(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    @app.workflow("nap", timeout=HOUR)
    async def nap(ctx: Context) -> None:
        await ctx.sleep(2 * HOUR)

    @app.workflow("parent")
    async def parent(ctx: Context) -> None:
        await ctx.run_child("kid", signal)

    @app.workflow("step")
    async def step(ctx: Context) -> None:
        await ctx.step("flop", flop).options(retry=Retry(max_attempts=3, initial=3600))

    @app.workflow("attempt", retry=Retry(initial=3600))
    async def attempt(ctx: Context) -> None:
        raise ValueError("no luck")

    return run(app)


async def test_what_it_waits_for(waiting: Fleet):
    async with waiting as fleet:
        start = fleet.client.start
        names = ("signal", "nap", "parent", "step", "attempt")
        signal, nap, parent, step, attempt = [await start(name, id=name) for name in names]
        await until_said(nap, C.SLEEPING, C.DEADLINE)
        paused = await until_first(step, C.STEP_RETRY)
        assert "ValueError: no luck" in paused.reasons[0].text
        again = await until_first(attempt, C.RETRYING)
        assert "its attempt 2 of 3 after ValueError: no luck" in again.reasons[0].text
        await until_first(signal, C.WAITING_SIGNAL)
        await fleet.client.signal("signal", "goo", "x")
        mistaken = await until_said(signal, C.WAITING_SIGNAL, C.SIMILAR_SIGNAL)
        assert mistaken.reasons[0].cure == "runner executions signal signal go PAYLOAD"
        family = await until(parent, lambda why: "waits for signal 'go'" in why.reasons[0].text)
        assert said(family) == (C.WAITING_CHILD,)
        assert family.reasons[0].data["why"][0]["code"] == "waiting_signal"
        kid = fleet.client.handle(family.reasons[0].data["execution_id"])
        assert said(await kid.why()) == (C.WAITING_SIGNAL, C.STARTED_BY)
        await signal.cancel("enough")
        assert (await until_first(signal, C.ENDED)).reasons[0].text == "it was cancelled: enough"


async def test_what_runs_for_long_and_who_waits_for_its_slot(run: Run, app: App, monkeypatch):
    monkeypatch.setattr("runner.workers.steps.LONG_MS", 0)
    release = asyncio.Event()

    @app.workflow("busy")
    async def busy(ctx: Context) -> None:
        await ctx.step("hold", release.wait).options(timeout=3600)

    async with run(app, concurrency=1, lease_s=3.0) as fleet:
        first = await fleet.client.start("busy")
        told = await until_said(first, C.RUNNING, C.STEP_RUNNING)
        assert told.reasons[0].data["worker"] == fleet.workers[0].options.id
        assert None not in (told.reasons[0].since, told.reasons[1].since, told.reasons[1].until)
        second = await fleet.client.start("busy")
        assert (await until_first(second, C.SLOTS_TAKEN)).reasons[0].data["slots"] == 1
        release.set()
        await first.result(30)
        await second.result(30)


async def test_a_client_without_a_loop_asks_the_same(run: Run, app: App, backend):
    @app.workflow("order")
    async def order(ctx: Context) -> None: ...

    if backend.store_url.startswith("sqlite"):
        return  # its file has one owner: there is nothing to share

    def ask() -> tuple[Why, Why]:
        with SyncClient(app, backend.store_url, backend.broker_url) as client:
            handle = client.start("order", queue="nobody")
            return handle.why(), client.why(handle.id)

    async with run(app, workers=0):
        one, other = await asyncio.to_thread(ask)
    assert said(one) == said(other)
    assert one.codes[0] is C.NO_WORKER


# -- how it is asked ------------------------------------------------------------------------------------


async def test_what_fits_together_badly_is_looked_at_again(idle, monkeypatch):
    """It was claimed and given back between two questions."""
    async with idle as fleet:
        await beat(fleet.store)
        handle = await fleet.client.start("order")
        standing, stale = fleet.store.standing, [1, 1]

        async def asked(id: str, queue: str) -> Standing:
            found = await standing(id, queue)
            return replace(found, offered_at=None, since=None) if stale and stale.pop() else found

        monkeypatch.setattr(fleet.store, "standing", asked)
        assert said(await handle.why()) == (C.READY,)
        stale.extend([1, 1, 1])
        assert (await handle.why()).codes[0] is C.NO_WAKE_SOURCE


async def test_who_does_not_answer_is_left_out_and_named(idle, monkeypatch):
    monkeypatch.setattr("runner.why.gather.BROKER_S", 0.05)
    async with idle as fleet:
        handle = await fleet.client.start("order")

        async def away(*_: object) -> None:
            raise StoreUnavailable("not for this user")

        async def hang(*_: object) -> None:
            await asyncio.Event().wait()

        for name in ("workers", "leader", "audit", "children"):
            monkeypatch.setattr(fleet.store, name, away)
        monkeypatch.setattr(fleet.broker, "depth", hang)
        why = await handle.why()
        assert why.codes[0] is C.BROKER_UNREACHABLE
        assert "no answer within" in why.reasons[0].text
        sources = {reason.data["source"] for reason in why.reasons if reason.code is C.NOT_ASKED}
        assert sources == {"workers", "leader", "audit trail", "children"}
        monkeypatch.setattr(fleet.store, "read", away)
        with pytest.raises(StoreUnavailable):
            await handle.why()


async def test_a_family_is_asked_one_level_deep_and_a_schedule_is_named(run: Run, app: App):
    @app.workflow("kid")
    async def kid(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    @app.workflow("parent")
    async def parent(ctx: Context) -> None:
        await ctx.run_child("kid", kid)

    @app.workflow("grandparent")
    async def grandparent(ctx: Context) -> None:
        await ctx.run_child("parent", parent)

    async with run(app) as fleet:
        oldest = await fleet.client.start("grandparent")
        why = await until(oldest, lambda why: why.reasons[0].text.count("waits for the end of its child") == 2)
        (nearest, *_) = why.reasons[0].data["why"]
        assert nearest["code"] == "waiting_child"
        assert "sleeping: " not in nearest["text"], "not why of why"
        await fleet.client.ensure_schedule("kid", id="nightly", interval=HOUR)
        triggered = await fleet.client.trigger_schedule("nightly")
        named = await until(triggered, lambda why: C.SCHEDULED in why.codes)
        assert [one.data for one in named.reasons if one.code is C.SCHEDULED] == [{"schedule": "nightly"}]
