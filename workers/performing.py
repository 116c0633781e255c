"""The steps that run on behalf of one turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from runner.codec import decode
from runner.core.commands import Opened, Step
from runner.records import Execution
from runner.step import CurrentStep, Pulse
from runner.workers.steps import Attempt, StepRunner

#: A body that was cancelled has this long to see to it, in seconds; then it is left behind.
CLOSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    opened: Opened
    step: CurrentStep
    started_at: int
    body: asyncio.Task[Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """An attempt that has ended."""

    opened: Opened
    step: CurrentStep
    started_at: int
    attempt: Attempt


class Performing:
    """Starts step bodies, and hands out what came of them."""

    def __init__(
        self, steps: StepRunner, execution: Execution, *, owned: Callable[[], bool], on_end: Callable[[], None]
    ) -> None:
        self._steps = steps
        self._owned = owned
        self._execution = execution
        self._on_end = on_end
        self._running: dict[str, Running] = {}
        self.pulses: dict[str, Running] = {}  # of the bodies that have said something new of themselves

    def __contains__(self, id: str) -> bool:
        return id in self._running

    def __len__(self) -> int:
        return len(self._running)

    def start(self, opened: Opened, command: Step, *, attempt: int, now: int, beat: bytes = b"") -> None:
        """Call the step's body, as attempt number ``attempt``; ``beat`` is the last heartbeat of a former one."""
        execution = self._execution
        loop = asyncio.get_running_loop()

        def told() -> None:
            loop.call_soon_threadsafe(self._felt, opened.id)

        step = CurrentStep(
            execution_id=execution.id,
            workflow=execution.workflow,
            run=execution.run,
            id=opened.id,
            attempt=attempt,
            details=decode(beat, what="heartbeat") if beat else None,
            pulse=Pulse(told),
        )

        def permitted() -> bool:
            return self._owned() and not step.cancelled.is_set()

        body = asyncio.create_task(
            self._steps.perform(command, step, permitted),
            name=f"step {opened.id!r} of {execution.workflow} {execution.id}",
        )
        body.add_done_callback(lambda _: self._on_end())
        self._running[opened.id] = Running(opened=opened, step=step, started_at=now, body=body)

    def _felt(self, id: str) -> None:
        if id in self._running:
            self.pulses[id] = self._running[id]
            self._on_end()

    def keep(self, ids: Collection[str]) -> None:
        """Stop every other step: its branch has ended, nobody wants its result."""
        for id in [id for id in self._running if id not in ids]:
            self._stop(self._running.pop(id))

    def ended(self) -> Iterator[Performed]:
        """The attempts that have ended since the last call, in the order in which they were started."""
        for id in [id for id, running in self._running.items() if running.body.done()]:
            running = self._running.pop(id)
            self.pulses.pop(id, None)
            if not running.body.cancelled():
                yield Performed(
                    opened=running.opened,
                    step=running.step,
                    started_at=running.started_at,
                    attempt=running.body.result(),
                )

    async def close(self) -> None:
        """Stop everything and wait until the bodies on the loop are through with it."""
        bodies = [running.body for running in self._running.values()]
        self.keep(())
        if bodies:
            await asyncio.wait(bodies, timeout=CLOSE_S)

    def _stop(self, running: Running) -> None:
        self.pulses.pop(running.opened.id, None)
        running.step.cancelled.fire()
        running.body.cancel()
