"""Calling functions that users have registered, on the loop or in a thread: whatever they raise, it stays theirs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from runner.errors import UsageError
from runner.failures import said


def is_async(fn: Callable[..., Any]) -> bool:
    """True for what gives a coroutine when called: an ``async def``, a partial of one, an object with such a ``__call__``."""
    while isinstance(fn, partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def check_takes_one(fn: Callable[..., Any], *, what: str) -> None:
    """Raises UsageError for what cannot be called with one argument."""
    if not callable(fn):
        raise UsageError(f"{what}: {fn!r:.100} is no function")
    try:
        inspect.signature(fn).bind(object())
    except TypeError:
        raise UsageError(f"{what}: {called(fn)} must take one argument, what it is told") from None
    except ValueError:  # built in, without a signature
        return


def called(fn: Callable[..., Any]) -> str:
    """The function's qualified name, without the functions it was defined in."""
    while isinstance(fn, partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", type(fn).__qualname__)).replace("<locals>.", "")


async def on_loop(fn: Callable[[Any], Any], value: Any) -> None:
    """Call an async function. Raises its error, or what stands for it, and its cancellation."""
    try:
        await fn(value)
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the function's
        raise _tamed(error) from None


def in_thread(fn: Callable[[Any], Any], value: Any) -> None:
    """Call a plain function, in whatever thread this is called. Raises its error, or what stands for it."""
    try:
        fn(value)
    except BaseException as error:  # noqa: BLE001 - as in on_loop
        raise _tamed(error) from None


def _tamed(error: BaseException) -> Exception:
    """A task that ends with SystemExit ends its loop, and a future with StopIteration never ends."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"it raised {type(error).__name__}: {said(error)}")
