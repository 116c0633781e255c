"""What ``ctx`` methods return: awaitables that hand one command to the replay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from runner.core.commands import Command, Place, Step
from runner.core.replay import Replay
from runner.core.retry import Duration, Retry
from runner.durations import to_ms
from runner.errors import UsageError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Call(Generic[T_co]):
    """A ``ctx`` call that was built: ``await`` it, or give it to ``ctx.gather``.

    One that is thrown away unawaited fails the execution, naming the line: forgetting ``await`` would
    otherwise skip the work in silence.
    """

    __slots__ = ("_command", "_name", "_replay", "_then")

    def __init__(
        self,
        replay: Replay,
        name: str,
        command: Any,
        then: Callable[[Any], Any] | None = None,
        *,
        where: Place | None = None,
    ) -> None:
        self._replay = replay
        self._name = name
        self._command = command
        self._then = then  # what makes the result of what is recorded
        replay.unawaited[id(self)] = (name, where or command.where)

    def __await__(self) -> Generator[Any, Any, T_co]:
        replay = self._replay
        if replay.closing:
            yield from replay.refuse()
        replay.unawaited.pop(id(self), None)
        result = yield from self._ask()
        made: T_co = result if self._then is None else self._then(result)
        return made

    def _ask(self) -> Generator[Any, Any, Any]:
        return (yield self._command)

    def __del__(self) -> None:
        dropped = self._replay.unawaited.pop(id(self), None)
        if dropped is not None and not self._replay.closing:
            self._replay.dropped.append(dropped)


class StepCall(Call[T_co]):
    """A step that was built; ``options`` changes how it is run, and how it is undone."""

    __slots__ = ()
    _command: Step

    def options(
        self: StepCall[T],
        *,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        compensate: Callable[[T], Any] | Callable[[T], Awaitable[Any]] | None = None,
    ) -> StepCall[T]:
        """Override the step's own retry policy and the timeout of each attempt; returns this call.

        ``compensate``: what undoes it, called with its result by ``ctx.rollback()`` or a saga: once, as a step
        of its own, with the retry policy and timeout it was given by ``@app.step``.
        """
        changes: dict[str, Any] = {}
        if retry is not None:
            changes["retry"] = retry
        if timeout is not None:
            changes["timeout_ms"] = to_ms(timeout, what="timeout")
        if compensate is not None:
            changes["compensate"] = _checked(compensate, self._name)
        self._command = self._command.but(**changes)
        return self


class Routine(Call[T_co]):
    """A call made of several: ``body`` makes the coroutine, which runs in the branch that awaits it."""

    __slots__ = ()

    def __init__(self, replay: Replay, name: str, where: Place, body: Callable[[], Coroutine[Any, Any, T_co]]) -> None:
        super().__init__(replay, name, body, where=where)

    def _ask(self) -> Generator[Any, Any, Any]:
        asking: Generator[Any, Any, Any] = self._command().__await__()
        return asking


async def asked(replay: Replay, command: Command) -> Any:
    """Ask for a command from within a routine."""
    return await Call[Any](replay, type(command).__name__, command)


async def branch(call: Call[Any]) -> Any:
    """A call as a branch of its own."""
    return await call


def _checked(compensate: object, name: str) -> Any:
    if not callable(compensate):
        raise UsageError(f"{name}.options(compensate={compensate!r}): give the function that undoes the step")
    return compensate
