"""The worker's slots: how many turns may run at once."""

from __future__ import annotations

import asyncio


class Slots:
    """A counted limit that can be waited on from both sides."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._used = 0
        self._changed = asyncio.Condition()

    @property
    def used(self) -> int:
        return self._used

    async def take(self, timeout_s: float) -> bool:
        """Take a slot; False when none came free in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.free()
        except TimeoutError:
            return False
        # Nothing runs between free() and here: the last await has already happened.
        self._free -= 1
        self._used += 1
        return True

    async def give_back(self) -> None:
        async with self._changed:
            self._free += 1
            self._used -= 1
            self._changed.notify_all()

    async def free(self) -> None:
        """Wait until a slot is free."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free > 0)

    async def idle(self) -> None:
        """Wait until no slot is used."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._used == 0)
