"""Steps: one attempt of a body, on the loop or in a thread, and what came of it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from runner.codec import roundtrip
from runner.core.commands import Step
from runner.errors import PayloadError, RetryLater
from runner.step import CurrentStep, enter


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


class StepRunner:
    """Performs attempts for all turns of a worker. Plain functions share one pool of threads."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="runner-step")
        self._overdue: dict[str, asyncio.Future[Any]] = {}  # threads that outlived their timeout, by idempotency key

    def close(self) -> None:
        """Let go of the threads; those still running are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def perform(self, command: Step, step: CurrentStep) -> Attempt:
        """One attempt. Raises nothing but the cancellation of the task it runs in."""
        try:
            value = await self._call(command, step)
            payload, _ = roundtrip(value, command.returns, what=f"result of step {command.id!r}")
        except PayloadError as error:
            return Errored(error=_refused(error))
        except asyncio.CancelledError:
            if step.cancelled.is_set():
                raise
            return Errored(error=RuntimeError("the step cancelled itself (asyncio.CancelledError)"))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a step may fail in any way, its worker goes on
            return Errored(error=error)
        return Succeeded(payload=payload)

    async def _call(self, command: Step, step: CurrentStep) -> Any:
        await self._former_thread(step.idempotency_key)
        body = partial(command.fn, *command.args, **command.kwargs)
        if _is_async(command.fn):
            return await self._in_time(_on_loop(body, step), command, step)
        return await self._in_time(self._in_thread(body, step), command, step)

    async def _in_time(self, running: Any, command: Step, step: CurrentStep) -> Any:
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

    async def _in_thread(self, body: Callable[[], Any], step: CurrentStep) -> Any:
        context = contextvars.copy_context()
        context.run(enter, step)
        future = asyncio.get_running_loop().run_in_executor(self._pool, context.run, body)
        try:
            # Shielded: a thread cannot be stopped, only no longer waited for.
            value = await asyncio.shield(future)
        except asyncio.CancelledError:
            self._outlived(step.idempotency_key, future)
            raise
        return await value if inspect.isawaitable(value) else value

    def _outlived(self, key: str, future: asyncio.Future[Any]) -> None:
        self._overdue[key] = future
        future.add_done_callback(partial(self._ended, key))

    def _ended(self, key: str, future: asyncio.Future[Any]) -> None:
        self._overdue.pop(key, None)
        if not future.cancelled():
            future.exception()  # looked at, so that asyncio does not report it as lost

    async def _former_thread(self, key: str) -> None:
        """Wait until no former attempt of this step runs in a thread: two at once would race each other."""
        future = self._overdue.get(key)
        if future is not None:
            await asyncio.wait([future])


async def _on_loop(body: Callable[[], Any], step: CurrentStep) -> Any:
    enter(step)
    return await body()


def _is_async(fn: Callable[..., Any]) -> bool:
    while isinstance(fn, partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def _refused(error: PayloadError) -> ResultRefused:
    refused = ResultRefused(str(error))
    refused.__cause__ = error
    return refused


def outcome_of(error: BaseException) -> str:
    """What the journal calls this failure: ``failed``, ``timed_out``, or ``refused`` (no attempt can mend it)."""
    match error:
        case ResultRefused():
            return "refused"
        case AttemptTimedOut():
            return "timed_out"
        case _:
            return "failed"


def asked_delay(error: BaseException) -> Any:
    """The delay that the step itself asked for, or None."""
    return error.delay if isinstance(error, RetryLater) else None
