"""Tasks that nobody waits for: held until they are done, for the event loop holds them weakly."""

from __future__ import annotations

import asyncio
from typing import Any

_held: set[asyncio.Future[Any]] = set()


def keep(task: asyncio.Future[Any]) -> None:
    """Hold a task until it is done, and take note of how it ended."""
    _held.add(task)
    task.add_done_callback(_let_go)


def leave_behind(task: asyncio.Future[Any]) -> None:
    """Cancel it and wait for nothing: it may ignore that, and how it ends is of no interest any more."""
    task.cancel()
    keep(task)


def _let_go(task: asyncio.Future[Any]) -> None:
    _held.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, or asyncio complains when the task is collected
