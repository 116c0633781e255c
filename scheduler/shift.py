"""The duties that are being carried out: each in a task of its own, so that a slow one holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from runner.clock import boot_ms
from runner.errors import InfrastructureError
from runner.log import Logger
from runner.scheduler.agenda import Place
from runner.scheduler.patience import Hung, ended

log = Logger("runner.scheduler")

#: A duty that failed is left alone for this long, in ms: what makes it fail seldom goes away at once.
REST_MS = 1_000


class Shift:
    """At most one task a place. ``ended`` is told the place whose duty is over, done or failed."""

    def __init__(self, carry_out: Callable[[str, int], Awaitable[None]], ended: Callable[[Place], None]) -> None:
        self._carry_out = carry_out
        self._ended = ended
        self._running: dict[Place, asyncio.Task[None]] = {}
        self._since: dict[Place, int] = {}  # when those began, boot time
        self._resting: dict[Place, int] = {}  # until when, boot time

    def start(self, due: Iterable[Place]) -> None:
        """Start what is neither running nor resting."""
        busy = self.busy()
        for place in due:
            if place not in busy:
                self._since[place] = boot_ms()
                self._running[place] = asyncio.create_task(self._run(place), name=f"duty {place[0]} {place[1]}")

    def busy(self) -> set[Place]:
        """What would not be started now, however due it is."""
        now = boot_ms()
        self._resting = {place: until for place, until in self._resting.items() if until > now}
        return self._running.keys() | self._resting.keys()

    async def close(self) -> None:
        """Cancel what runs; returns when all of it is over, or hangs beyond any patience."""
        await ended(*self._running.values())
        # A task that was cancelled before its first step never came to take itself off.
        self._running.clear()
        self._since.clear()

    def check(self, patience_s: float) -> None:
        """Raises Hung for a duty that has not come back for so long."""
        for (duty, partition), since in self._since.items():
            if boot_ms() - since > patience_s * 1000:
                raise Hung(f"duty {duty!r} of partition {partition} has not come back for {patience_s:g} s")

    async def _run(self, place: Place) -> None:
        duty, partition = place
        try:
            await self._carry_out(duty, partition)
        except InfrastructureError as error:
            log.warning("scheduler.duty_failed", duty=duty, partition=partition, error=str(error))
            self._resting[place] = boot_ms() + REST_MS
        except Exception:
            log.exception("scheduler.duty_failed", duty=duty, partition=partition)
            self._resting[place] = boot_ms() + REST_MS
        finally:
            if self._running.get(place) is asyncio.current_task():  # else it was left behind, and another runs by now
                del self._running[place], self._since[place]
            self._ended(place)
