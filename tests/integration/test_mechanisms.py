"""Each promise has a mechanism behind it: these fail when it is taken away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner import App, Context, Retry, UnknownExecution
from runner.step import current_step
from runner.workers.leases import HeldLease, LeaseKeeper
from runner.workers.turn import Turn
from tests.integration.conftest import Run


async def test_a_step_that_outlasts_the_lease_keeps_it(app: App, run: Run) -> None:
    calls: list[int] = []

    async def long() -> str:
        calls.append(1)
        await asyncio.sleep(2.5)
        return "done"

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.step("long", long)

    async with run(app, workers=2, lease_s=1.0) as fleet:
        handle = await fleet.client.start(flow)
        assert await handle.result(timeout=20) == "done"
        assert (await handle.execution()).crashes == 0
    assert calls == [1]


async def test_an_owner_that_stopped_renewing_is_replaced_and_writes_nothing(
    app: App, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    taken_over = asyncio.Event()

    async def first() -> int:
        calls.append("first")
        if calls == ["first"]:
            await taken_over.wait()
            await asyncio.sleep(0.3)
            return -1
        taken_over.set()
        return 1

    async def second(given: int) -> int:
        calls.append("second")
        return given

    @app.workflow("flow")
    async def flow(ctx: Context) -> int:
        return await ctx.step("second", second, await ctx.step("first", first))

    async with run(app, workers=0, lease_s=1.0) as fleet:
        with monkeypatch.context() as patch:
            patch.setattr(LeaseKeeper, "_round", lambda _: None)
            zombie = await fleet.add_worker()
            handle = await fleet.client.start(flow)
            while not calls:
                await asyncio.sleep(0.01)
        # From here on renewals work, but not for the lease that is held: its owner has dropped it.
        zombie._keeper._held.clear()
        await fleet.add_worker()
        assert await handle.result(timeout=30) == 1
        await asyncio.sleep(0.5)
        history = await fleet.client.history(handle.id)
    assert calls == ["first", "first", "second"]
    assert [entry.id for entry in history.entries] == ["first", "second"]


async def test_no_user_code_is_called_on_a_lease_that_may_be_over(
    app: App, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    trust = True

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        await ctx.step("first", calls.append, "first")
        await ctx.step("second", calls.append, "second")

    async with run(app, lease_s=1.0) as fleet:
        commit = fleet.store.commit

        async def paused_after_commit(*args: Any) -> Any:
            nonlocal trust
            committed = await commit(*args)
            trust = trust and "first" not in calls
            return committed

        monkeypatch.setattr(fleet.store, "commit", paused_after_commit)
        monkeypatch.setattr(HeldLease, "trusted", property(lambda self: trust))
        handle = await fleet.client.start(flow)
        while trust:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.7)  # several renewals
        assert calls == ["first"]
        monkeypatch.undo()
        await handle.result(timeout=20)
    assert calls == ["first", "second"]


async def test_a_start_whose_hint_was_never_published_is_executed(app: App, run: Run) -> None:
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return "done"

    async with run(app) as fleet:
        publish = fleet.broker.publish_many
        fleet.broker.publish_many = _nothing  # type: ignore[method-assign]
        handle = await fleet.client.start(flow)
        fleet.broker.publish_many = publish  # type: ignore[method-assign]
        assert await handle.result(timeout=20) == "done"


async def _nothing(*_: Any) -> int:
    return 0


async def test_a_lost_notification_is_made_up_for_by_the_safety_poll(
    app: App, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.waiting.SAFETY_POLL_S", 0.2)

    class Deaf:
        async def next(self, timeout: float) -> None:
            await asyncio.sleep(timeout)

        async def close(self) -> None: ...

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.sleep(0.3)
        return "done"

    async with run(app) as fleet:
        subscribe = fleet.store.subscribe

        async def deaf(topic: str) -> Any:
            return Deaf() if topic.startswith("ended/") else await subscribe(topic)

        monkeypatch.setattr(fleet.store, "subscribe", deaf)
        assert await (await fleet.client.start(flow)).result(timeout=20) == "done"


async def test_a_lost_poke_is_made_up_for_by_the_renewal(app: App, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()

    async def work() -> str:
        async with asyncio.timeout(15):
            await release.wait()
        return "worked"

    from runner import Signal

    go = Signal[str]("go")

    async def listen(ctx: Context) -> None:
        await ctx.wait_for_signal(go)
        await ctx.step("heard", release.set)

    @app.workflow("flow")
    async def flow(ctx: Context) -> Any:
        return await ctx.gather(ctx.step("work", work), listen(ctx))

    async with run(app, lease_s=1.5) as fleet:
        worker = fleet.workers[0]
        worker._beside["pokes"].cancel()
        handle = await fleet.client.start(flow)
        while not worker.busy:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        await handle.signal(go, "now")
        assert await handle.result(timeout=20) == ("worked", None)


async def test_what_ended_is_forgotten_after_its_retention(app: App, run: Run) -> None:
    @app.workflow("flow", retention=0.3)
    async def flow(ctx: Context) -> str:
        return await ctx.step("s", str, "done")

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        assert await handle.result(timeout=20) == "done"
        async with asyncio.timeout(20):
            with pytest.raises(UnknownExecution, match="retention"):
                while await handle.status():
                    await asyncio.sleep(0.1)
        assert (await fleet.client.executions()).executions == ()


async def test_two_schedulers_at_once_do_no_harm(app: App, run: Run) -> None:
    calls: list[int] = []

    @app.workflow("flow")
    async def flow(ctx: Context, number: int) -> int:
        await ctx.sleep(0.05)
        await ctx.step("once", calls.append, number)
        return number

    async with run(app) as fleet:
        from runner.scheduler import Scheduler

        async with Scheduler(fleet.store, fleet.broker) as other:
            other._seat.leading = True
            lead = asyncio.create_task(other._lead())
            handles = await fleet.client.start_many(flow, range(50))
            assert await asyncio.gather(*(handle.result(timeout=30) for handle in handles)) == list(range(50))
            lead.cancel()
            await asyncio.wait([lead])
    assert sorted(calls) == list(range(50))


async def test_a_turn_does_not_ask_the_store_again_and_again_while_a_retried_step_runs(app: App, run: Run) -> None:
    @app.step(retry=Retry(max_attempts=2, initial=0.05))
    async def flaky() -> str:
        if current_step().attempt == 1:
            raise ValueError("once")
        await asyncio.sleep(1.0)
        return "done"

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.step("flaky", flaky)

    async with run(app) as fleet:
        commits: list[int] = []
        turns: list[int] = []
        commit, events = fleet.store.commit, Turn._event

        async def counted(*args: Any) -> Any:
            commits.append(1)
            return await commit(*args)

        async def event(self: Turn) -> None:
            turns.append(1)
            await events(self)

        fleet.store.commit = counted  # type: ignore[method-assign]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Turn, "_event", event)
            assert await (await fleet.client.start(flow)).result(timeout=20) == "done"
    assert len(commits) <= 4
    assert len(turns) <= 20
