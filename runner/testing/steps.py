"""Calls the bodies of steps for a test: notes every call, puts stubs in their place, lets them fail or their worker die."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Never

from runner.core.commands import Step
from runner.step import CurrentStep
from runner.testing.calls import Call, Named, names
from runner.testing.faults import Faults, InjectedFailure, When
from runner.workers.steps import Attempt, Errored, Permitted, StepRunner, Succeeded

#: Bodies that are plain functions run in so many threads.
THREADS = 8


class KitSteps(StepRunner):
    """``die`` is told of an execution whose worker is to die."""

    def __init__(self, faults: Faults, die: Callable[[str], None]) -> None:
        super().__init__(THREADS)
        self.calls: list[Call] = []
        self._faults = faults
        self._die = die
        self._stubs: list[tuple[Named, Callable[..., Any]]] = []
        self.running: list[Call] = []
        self._bodies: dict[tuple[str, str], Callable[..., Any]] = {}

    def stub(self, named: Named, value: Any) -> None:
        """The latest stub that fits a step is the one that is called."""
        self._stubs.insert(0, (named, _body(value)))

    def body_of(self, execution_id: str, step: str) -> Callable[..., Any] | None:
        """What was called for a step, stubbed or not, as the workflow's code named it."""
        return self._bodies.get((execution_id, step))

    async def perform(self, command: Step, step: CurrentStep, permitted: Permitted) -> Attempt:
        call = Call.of(command, step)
        self._bodies[step.execution_id, step.id] = command.fn
        if failed := await self._befalls("before_effect", call):
            return failed
        if permitted():
            self.calls.append(call)
        attempt = await self._called(call, self._stubbed(command), step, permitted)
        match attempt:
            case Succeeded(payload=payload):
                call.returned(payload, command.returns)
            case Errored(error=error):
                call.error = error
        return await self._befalls("after_effect", call) or attempt

    async def _called(self, call: Call, command: Step, step: CurrentStep, permitted: Permitted) -> Attempt:
        self.running.append(call)
        try:
            return await super().perform(command, step, permitted)
        finally:
            self.running.remove(call)

    async def _befalls(self, when: When, call: Call) -> Errored | None:
        fault = self._faults.take(when, call.step, call.fn)
        if fault is None:
            return None
        if fault.what == "crash":
            self._die(call.execution_id)
            await _never()
        return Errored(error=fault.error or InjectedFailure(f"step {call.step!r} was made to fail"))

    def _stubbed(self, command: Step) -> Step:
        for named, body in self._stubs:
            if names(named, command.id, command.fn):
                return command.but(fn=body)
        return command


async def _never() -> Never:
    """The worker is dead: nothing that it was about to do happens. Ends with the turn, which cancels it."""
    while True:
        await asyncio.get_running_loop().create_future()


def _body(value: Any) -> Callable[..., Any]:
    """What is called instead of a step's body. On the loop: a test's functions do not block."""

    async def body(*args: Any, **kwargs: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        made = value(*args, **kwargs) if callable(value) else value
        return await made if inspect.isawaitable(made) else made

    return body
