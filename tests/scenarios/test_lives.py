"""Scenarios 16, 42, 45-47, 52, 62-65 and 81: what brings an execution to its end when somebody or something fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from runner import App, Client, Context, ExecutionFailed, Retry, Signal, Status, UnknownExecution, current_step
from runner.errors import BrokerUnavailable
from runner.store import partition_of
from runner.store.crashes import MAX_CRASHES
from runner.transactions import Open, Suspend
from runner.workers import Worker, WorkerOptions
from tests.integration.by_hand import claimed
from tests.integration.conftest import Backend, Fleet, Run
from tests.scenarios.kit import happened, nothing_left, until

go = Signal[str]("go")


async def _away(*_: Any) -> Any:
    raise BrokerUnavailable("the broker is away")


async def test_a_sleep_whose_wake_up_could_not_be_published_ends_by_itself(app: App, run: Run, monkeypatch):
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        await ctx.sleep(0.2)
        return "woke"

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await until(fleet, handle.id, Status.SLEEPING)
        tried: list[int] = []

        async def lost(*_: Any) -> Any:
            tried.append(1)
            raise BrokerUnavailable("the broker is away")

        with monkeypatch.context() as patch:
            patch.setattr(fleet.broker, "publish", lost)
            patch.setattr(fleet.broker, "publish_many", lost)
            await happened(lambda: tried)
            assert (await handle.execution()).status is Status.SLEEPING
        assert await handle.result(timeout=20) == "woke"
        await nothing_left(fleet)


async def test_a_start_while_the_broker_is_away_runs_once_when_it_is_back(app: App, run: Run, monkeypatch):
    calls: list[str] = []

    @app.workflow("flow")
    async def flow(ctx: Context, word: str) -> str:
        await ctx.step("call", calls.append, word)
        return word

    async with run(app) as fleet:
        with monkeypatch.context() as patch:
            patch.setattr(fleet.broker, "publish", _away)
            patch.setattr(fleet.broker, "publish_many", _away)
            first = await fleet.client.start(flow, "a", idempotency_key="k")
            again = await fleet.client.start(flow, "a", idempotency_key="k")
        assert first.id == again.id
        assert await first.result(timeout=20) == "a"
        await nothing_left(fleet)
    assert calls == ["a"]


async def test_an_execution_that_takes_every_worker_with_it_ends_failed_and_others_go_on(app: App, run: Run):
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return "done"

    async with run(app, workers=0, scheduler=False) as fleet:
        handle = await fleet.client.start(flow, id="deadly")
        partition = partition_of("deadly", fleet.store.partitions)
        for crash in range(1, MAX_CRASHES + 1):
            claimed = await fleet.store.claim("deadly", f"nonce {crash}", "gone", 1)
            assert claimed is not None
            async with asyncio.timeout(20):
                while (await handle.execution()).crashes < crash and not (await handle.status()).terminal:
                    await asyncio.sleep(0.002)
                    await fleet.store.reap(partition, 10, ())
        with pytest.raises(ExecutionFailed, match="took too many workers"):
            await handle.result(timeout=5)
        assert (await fleet.client.executions(status="failed")).executions[0].id == "deadly"
        await fleet.add_worker()
        assert await (await fleet.client.start(flow)).result(timeout=20) == "done"


async def test_two_recoveries_at_once_wake_each_execution_once(app: App, run: Run):
    turns: Counter[str] = Counter()

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        turns[ctx.execution_id] += 1
        await ctx.sleep(0.001, id="nap")
        return "done"

    async with run(app, workers=0, scheduler=False) as fleet:
        handles = await fleet.client.start_many(flow, [None] * 30)
        for handle in handles:
            turn = await claimed(fleet.store, handle.id)
            await turn.commit(opens=(Open(id="nap", kind="sleep", after_ms=1),), end=Suspend())
        await asyncio.sleep(0.05)
        reports = await asyncio.gather(fleet.client.recover(), fleet.client.recover())
        assert sum(report.recovered for report in reports) == len(handles)
        await fleet.add_worker()
        assert [await handle.result(timeout=20) for handle in handles] == ["done"] * 30
    assert set(turns.values()) == {1} and len(turns) == 30


async def test_starting_again_gives_the_same_execution_wherever_it_is_and_runs_nothing(app: App, run: Run, monkeypatch):
    calls: list[str] = []

    @app.workflow("flow")
    async def flow(ctx: Context, word: str) -> str:
        await ctx.step("call", calls.append, word)
        return await ctx.wait_for_signal(go)

    async with run(app, workers=0, scheduler=False) as fleet:

        async def start() -> Any:
            return await fleet.client.start(flow, "a", idempotency_key="k")

        with monkeypatch.context() as patch:
            patch.setattr(fleet.broker, "publish_many", _away)
            handle = await start()
        # Its hint was lost and no scheduler is there: the repeated start kicks it again.
        await fleet.add_worker()
        assert (await start()).id == handle.id
        await until(fleet, handle.id, Status.SLEEPING)
        seq = (await handle.execution()).seq
        assert (await start()).id == handle.id
        assert (await handle.execution()).seq == seq
        await handle.signal(go, "on")
        assert await handle.result(timeout=20) == "on"
        assert (await start()).id == handle.id and await handle.status() is Status.COMPLETED
    assert calls == ["a"]


async def test_a_step_cut_off_by_a_shutdown_is_no_attempt_and_its_worker_is_gone_in_time(app: App, run: Run):
    attempts: list[int] = []
    calls: Counter[str] = Counter()

    @app.step(retry=Retry(max_attempts=1))
    async def long() -> str:
        attempts.append(current_step().attempt)
        if len(attempts) < 3:
            await asyncio.sleep(60)
        return "done"

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> str:
        await ctx.step("first", calls.update, ["first"])
        return await ctx.step("long", long)

    async with run(app, grace_s=1.0) as fleet:
        handle = await fleet.client.start(flow)
        for times in (1, 2):
            await happened(lambda times=times: len(attempts) == times)
            begun = asyncio.get_running_loop().time()
            await fleet.workers[-1].drain()
            assert asyncio.get_running_loop().time() - begun < 1.0 + 5  # the grace, and a slow machine
            execution = await handle.execution()
            assert (execution.status, execution.crashes, execution.attempt) == (Status.PENDING, 0, 1)
            # Looking, waiting and cancelling need no worker.
            assert (await fleet.client.steps(handle.id))[0].id == "first"
            await fleet.add_worker()
        assert await handle.result(timeout=20) == "done"
        await nothing_left(fleet)
    assert attempts == [1, 1, 1] and calls == {"first": 1}


async def test_what_has_ended_is_forgotten_and_what_lives_never(app: App, run: Run):
    """A child's result reaches its parent, also when the child itself is long forgotten."""

    @app.workflow("child", retention=0.1)
    async def child(ctx: Context) -> str:
        return "kept"

    @app.workflow("flow", retention=0.1)
    async def flow(ctx: Context) -> str:
        started = await ctx.start_child("child", child)
        await ctx.wait_for_signal(go)
        return await started.result()

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        await until(fleet, handle.id, Status.SLEEPING)
        async with asyncio.timeout(20):
            while not (links := await fleet.store.children(handle.id)) or not links[0].ended:
                await asyncio.sleep(0.01)
            while await fleet.store.record(links[0].execution_id) is not None:
                await asyncio.sleep(0.05)
        assert await handle.status() is Status.SLEEPING
        watching = asyncio.create_task(handle.result(timeout=20))
        await asyncio.sleep(0)
        await handle.signal(go, "on")
        assert await watching == "kept"
        async with asyncio.timeout(20):
            with pytest.raises(UnknownExecution):
                while await handle.status():
                    await asyncio.sleep(0.05)
        assert await fleet.store.audit(handle.id) == () and await fleet.store.children(handle.id) == ()


