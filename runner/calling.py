"""Functions that users have registered: how they are to be called. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from runner.errors import UsageError


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
