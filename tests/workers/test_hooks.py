"""Observers: told in order, beside the work; one that raises, hangs or blocks changes nothing for anybody else."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import pytest
from structlog.testing import capture_logs

from runner import hooks as hooks_module
from runner.events import AuditAppended, ExecutionEvent, Ready, Slept, StepCompleted, WorkerEvent
from runner.hooks import Hooks
from runner.records import AuditEntry


def row(number: int, kind: str = "sleep") -> AuditEntry:
    return AuditEntry(execution_id=f"x-{number}", at=number, kind=kind, fields={"id": "nap"})


class Seen(list[str]):
    async def __call__(self, event: ExecutionEvent) -> None:
        self.append(event.execution_id)


async def test_each_row_is_told_as_umbrella_and_as_its_own_event_in_order() -> None:
    hooks, told = Hooks(), []
    for kind in (AuditAppended, Slept):
        hooks.add(kind, lambda event: told.append((type(event).__name__, event.execution_id)))
    hooks.fire([row(1), row(2, "of the future")])
    hooks.fire([row(3)])
    await hooks.settle()
    assert told == [
        ("AuditAppended", "x-1"),
        ("Slept", "x-1"),
        ("AuditAppended", "x-2"),
        ("AuditAppended", "x-3"),
        ("Slept", "x-3"),
    ]


async def test_an_observer_is_told_what_it_asked_for_and_of_a_family_all() -> None:
    hooks, steps, all_ = Hooks(), Seen(), Seen()
    workers: list[WorkerEvent] = []
    hooks.add(StepCompleted, steps)
    hooks.add(ExecutionEvent, all_)
    hooks.add(WorkerEvent, workers.append)
    hooks.fire([row(1)])
    hooks.tell(Ready(worker="w-1"))
    await hooks.settle()
    assert (steps, all_, workers) == ([], ["x-1"], [Ready(worker="w-1")])


async def test_without_observers_nothing_is_kept_or_started() -> None:
    hooks = Hooks()
    before = asyncio.all_tasks()
    hooks.fire([row(1)])
    hooks.tell(Ready(worker="w-1"))
    await hooks.settle()
    assert asyncio.all_tasks() == before
    assert not hooks._tellers


async def test_firing_never_waits_and_never_raises() -> None:
    hooks, seen = Hooks(), Seen()
    hooks.add(Slept, seen)
    hooks.fire([row(1)])
    assert seen == []
    await hooks.settle()
    assert seen == ["x-1"]


@pytest.mark.parametrize("error", [RuntimeError("boom"), StopIteration("odd"), SystemExit(3), asyncio.CancelledError()])
async def test_what_an_observer_raises_is_logged_and_the_others_are_told(error: BaseException) -> None:
    hooks, seen = Hooks(), Seen()

    def raises(event: Slept) -> None:
        raise error

    hooks.add(Slept, raises)
    hooks.add(Slept, seen)
    with capture_logs() as logs:
        hooks.fire([row(1), row(2)])
        await hooks.settle()
    assert seen == ["x-1", "x-2"]
    failed = [line for line in logs if line["event"] == "hook.failed"]
    assert [(line["hook"].rpartition(".")[2], line["told"]) for line in failed] == [("raises", "Slept")] * 2


async def test_an_async_observer_that_raises_is_logged() -> None:
    hooks = Hooks()

    async def raises(event: Slept) -> None:
        raise RuntimeError("boom")

    hooks.add(Slept, raises)
    with capture_logs() as logs:
        hooks.fire([row(1)])
        await hooks.settle()
    assert [line["error"] for line in logs if line["event"] == "hook.failed"] == ["RuntimeError: boom"]


async def test_an_observer_that_hangs_is_passed_over_until_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_module, "PATIENCE_S", 0.05)
    hooks, seen, go_on = Hooks(), Seen(), asyncio.Event()
    calls = 0

    async def stubborn(event: Slept) -> None:
        nonlocal calls
        calls += 1
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue  # swallows its cancellation

    hooks.add(Slept, stubborn)
    hooks.add(Slept, seen)
    with capture_logs() as logs:
        hooks.fire([row(1), row(2)])
        await hooks.settle(5)
    assert (seen, calls) == (["x-1", "x-2"], 1)
    assert {line["event"] for line in logs} == {"hook.failed", "hook.passed_over"}
    go_on.set()
    await asyncio.sleep(0)
    hooks.fire([row(3)])
    await hooks.settle(5)
    assert (seen[-1], calls) == ("x-3", 2)


async def test_a_plain_observer_that_blocks_holds_up_neither_the_loop_nor_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hooks_module, "PATIENCE_S", 0.05)
    hooks, seen, go_on = Hooks(), Seen(), threading.Event()
    hooks.add(Slept, lambda _: go_on.wait(30))
    hooks.add(Slept, seen)
    began = time.monotonic()
    hooks.fire([row(number) for number in range(20)])
    await hooks.settle(5)
    assert len(seen) == 20
    assert time.monotonic() - began < 5
    assert sum(thread.name == "runner-observer" for thread in threading.enumerate()) == 1
    go_on.set()


async def test_more_than_there_is_room_for_is_told_to_nobody_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_module, "ROOM", 3)
    hooks, seen = Hooks(), Seen()
    hooks.add(Slept, seen)
    with capture_logs() as logs:
        hooks.fire([row(number) for number in range(10)])
        await hooks.settle()
    assert seen == ["x-0", "x-1", "x-2"]
    assert [line["event"] for line in logs] == ["hook.overflow"]


async def test_an_observer_may_be_a_partial_of_an_async_function() -> None:
    hooks, seen = Hooks(), Seen()

    async def observe(prefix: str, event: Slept) -> None:
        seen.append(prefix + event.execution_id)

    hooks.add(Slept, partial(observe, "a-"))
    hooks.fire([row(1)])
    await hooks.settle()
    assert seen == ["a-x-1"]


def test_hooks_are_shared_by_loops() -> None:
    hooks, seen = Hooks(), Seen()
    hooks.add(Slept, seen)

    async def once(number: int) -> None:
        hooks.fire([row(number)])
        await hooks.settle()

    for number in range(3):
        asyncio.run(once(number))
    assert seen == ["x-0", "x-1", "x-2"]


async def test_an_observer_may_fire_itself() -> None:
    hooks, seen = Hooks(), []

    async def again(event: Slept) -> None:
        seen.append(event.execution_id)
        if len(seen) < 3:
            hooks.fire([row(len(seen) + 1)])

    hooks.add(Slept, again)
    hooks.fire([row(1)])
    await hooks.settle()
    assert seen == ["x-1", "x-2", "x-3"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration("odd")])
async def test_an_async_observer_cannot_end_the_loop(error: BaseException) -> None:
    hooks, seen = Hooks(), Seen()

    async def raises(event: Slept) -> None:
        raise error

    hooks.add(Slept, raises)
    hooks.add(Slept, seen)
    with capture_logs() as logs:
        hooks.fire([row(1)])
        await hooks.settle()
    assert seen == ["x-1"]
    assert [line["event"] for line in logs] == ["hook.failed"]