async def test_two_namespaces_on_one_backend_see_nothing_of_each_other(app: App, run: Run, backend: Backend):
    other = App(f"{app.name}b")
    for one in (app, other):

        @one.workflow("flow")
        async def flow(ctx: Context, name: str) -> str:
            return f"{name} {await ctx.wait_for_signal(go)}"

    async with run(app) as fleet:
        mine = await fleet.client.start("flow", "mine", id="same")
        await until(fleet, mine.id, Status.SLEEPING)
        if not backend.store_url.startswith("redis"):
            return  # an embedded file belongs to one process and one namespace
        async with run(other) as neighbours:
            with pytest.raises(UnknownExecution):
                await neighbours.client.signal("same", go, "theirs")
            theirs = await neighbours.client.start("flow", "theirs", id="same")
            await until(neighbours, theirs.id, Status.SLEEPING)
            await mine.signal(go, "on")
            assert await mine.result(timeout=20) == "mine on"
            assert await theirs.status() is Status.SLEEPING
            assert len((await neighbours.client.executions()).executions) == 1
            known = [worker.id for worker in await neighbours.store.workers(60_000)]
            assert known == [worker.options.id for worker in neighbours.workers]


async def test_in_a_mixed_fleet_new_workflows_start_soon_cost_no_crash_and_say_why_they_wait(app: App, run: Run):
    old = App(app.name)

    for one in (app, old):

        @one.workflow("common")
        async def common(ctx: Context) -> str:
            return "common"

    @app.workflow("new")
    async def new(ctx: Context) -> str:
        return "new"

    options = WorkerOptions(watch_loop=False, grace_s=2, concurrency=5)
    async with run(app, workers=0) as fleet, Worker(old, fleet.store, fleet.broker, options):
        waiting = await fleet.client.start(new)
        async with asyncio.timeout(20):
            while "'new'" not in (execution := await waiting.execution()).passed:
                await asyncio.sleep(0.01)
        assert (execution.status, execution.crashes, execution.worker) == (Status.PENDING, 0, "")
        assert await _why(fleet, waiting.id)
        await fleet.add_worker()
        assert await waiting.result(timeout=20) == "new"
        handles = [await fleet.client.start(name) for name in ("new", "common") * 20]
        begun = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(handle.result(timeout=20) for handle in handles))
        assert results == ["new", "common"] * 20
        assert asyncio.get_running_loop().time() - begun < 10  # a second or two on a machine that does nothing else
        assert {(await handle.execution()).crashes for handle in handles} == {0}
        await nothing_left(fleet)


async def _why(fleet: Fleet, id: str) -> bool:
    detail = await fleet.client.operator.detail(id)
    return "'new'" in detail.execution.passed


async def test_a_client_that_only_knows_the_name_of_the_app_reaches_executions(app: App, run: Run, backend: Backend):
    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.wait_for_signal(go)

    async with run(app) as fleet, Client(app.name, fleet.store, fleet.broker) as service:
        handle = await service.start("flow")
        await service.signal(handle.id, "go", "on")
        assert await service.wait(handle.id, timeout=20) == "on"
