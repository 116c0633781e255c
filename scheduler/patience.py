"""What a leader asks for comes back in time, or is left behind: nothing that hangs may keep the seat."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from runner.apart import leave_behind

T = TypeVar("T")

#: What was cancelled is waited for this long, in seconds.
CLOSE_S = 5.0


class Hung(Exception):
    """It has not come back. Whoever leads gives the seat up, for another process may do better."""


async def within(seconds: float, what: str, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``. Raises Hung on time, also where the work ignores that it is cancelled."""
    task = asyncio.create_task(work, name=what)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            leave_behind(task)
    if not task.done():
        raise Hung(f"{what} has not come back for {seconds:g} s")
    return task.result()


async def ended(*tasks: asyncio.Task[Any], within_s: float = CLOSE_S) -> None:
    """Cancel them; returns when they are over, or when it is time to leave them behind."""
    for task in tasks:
        leave_behind(task)
    if tasks:
        await asyncio.wait(tasks, timeout=within_s)
