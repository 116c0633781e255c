"""Whoever may be killing its workers shares no process with another one that may."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from runner import App, Client, Context, ExecutionFailed
from runner.broker.memory import MemoryBroker
from runner.courier import Courier
from runner.errors import StoreUnavailable
from runner.records import Cause, Execution, History
from runner.scheduler import Scheduler
from runner.store.crashes import BrokenOff, CrashLimit
from runner.store.sqlite import SqliteStore
from runner.transactions import Start, Wake
from runner.workers import Worker, WorkerOptions
from runner.workers.leases import HeldLease
from runner.workers.returns import Returns
from runner.workers.suspects import ALONE, SUSPECT, Suspects
from runner.workers.turn import Turn


async def an_execution(id: str, crashes: int) -> Execution:
    store = SqliteStore(None, namespace="n")
    await store.open()
    await store.start([Start(id=id, request=id, workflow="w", version=1, queue="q", input=b"", digest="")])
    record = await store.record(id)
    await store.close()
    assert record is not None
    return replace(record, crashes=crashes)


async def test_one_suspect_at_a_time_and_everybody_else_beside_it() -> None:
    suspects = Suspects()
    first, second = await an_execution("first", SUSPECT), await an_execution("second", SUSPECT + 5)
    assert suspects.admit(first)
    assert not suspects.admit(second)
    assert suspects.admit(await an_execution("innocent", SUSPECT - 1))
    suspects.leave(second)  # it was never here
    assert not suspects.admit(second)
    suspects.leave(first)
    assert suspects.admit(second)
    assert not suspects.admit(first)


async def test_a_suspect_whose_lease_was_taken_again_is_here_until_both_turns_are_over() -> None:
    suspects = Suspects()
    one, other = await an_execution("one", SUSPECT), await an_execution("other", SUSPECT)
    assert suspects.admit(one)
    assert suspects.admit(one)
    suspects.leave(one)
    assert not suspects.admit(other)
    suspects.leave(one)
    assert suspects.admit(other)


async def test_a_second_suspect_is_passed_over_with_the_reason_and_runs_afterwards(namespace: str) -> None:
    app, running, let_go = App(namespace), asyncio.Queue[str](), asyncio.Event()

    async def work(name: str) -> None:
        running.put_nowait(name)
        await let_go.wait()

    @app.workflow("flow")
    async def flow(ctx: Context, name: str) -> str:
        await ctx.step("work", work, name)
        return name

    store, broker = SqliteStore(None, namespace=namespace), MemoryBroker(namespace)
    await store.open()
    await broker.open(["default"])
    async with Client(app, store, broker) as client:
        handles = [await client.start(flow, name, id=name) for name in ("one", "two")]
        for handle in handles:
            for crash in range(SUSPECT):
                await store.claim(handle.id, f"{crash}", "dead", 1000)
                await store.break_off(handle.id, f"{crash}", CrashLimit())
        async with (
            Scheduler(store, broker),
            Worker(app, store, broker, WorkerOptions(watch_loop=False)),
            asyncio.timeout(60),
        ):
            first = await running.get()
            other = handles[first == "one"]
            while (await other.execution()).passed != ALONE:
                await asyncio.sleep(0.01)
            assert running.empty()
            let_go.set()
            assert [await handle.result() for handle in handles] == ["one", "two"]
            assert {(await handle.execution()).crashes for handle in handles} == {0}
    await broker.close()
    await store.close()


class Slow(SqliteStore):
    """Who is given back is so a while later."""

    def __init__(self, namespace: str, told: list[str]) -> None:
        super().__init__(None, namespace=namespace)
        self._told = told

    async def release(self, id: str, nonce: str) -> Wake | None:
        await asyncio.sleep(0.1)
        self._told.append("given back")
        return await super().release(id, nonce)


async def test_what_was_claimed_together_with_a_suspect_is_given_back_before_that_begins(namespace: str) -> None:
    """Or it would lose a third worker in which it never ran."""
    app, told = App(namespace), list[str]()

    async def work() -> None:
        told.append("began")

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        await ctx.step("work", work)

    store, broker = Slow(namespace, told), MemoryBroker(namespace)
    await store.open()
    await broker.open(["default"])
    async with Client(app, store, broker) as client:
        handles = [await client.start(flow, id=name) for name in ("one", "two", "three")]
        for handle in handles:
            for crash in range(SUSPECT):
                await store.claim(handle.id, f"{crash}", "dead", 1000)
                await store.break_off(handle.id, f"{crash}", CrashLimit())
        async with Scheduler(store, broker), Worker(app, store, broker, WorkerOptions(watch_loop=False)):
            for handle in handles:
                await handle.result(timeout=60)
    assert told[:3] == ["given back", "given back", "began"]
    await broker.close()
    await store.close()


async def test_a_turn_that_always_breaks_ends_after_its_bound_with_what_was_wrong(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(namespace)

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return "fine"

    run = Turn.run

    async def broken(self: Turn) -> object:
        if self.execution.id == "bad":
            raise ZeroDivisionError("a defect of ours")
        return await run(self)

    monkeypatch.setattr(Turn, "run", broken)
    store, broker = SqliteStore(None, namespace=namespace), MemoryBroker(namespace)
    await store.open()
    await broker.open(["default"])
    options = WorkerOptions(watch_loop=False, max_crashes=2)
    async with Scheduler(store, broker), Worker(app, store, broker, options), Client(app, store, broker) as client:
        bad = await client.start(flow, id="bad")
        assert await (await client.start(flow)).result(timeout=30) == "fine"
        with pytest.raises(ExecutionFailed, match=r"broke 2 turns in a row, .*ZeroDivisionError: a defect of ours"):
            await bad.result(timeout=60)
        ended = await bad.execution()
        assert (ended.cause, ended.crashes) == (Cause.POISONED, 2)
    await broker.close()
    await store.close()


class Forgetful(SqliteStore):
    """Each turn that broke is broken off, and the first answer lost."""

    lost = 0

    async def break_off(self, id: str, nonce: str, crashes: CrashLimit) -> BrokenOff:
        answer = await super().break_off(id, nonce, crashes)
        self.lost += 1
        if self.lost % 2:
            raise StoreUnavailable("the answer is lost")
        return answer


async def test_a_turn_that_broke_waits_longer_and_is_said_to_be_poisoned_though_answers_are_lost(
    namespace: str,
) -> None:
    store, broker = Forgetful(None, namespace=namespace), MemoryBroker(namespace)
    await store.open()
    hooks = App(namespace).hooks
    returns = Returns(store, broker, Courier(store, broker, hooks), hooks, max_crashes=2)
    await store.start([Start(id="x", request="x", workflow="w", version=1, queue="q", input=b"", digest="")])
    with capture_logs() as logs:
        for nonce in ("one", "two"):
            history = await store.claim("x", nonce, "w", 60_000)
            assert isinstance(history, History)
            await returns.break_off(history.execution, HeldLease("x", nonce, 60_000, 0), "ZeroDivisionError")
    said = [log["event"] for log in logs if log["event"].startswith("execution.")]
    assert said == ["execution.passed_over", "execution.poisoned"]
    assert store.lost == 4
    await store.close()
