"""What ``ctx`` methods return: awaitables that hand one command to the replay."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, Generic, Self, TypeVar

from runner.core.commands import Command, Step
from runner.core.replay import Replay
from runner.core.retry import Duration, Retry
from runner.durations import to_ms

T_co = TypeVar("T_co", covariant=True)


class Call(Generic[T_co]):
    """A ``ctx`` call that was built: ``await`` it, or give it to ``ctx.gather``.

    One that is thrown away unawaited fails the execution, naming the line: forgetting ``await`` would
    otherwise skip the work in silence.
    """

    __slots__ = ("_command", "_name", "_replay")

    def __init__(self, replay: Replay, name: str, command: Command) -> None:
        self._replay = replay
        self._name = name
        self._command = command
        replay.unawaited[id(self)] = (name, command.where)

    def __await__(self) -> Generator[Any, Any, T_co]:
        replay = self._replay
        if replay.closing:
            yield from replay.refuse()
        replay.unawaited.pop(id(self), None)
        result: T_co = yield self._command
        return result

    def __del__(self) -> None:
        dropped = self._replay.unawaited.pop(id(self), None)
        if dropped is not None and not self._replay.closing:
            self._replay.dropped.append(dropped)


class StepCall(Call[T_co]):
    """A step that was built; ``options`` changes how it is run."""

    __slots__ = ()

    def options(self, *, retry: Retry | None = None, timeout: Duration | None = None) -> Self:
        """Override the step's own retry policy and the timeout of each attempt; returns this call."""
        command = self._command
        assert isinstance(command, Step)  # noqa: S101 - a StepCall is made with one
        if retry is not None:
            command = replace(command, retry=retry)
        if timeout is not None:
            command = replace(command, timeout_ms=to_ms(timeout, what="timeout"))
        self._command = command
        return self


async def branch(call: Call[Any]) -> Any:
    """A call as a branch of its own."""
    return await call
