"""This process's own clock: for how long a lease may still be trusted, and what the store's clock says by now."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Boot time goes on while the machine is suspended; ``monotonic`` does not, and a lease would look alive.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_ms() -> int:
    return time.clock_gettime_ns(_BOOT) // 1_000_000


#: A clock that only ever goes forward: ms since whenever.
Ticks = Callable[[], int]


class StoreClock:
    """The store's time as far as this process can know it: never ahead of the store's own clock.

    ``ticks`` measures what has passed since the store was heard.
    """

    def __init__(self, now: int, ticks: Ticks = boot_ms) -> None:
        self._said = now
        self._ticks = ticks
        self._heard = ticks()

    def heard(self, now: int) -> None:
        """The store has just said what time it is: its word counts, also when its clock was set back."""
        self._said = now
        self._heard = self._ticks()

    def now(self) -> int:
        """What the store said last, plus the time since that answer arrived."""
        return self._said + self._ticks() - self._heard
