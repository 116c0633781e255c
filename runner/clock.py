"""This process's own clock: for how long a lease may still be trusted, and what the store's clock says by now."""

from __future__ import annotations

import time

#: Boot time goes on while the machine is suspended; ``monotonic`` does not, and a lease would look alive.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_ms() -> int:
    return time.clock_gettime_ns(_BOOT) // 1_000_000


class StoreClock:
    """The store's time as far as this process can know it: never ahead of the store's own clock."""

    def __init__(self, now: int) -> None:
        self._said = now
        self._heard = boot_ms()

    def heard(self, now: int) -> None:
        """The store has just said what time it is: its word counts, also when its clock was set back."""
        self._said = now
        self._heard = boot_ms()

    def now(self) -> int:
        """What the store said last, plus the time since that answer arrived."""
        return self._said + boot_ms() - self._heard
