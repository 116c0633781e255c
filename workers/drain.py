"""Leaving in good order: each phase has its share of the grace, and no phase can take more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from runner.log import Logger
from runner.workers.intake import Intake
from runner.workers.slots import Slots
from runner.workers.subscriptions import Subscriptions
from runner.workers.turns import Turns

log = Logger("runner.worker")

#: The last part of the grace is for handing back what has not ended: this share, and at most this long.
_HAND_BACK_SHARE, _HAND_BACK_S = 0.2, 5.0


class Drain:
    """Intake off; turns end or stop at their next step; what is left is cut off and handed back.

    ``aborting`` is called when something has to be cut off.
    """

    def __init__(self, grace_s: float, aborting: Callable[[], None] = lambda: None) -> None:
        self._hand_back_s = min(_HAND_BACK_S, grace_s * _HAND_BACK_SHARE)
        self._finish_s = grace_s - self._hand_back_s
        self._hurry = asyncio.Event()
        self._aborting = aborting

    def hurry(self) -> None:
        """Do not wait for steps any more."""
        self._hurry.set()

    async def run(self, intake: Intake, turns: Turns, subscriptions: Subscriptions) -> None:
        """At most the grace; the bodies that had to be cut off have been handed back by then, or their lease runs out."""
        intake.leave()
        consumer = intake.consumer
        if consumer is not None:
            await _bounded(consumer.pause(), self._hand_back_s)
        turns.drain()
        await asyncio.gather(self._finish(intake.slots), subscriptions.drain(self._finish_s, self._hurry))
        if turns.bodies or subscriptions.busy:
            log.warning("worker.cutting_off", turns=len(turns.bodies), handlers=subscriptions.busy)
            self._aborting()
        for body in list(turns.bodies):
            body.cancel()
        await _bounded(asyncio.gather(intake.slots.idle(), subscriptions.stop()), self._hand_back_s)
        if consumer is not None:
            await _bounded(consumer.stop(), self._hand_back_s)

    async def _finish(self, slots: Slots) -> None:
        """Until every turn has ended, the time is up, or somebody is in a hurry."""
        waits = [asyncio.ensure_future(slots.idle()), asyncio.ensure_future(self._hurry.wait())]
        await asyncio.wait(waits, timeout=self._finish_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


async def _bounded(work: Any, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0.1)):
            await work
    except TimeoutError:
        log.warning("worker.drain_phase_over_budget", seconds=seconds)
