"""Asking the store until it answers: an outage delays a turn or a wait, it does not end it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from runner.errors import StoreClosed, StoreUnavailable
from runner.log import Logger

log = Logger("runner.store")
T = TypeVar("T")

_FIRST_S, _LAST_S = 0.1, 2.0


async def until_answered(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer to ``ask``, which must be safe to repeat; asked again for as long as the store is away.

    Raises StoreClosed when it was closed in this process: that answer is final.
    """
    delay_s = _FIRST_S
    while True:
        try:
            return await ask()
        except StoreClosed:
            raise
        except StoreUnavailable as error:
            log.warning("store.unavailable", retry_in_s=round(delay_s, 1), error=str(error))
            await asyncio.sleep(delay_s * (0.5 + random.random()))  # noqa: S311 - jitter
            delay_s = min(delay_s * 2, _LAST_S)
