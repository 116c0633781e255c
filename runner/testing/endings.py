"""How an execution ended in a test, without raising what a result would raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.records import Execution, History, Status, Wait
from runner.testing.calls import Call, Named

if TYPE_CHECKING:
    from runner.testing.env import TestEnv


class Stuck(AssertionError):
    """Nothing will ever happen to an execution that a test waits for: it waits for the test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """An execution when nothing more happens to it by itself.

    ``result``: what it returned, None otherwise. ``error``: what ``handle.result()`` would raise, None if it completed.
    An execution that waits for something that never comes has neither, and its status is ``sleeping``.
    """

    env: TestEnv
    execution: Execution
    result: Any = None
    error: BaseException | None = None

    @property
    def status(self) -> Status:
        return self.execution.status

    def calls(self, step: Named) -> tuple[Call, ...]:
        """The calls of a step, as ``TestEnv.calls`` gives them."""
        return self.env.calls(step)


def why_stuck(history: History) -> str:
    """What keeps an execution from going on, with the cure."""
    execution = history.execution
    what = f"execution {execution.id!r} of {execution.workflow!r} is {execution.status}, and nothing is due"
    if execution.passed:
        return f"{what}: {execution.passed}"
    if not history.waits:
        return what
    waits = "; ".join(_waits_for(wait) for wait in history.waits)
    return f"{what}: it waits for {waits}. Do what it waits for before you wait for its result, or in another task"


def _waits_for(wait: Wait) -> str:
    match wait.kind:
        case "signal":
            return f"signal {wait.name!r}"
        case "ended":
            return f"the end of execution {wait.name!r}"
        case kind:
            return f"{kind} {wait.id!r}"
