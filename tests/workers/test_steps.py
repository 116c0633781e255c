"""Step bodies: called when permitted and not later, and whatever they do stays theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from runner.core.commands import Step
from runner.core.retry import ONCE
from runner.step import CurrentStep
from runner.workers.steps import AttemptTimedOut, Errored, ResultRefused, StepRunner, Succeeded


def command(fn: Callable[..., Any], timeout_ms: int | None = None) -> Step:
    return Step(id="s", where=("f", 1), fn=fn, args=(), kwargs={}, returns=Any, retry=ONCE, timeout_ms=timeout_ms)


def step(id: str = "s") -> CurrentStep:
    return CurrentStep(execution_id="x", workflow="w", run=1, id=id, attempt=1)


def always() -> bool:
    return True


async def test_a_body_queued_behind_others_is_not_called_once_its_turn_was_given_up() -> None:
    steps, called, hold = StepRunner(threads=1), [], threading.Event()
    first = asyncio.create_task(steps.perform(command(lambda: hold.wait(10)), step("a"), always))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(steps.perform(command(lambda: called.append("b")), step("b"), always))
    await asyncio.sleep(0.05)
    second.cancel()
    await asyncio.wait([second])
    hold.set()
    assert isinstance(await first, Succeeded)
    third = await steps.perform(command(lambda: "c"), step("c"), always)
    assert isinstance(third, Succeeded)
    assert called == []
    steps.close()


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_body_is_not_called_on_a_lease_that_ended_while_it_waited(threaded: bool) -> None:
    called: list[int] = []

    async def on_loop() -> None:
        called.append(1)

    steps = StepRunner(threads=1)
    body = command((lambda: called.append(1)) if threaded else on_loop)
    with pytest.raises(asyncio.CancelledError):
        await steps.perform(body, step(), lambda: False)
    assert called == []
    steps.close()


async def test_waiting_for_a_thread_is_no_part_of_the_timeout() -> None:
    steps, hold = StepRunner(threads=1), threading.Event()
    first = asyncio.create_task(steps.perform(command(lambda: hold.wait(10)), step("a"), always))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(steps.perform(command(lambda: "b", timeout_ms=100), step("b"), always))
    await asyncio.sleep(0.3)
    hold.set()
    await first
    assert isinstance(await second, Succeeded)
    steps.close()


@pytest.mark.parametrize("error", [StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
async def test_whatever_a_thread_raises_is_the_attempts_error(error: type[BaseException]) -> None:
    def body() -> None:
        raise error

    steps = StepRunner(threads=1)
    assert isinstance(await steps.perform(command(body), step(), always), Errored)
    assert isinstance(await steps.perform(command(lambda: 1), step(), always), Succeeded)
    steps.close()


class Classless(Exception):
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no")


async def test_a_result_that_raises_when_it_is_looked_at_is_refused() -> None:
    @dataclass
    class Shy:
        number: int

        def __getattribute__(self, name: str) -> Any:
            if name == "number":
                raise RuntimeError("no look")
            return object.__getattribute__(self, name)

    steps = StepRunner(threads=1)
    attempt = await steps.perform(command(lambda: Shy(1)), step(), always)
    assert isinstance(attempt, Errored)
    assert isinstance(attempt.error, ResultRefused)
    steps.close()


async def test_an_error_that_cannot_be_asked_for_its_class_is_told_by_one_that_can() -> None:
    def body() -> None:
        raise Classless("x")

    steps = StepRunner(threads=1)
    attempt = await steps.perform(command(body), step(), always)
    assert isinstance(attempt, Errored)
    assert "Classless" in str(attempt.error) and isinstance(attempt.error, RuntimeError)
    steps.close()


async def test_a_thread_over_its_timeout_keeps_its_place_until_it_ends() -> None:
    steps, hold, running = StepRunner(threads=2), threading.Event(), []

    def body() -> str:
        running.append(1)
        hold.wait(10)
        return "late"

    attempt = await steps.perform(command(body, timeout_ms=50), step(), always)
    assert isinstance(attempt, Errored)
    assert isinstance(attempt.error, AttemptTimedOut)
    again = asyncio.create_task(steps.perform(command(body), step(), always))
    await asyncio.sleep(0.1)
    assert running == [1]
    hold.set()
    assert isinstance(await again, Succeeded)
    steps.close()


async def test_a_payload_error_of_the_body_itself_is_no_refused_result() -> None:
    from runner import PayloadError

    def body() -> None:
        raise PayloadError("of something else")

    steps = StepRunner(threads=1)
    attempt = await steps.perform(command(body), step(), always)
    assert isinstance(attempt, Errored)
    assert isinstance(attempt.error, PayloadError)
    steps.close()
