"""Steps: one attempt of a body, on the loop or in a thread, and what came of it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from runner.clock import boot_ms
from runner.codec import encode, roundtrip
from runner.core.commands import Compensation, Step
from runner.failures import sound
from runner.load import LongStep
from runner.step import CurrentStep, enter
from runner.workers.threads import Threads

#: An attempt that has run for this long is told of with each heartbeat, in ms; so many are, the longest.
LONG_MS, MAX_LONG = 3_000, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """``payload``: the result, as it will be read back."""

    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Errored:
    error: BaseException


class AttemptTimedOut(TimeoutError):
    """The attempt ran over the step's timeout."""


class ResultRefused(Exception):
    """The result cannot be stored: final, for another attempt would do the effect again for nothing."""


Attempt = Succeeded | Errored


class _NotCalled(BaseException):
    """The body was not called: by the time it would have been, nobody was allowed to."""


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a thread raised, as a value: a StopIteration in a future would never arrive."""

    error: BaseException


#: True for as long as the body may be called: asked directly before the call, on whatever thread that is.
Permitted = Callable[[], bool]


class StepRunner:
    """Performs attempts for all turns of a worker. Plain functions share a number of threads."""

    def __init__(self, threads: int) -> None:
        self.threads = Threads(threads)
        self._under_way: dict[int, tuple[int, CurrentStep, int | None]] = {}  # attempts: since when, what, its limit

    def close(self) -> None:
        """Let go of the threads; those still running are not waited for."""
        self.threads.close()

    async def perform(self, command: Step, step: CurrentStep, permitted: Permitted) -> Attempt:
        """One attempt. Raises nothing but the cancellation of the task it runs in."""
        self._under_way[id(step)] = (boot_ms(), step, command.timeout_ms)
        try:
            return await self._attempt(command, step, permitted)
        finally:
            del self._under_way[id(step)]

    def long(self) -> tuple[LongStep, ...]:
        """The attempts that have run for long, the longest first; from any thread."""
        now = boot_ms()
        found = [
            LongStep(
                execution_id=step.execution_id,
                step=step.id,
                attempt=step.attempt,
                for_ms=now - began,
                timeout_ms=timeout_ms,
            )
            for began, step, timeout_ms in list(self._under_way.values())
            if now - began >= LONG_MS
        ]
        return tuple(sorted(found, key=lambda one: -one.for_ms)[:MAX_LONG])

    async def _attempt(self, command: Step, step: CurrentStep, permitted: Permitted) -> Attempt:
        try:
            value = await self._call(command, step, permitted)
        except _NotCalled:
            raise asyncio.CancelledError from None
        except asyncio.CancelledError:
            if step.cancelled.is_set():
                raise
            return Errored(error=RuntimeError("the step cancelled itself (asyncio.CancelledError)"))
        except BaseException as error:  # noqa: BLE001 - a step may fail in any way, its worker goes on
            return Errored(error=sound(error))
        return _stored(value, command)

    async def _call(self, command: Step, step: CurrentStep, permitted: Permitted) -> Any:
        # Within the time of this attempt: where the former one never ends, the step must come to an end all the same.
        await _in_time(self.threads.until_over(step.idempotency_key), command, step)
        body = partial(command.fn, *command.args, **command.kwargs)
        if _is_async(command.fn):
            return await _in_time(_on_loop(body, step, permitted), command, step)
        await self.threads.take(_named(step))
        value = await _in_time(self._in_thread(body, step, permitted), command, step)
        return await _in_time(_awaited(value, step), command, step) if inspect.isawaitable(value) else value

    async def _in_thread(self, body: Callable[[], Any], step: CurrentStep, permitted: Permitted) -> Any:
        context = contextvars.copy_context()
        context.run(enter, step)
        call = partial(context.run, _caught, body, permitted)
        value = await self.threads.run(step.idempotency_key, _named(step), call)
        if isinstance(value, _Raised):
            raise value.error
        return value


def _named(step: CurrentStep) -> str:
    return f"step {step.id!r} of {step.workflow} {step.execution_id}"


def _caught(body: Callable[[], Any], permitted: Permitted) -> Any:
    try:
        return body() if permitted() else _Raised(_NotCalled())
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the step's
        return _Raised(error)


async def _on_loop(body: Callable[[], Any], step: CurrentStep, permitted: Permitted) -> Any:
    if not permitted():
        raise _NotCalled
    enter(step)
    return await body()


async def _awaited(value: Any, step: CurrentStep) -> Any:
    enter(step)
    return await value


async def _in_time(running: Coroutine[Any, Any, Any], command: Step, step: CurrentStep) -> Any:
    if command.timeout_ms is None:
        return await running
    try:
        async with asyncio.timeout(command.timeout_ms / 1000) as limit:
            return await running
    except TimeoutError:
        if not limit.expired():
            raise
        step.cancelled.fire()
        raise AttemptTimedOut(f"ran over its timeout of {command.timeout_ms / 1000:g} s") from None


def _stored(value: Any, command: Step) -> Attempt:
    if isinstance(command, Compensation):
        return Succeeded(payload=encode(None))
    try:
        payload, _ = roundtrip(value, command.returns, what=f"result of step {command.id!r}")
    except Exception as error:  # noqa: BLE001 - a property or a comparison of the user's may raise anything
        return Errored(error=_refused(error))
    return Succeeded(payload=payload)


def _is_async(fn: Callable[..., Any]) -> bool:
    while isinstance(fn, partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def _refused(error: Exception) -> ResultRefused:
    refused = ResultRefused(str(error))
    refused.__cause__ = error
    return refused
