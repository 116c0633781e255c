"""Steps on both backends: run once, retried, timed out, recorded as what they are."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from runner import App, Context, ExecutionFailed, Retry, RetryLater, StepFailed, StepTimedOut, idempotency_key
from runner.step import current_step
from tests.integration.conftest import Run


@dataclass(frozen=True)
class Order:
    id: str
    amount: int


async def test_steps_run_once_across_a_sleep(app: App, run: Run) -> None:
    calls: list[str] = []

    async def a(order: Order) -> Order:
        calls.append("a")
        return Order(order.id, order.amount + 1)

    def b(order: Order) -> int:
        calls.append("b")
        return order.amount

    @app.workflow("flow")
    async def flow(ctx: Context, order: Order) -> list[Any]:
        first = await ctx.step("a", a, order)
        await ctx.sleep(0.05)
        return [first.id, await ctx.step("b", b, first)]

    async with run(app) as fleet:
        handle = await fleet.client.start(flow, Order("7", 41))
        assert await handle.result(timeout=20) == ["7", 42]
        history = await fleet.client.history(handle.id)
    assert calls == ["a", "b"]
    assert [entry.id for entry in history.entries] == ["a", "__sleep:1", "b"]
    assert history.waits == ()


async def test_retries_pause_and_count_and_see_one_key(app: App, run: Run) -> None:
    attempts: list[tuple[int, str, float]] = []

    @app.step(retry=Retry(max_attempts=3, initial=0.05, multiplier=3, jitter=0))
    async def flaky() -> str:
        attempts.append((current_step().attempt, idempotency_key(), time.monotonic()))
        if len(attempts) < 3:
            raise ConnectionError("not yet")
        return "done"

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.step("flaky", flaky)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        assert await handle.result(timeout=20) == "done"
        (entry,) = (await fleet.client.history(handle.id)).entries
    assert [attempt for attempt, _, _ in attempts] == [1, 2, 3]
    assert len({key for _, key, _ in attempts}) == 1 and handle.id in attempts[0][1]
    assert attempts[1][2] - attempts[0][2] >= 0.045 and attempts[2][2] - attempts[1][2] >= 0.14
    assert entry.attempts == 3


async def test_a_long_retry_delay_holds_no_turn(app: App, run: Run) -> None:
    calls: list[int] = []

    @app.step(retry=Retry(max_attempts=2))
    async def later() -> str:
        calls.append(current_step().attempt)
        if len(calls) == 1:
            raise RetryLater(2.6)
        return "done"

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.step("later", later)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        while not (await fleet.client.history(handle.id)).waits:
            await asyncio.sleep(0.01)
        assert await handle.status() == "sleeping"
        assert fleet.workers[0].busy == 0
        assert await handle.result(timeout=20) == "done"
    assert calls == [1, 2]


async def test_a_failed_step_can_be_caught(app: App, run: Run) -> None:
    @app.error
    class CardDeclined(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(f"declined with {code}")
            self.code = code

    async def charge() -> None:
        raise CardDeclined(51)

    async def other() -> None:
        raise KeyError("x")

    @app.workflow("flow")
    async def flow(ctx: Context) -> list[Any]:
        seen: list[Any] = []
        try:
            await ctx.step("charge", charge)
        except CardDeclined as declined:
            seen += [declined.code, str(declined)]
        try:
            await ctx.step("other", other)
        except StepFailed as failed:
            seen += [failed.type, failed.matches(LookupError), failed.matches(ValueError)]
        await ctx.sleep(0.01)
        return seen

    async with run(app) as fleet:
        assert await (await fleet.client.start(flow)).result(timeout=20) == [
            51,
            "declined with 51",
            "KeyError",
            True,
            False,
        ]


async def test_attempts_of_the_execution_call_only_what_escaped(app: App, run: Run) -> None:
    calls: list[str] = []

    def note(name: str) -> None:
        calls.append(name)

    def broken(name: str) -> None:
        calls.append(name)
        raise ValueError(name)

    @app.workflow("flow", max_attempts=3, retry=Retry(initial=0.05, jitter=0))
    async def flow(ctx: Context) -> None:
        await ctx.step("fine", note, "fine")
        with suppress(StepFailed):
            await ctx.step("caught", broken, "caught")
        await ctx.step("escapes", broken, "escapes")

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result(timeout=20)
        assert (await handle.execution()).attempt == 3
    assert calls == ["fine", "caught", "escapes", "escapes", "escapes"]
    assert failed.value.attempt == 3 and failed.value.execution_id == handle.id
    assert "escapes" in str(failed.value)


async def test_an_async_step_over_its_timeout_is_cut_off_and_tried_again(app: App, run: Run) -> None:
    cut: list[int] = []

    @app.step(retry=Retry(max_attempts=2, initial=0.01), timeout=0.1)
    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cut.append(current_step().attempt)
            raise

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> str:
        try:
            await ctx.step("slow", slow)
        except StepTimedOut as timed_out:
            return f"{timed_out.step} {timed_out.attempts} {timed_out.matches(TimeoutError)}"
        return "not reached"

    async with run(app) as fleet:
        assert await (await fleet.client.start(flow)).result(timeout=20) == "slow 2 True"
    assert cut == [1, 2]


async def test_a_sync_step_over_its_timeout_is_not_run_twice_at_once(app: App, run: Run) -> None:
    running, most, calls = 0, 0, 0
    lock = threading.Lock()

    @app.step(retry=Retry(max_attempts=2, initial=0.01), timeout=0.1)
    def slow() -> str:
        nonlocal running, most, calls
        with lock:
            calls += 1
            running += 1
            most = max(most, running)
            call = calls
        if call == 1:
            time.sleep(0.5)
        with lock:
            running -= 1
        return "done"

    @app.workflow("flow")
    async def flow(ctx: Context) -> str:
        return await ctx.step("slow", slow)

    async with run(app) as fleet:
        assert await (await fleet.client.start(flow)).result(timeout=20) == "done"
    assert (most, calls) == (1, 2)


async def test_a_result_that_cannot_be_stored_names_step_and_type_and_is_not_repeated(app: App, run: Run) -> None:
    calls: list[int] = []

    class Socket: ...

    @app.step(retry=Retry(max_attempts=5, initial=0.01))
    def bad() -> Any:
        calls.append(1)
        return {"connection": Socket()}

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> None:
        await ctx.step("bad", bad)

    async with run(app) as fleet:
        with pytest.raises(ExecutionFailed) as failed:
            await (await fleet.client.start(flow)).result(timeout=20)
    assert "'bad'" in str(failed.value) and "Socket" in str(failed.value) and "connection" in str(failed.value)
    assert calls == [1]


async def test_branches_run_side_by_side_and_each_once(app: App, run: Run) -> None:
    calls: list[int] = []
    both = asyncio.Barrier(5)

    async def work(number: int) -> int:
        calls.append(number)
        await both.wait()  # only passes when all five are running at once
        return number

    async def branch(ctx: Context, number: int) -> int:
        await ctx.sleep(0.01 * number, id=f"sleep {number}")
        return await ctx.step(f"work {number}", work, number)

    @app.workflow("flow")
    async def flow(ctx: Context) -> tuple[int, ...]:
        return await ctx.gather(*(branch(ctx, number) for number in range(5)))

    async with run(app) as fleet:
        assert await (await fleet.client.start(flow)).result(timeout=20) == (0, 1, 2, 3, 4)
    assert sorted(calls) == [0, 1, 2, 3, 4]


async def test_a_step_that_calls_ctx_is_told_so(app: App, run: Run) -> None:
    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> None:
        async def step() -> None:
            await ctx.sleep(1)

        await ctx.step("nested", step)

    async with run(app) as fleet:
        with pytest.raises(ExecutionFailed, match="outside workflow code"):
            await (await fleet.client.start(flow)).result(timeout=20)


async def test_foreign_awaits_fail_at_once_with_line_and_cure(app: App, run: Run) -> None:
    @app.workflow("flow", max_attempts=3)
    async def flow(ctx: Context) -> None:
        await asyncio.sleep(0.01)

    @app.workflow("fine")
    async def fine(ctx: Context) -> str:
        return "fine"

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result(timeout=20)
        assert await (await fleet.client.start(fine)).result(timeout=20) == "fine"
        assert (await handle.execution()).attempt == 1
    assert f"test_steps.py:{flow.fn.__code__.co_firstlineno + 2}" in str(failed.value)
    assert "ctx.step" in str(failed.value)


async def test_the_round_trips_of_an_execution(app: App, run: Run) -> None:
    """Claim 1, each step 1, the last step's commit carries the end: counted at the store."""

    async def work() -> int:
        return 1

    @app.workflow("flow")
    async def flow(ctx: Context) -> int:
        return sum([await ctx.step(f"s{n}", work) for n in range(3)])

    async with run(app) as fleet:
        calls: list[str] = []
        for name in ("start", "claim", "commit", "release", "pass_over", "deliver"):
            _count(fleet.store, name, calls)
        assert await (await fleet.client.start(flow)).result(timeout=20) == 3
    assert calls == ["start", "claim", "commit", "commit", "commit"]


def _count(store: Any, name: str, calls: list[str]) -> None:
    method = getattr(store, name)

    async def counted(*args: Any) -> Any:
        calls.append(name)
        return await method(*args)

    setattr(store, name, counted)


async def test_a_run_that_records_too_much_ends_with_the_reason(
    app: App, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.workers.journal.MAX_ENTRIES", 20)

    @app.workflow("flow")
    async def flow(ctx: Context) -> None:
        number = 0
        while True:
            number += 1
            await ctx.step(f"s{number}", str, number)

    async with run(app) as fleet:
        handle = await fleet.client.start(flow)
        with pytest.raises(ExecutionFailed, match="JournalTooLarge"):
            await handle.result(timeout=20)
        assert len((await fleet.client.history(handle.id)).entries) <= 21
