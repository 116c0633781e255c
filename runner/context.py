"""The context: the one door between workflow code and the world.

Every method that waits returns a call to be awaited; the rest answer at once, from what is recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Never, ParamSpec, TypeVar, overload
from uuid import UUID

from runner.codec import resolve_hints
from runner.core.branches import Branch
from runner.core.calls import Call, StepCall, branch
from runner.core.commands import Gather, Place, Sleep, Step, WaitForSignal
from runner.core.places import caller
from runner.core.replay import Replay
from runner.core.retry import Duration
from runner.durations import to_moment_ms, to_ms
from runner.errors import MisplacedCall, UndeclaredSignal, UsageError
from runner.log import WorkflowLog
from runner.signals import Readable, TimedOut
from runner.workflow import Workflow, step_options

P = ParamSpec("P")
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")

Branched = Call[T] | Coroutine[Any, Any, T]


class Context:
    """What a workflow works with. Valid during the turn that made it, in workflow code only."""

    def __init__(
        self, replay: Replay, workflow: Workflow[Any, Any], *, execution_id: str, run: int, attempt: int
    ) -> None:
        self._replay = replay
        self._definition = workflow
        self.execution_id = execution_id
        self.workflow = workflow.name
        self.run = run
        self.attempt = attempt
        self.log = WorkflowLog(
            lambda: replay.replaying or replay.closing, execution_id=execution_id, workflow=workflow.name
        )

    @property
    def replaying(self) -> bool:
        """True while code runs that a former turn has been through already."""
        return self._replay.replaying

    # -- steps and waits --------------------------------------------------------------------------

    @overload
    def step(
        self, id: str, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> StepCall[T]: ...
    @overload
    def step(self, id: str, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> StepCall[T]: ...
    @overload
    def step(self, id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> StepCall[T]: ...
    def step(self, id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> StepCall[Any]:
        """Run ``fn`` and record what it returns; a recorded step is never run again.

        ``async def`` runs on the worker's event loop, a plain function in a thread. At least once until its result is
        recorded: use ``idempotency_key()`` inside for effects that must not repeat.

        Raises, where it is awaited, StepFailed when its last attempt failed (or the ``@app.error`` class
        itself), StepTimedOut, StepResultError when the result cannot be stored.
        """
        if not callable(fn):
            raise UsageError(
                f"ctx.step({id!r}, ...): {fn!r} is not callable; give the function and its arguments apart"
            )
        options = step_options(fn)
        command = Step(
            id=_checked(id, "ctx.step"),
            where=self._place("ctx.step"),
            fn=fn,
            args=args,
            kwargs=kwargs,
            returns=resolve_hints(fn).returns,
            retry=options.retry,
            timeout_ms=options.timeout_ms,
        )
        return StepCall(self._replay, f"ctx.step({id!r})", command)

    def sleep(self, duration: Duration, id: str | None = None) -> Call[None]:
        """Wait for ``duration`` (timedelta or seconds), by the store's clock, through every restart."""
        command = Sleep(
            id=_optional(id, "ctx.sleep"),
            where=self._place("ctx.sleep"),
            after_ms=to_ms(duration, what="ctx.sleep(duration)"),
        )
        return Call(self._replay, "ctx.sleep(...)", command)

    def sleep_until(self, moment: datetime, id: str | None = None) -> Call[None]:
        """Wait until ``moment`` (aware); one that has passed is no wait."""
        command = Sleep(
            id=_optional(id, "ctx.sleep_until"),
            where=self._place("ctx.sleep_until"),
            until_ms=to_moment_ms(moment, what="ctx.sleep_until(moment)"),
        )
        return Call(self._replay, "ctx.sleep_until(...)", command)

    @overload
    def wait_for_signal(self, signal: Readable[T], *, timeout: None = None, id: str | None = None) -> Call[T]: ...
    @overload
    def wait_for_signal(
        self, signal: Readable[T], *, timeout: Duration, id: str | None = None
    ) -> Call[T | TimedOut]: ...
    def wait_for_signal(
        self, signal: Readable[T], *, timeout: Duration | None = None, id: str | None = None
    ) -> Call[Any]:
        """The payload of the next unread signal of this name, whether it came before or comes now.

        With ``timeout`` (timedelta or seconds): ``TimedOut()`` when none came in time.
        Raises UndeclaredSignal for a signal outside the workflow's contract.
        """
        if not self._definition.takes(signal.name):
            raise UndeclaredSignal(
                f"workflow {self.workflow!r} does not declare signal {signal.name!r}: add it to signals=[...]"
            )
        command = WaitForSignal(
            id=_optional(id, "ctx.wait_for_signal"),
            where=self._place("ctx.wait_for_signal"),
            signal=signal.name,
            payload_type=signal.payload_type,
            timeout_ms=None if timeout is None else to_ms(timeout, what="ctx.wait_for_signal(timeout)"),
        )
        return Call(self._replay, f"ctx.wait_for_signal({signal.name!r})", command)

    # -- branches ---------------------------------------------------------------------------------

    @overload
    def gather(self, a: Branched[T1], /, *, return_exceptions: bool = False) -> Call[tuple[T1]]: ...
    @overload
    def gather(self, a: Branched[T1], b: Branched[T2], /) -> Call[tuple[T1, T2]]: ...
    @overload
    def gather(self, a: Branched[T1], b: Branched[T2], c: Branched[T3], /) -> Call[tuple[T1, T2, T3]]: ...
    @overload
    def gather(
        self, a: Branched[T1], b: Branched[T2], c: Branched[T3], d: Branched[T4], /
    ) -> Call[tuple[T1, T2, T3, T4]]: ...
    @overload
    def gather(self, *branches: Branched[T]) -> Call[tuple[T, ...]]: ...
    @overload
    def gather(self, *branches: Branched[T], return_exceptions: bool) -> Call[tuple[T | BaseException, ...]]: ...
    def gather(self, *branches: Branched[Any], return_exceptions: bool = False) -> Call[Any]:
        """Run ctx calls, or coroutines of them, side by side; their results in the order given.

        When one fails, the others are cancelled and driven to their end, then the failure that was recorded first
        is raised. ``return_exceptions``: failures take the place of results, nothing is cancelled.
        """
        for one in branches:
            if not isinstance(one, Call | Coroutine):
                raise UsageError(f"ctx.gather takes ctx calls and coroutines of them, not {type(one).__name__}")
        command = Gather(
            where=self._place("ctx.gather"),
            branches=tuple(branch(one) if isinstance(one, Call) else one for one in branches),
            return_exceptions=return_exceptions,
        )
        return Call(self._replay, "ctx.gather(...)", command)

    # -- what is the same on every replay --------------------------------------------------------

    def now(self) -> datetime:
        """The store's time of the last thing that reached this branch: the same on every replay."""
        return datetime.fromtimestamp(self._branch("ctx.now").now / 1000, UTC)

    def uuid(self) -> UUID:
        """A fresh id that every replay of this run derives alike."""
        return UUID(bytes=self._branch("ctx.uuid").derive(self._replay.seed, "uuid")[:16], version=4)

    def random(self) -> float:
        """A number in [0, 1) that every replay of this run derives alike."""
        derived = self._branch("ctx.random").derive(self._replay.seed, "random")
        return (int.from_bytes(derived[:8], "big") >> 11) / (1 << 53)

    def _branch(self, name: str) -> Branch:
        current = self._replay.current
        if current is None:
            _misplaced(name)
        return current

    def _place(self, name: str) -> Place:
        """The user's line that makes the call: two frames above."""
        if self._replay.current is None and not self._replay.closing:
            _misplaced(name)
        return caller(2)


def _misplaced(name: str) -> Never:
    raise MisplacedCall(
        f"{name} was called outside workflow code (a step body, a thread or a former turn): "
        "a step does its work and returns; only the workflow function calls ctx"
    )


def _checked(id: object, name: str) -> str:
    if not isinstance(id, str) or not id or len(id) > 200 or not (id.isascii() or _encodes(id)):
        raise UsageError(f"{name}({id!r}, ...): the id is a text of 1 to 200 characters that UTF-8 can write")
    return id


def _encodes(text: str) -> bool:
    """False for halves of surrogate pairs: they come from undecodable file names and cannot be stored."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _optional(id: str | None, name: str) -> str | None:
    return None if id is None else _checked(id, name)
