"""Steps, sleeps and signals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, overload

from runner.codec import resolve_hints
from runner.context.base import Base, checked, optional
from runner.core.calls import Call, StepCall
from runner.core.commands import Sleep, Step, WaitForSignal
from runner.core.options import step_options
from runner.core.retry import Duration
from runner.durations import to_moment_ms, to_ms
from runner.errors import UndeclaredSignal, UsageError
from runner.signals import Readable, TimedOut

P = ParamSpec("P")
T = TypeVar("T")


class Steps(Base):
    """What is done, and waited for."""

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
            id=checked(id, "ctx.step"),
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
            id=optional(id, "ctx.sleep"),
            where=self._place("ctx.sleep"),
            after_ms=to_ms(duration, what="ctx.sleep(duration)"),
        )
        return Call(self._replay, "ctx.sleep(...)", command)

    def sleep_until(self, moment: datetime, id: str | None = None) -> Call[None]:
        """Wait until ``moment`` (aware); one that has passed is no wait."""
        command = Sleep(
            id=optional(id, "ctx.sleep_until"),
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
            id=optional(id, "ctx.wait_for_signal"),
            where=self._place("ctx.wait_for_signal"),
            signal=signal.name,
            payload_type=signal.payload_type,
            timeout_ms=None if timeout is None else to_ms(timeout, what="ctx.wait_for_signal(timeout)"),
        )
        return Call(self._replay, f"ctx.wait_for_signal({signal.name!r})", command)
