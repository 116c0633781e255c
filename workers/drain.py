"""Leaving in good order: a table of phases, each with its share of the grace, and no phase can take more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from runner.apart import leave_behind
from runner.log import Logger

log = Logger("runner.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """``share`` of the grace, and at most ``most_s`` seconds; ``FINISH`` has what the others leave."""

    name: str
    share: float
    most_s: float


#: Running steps may end: the one phase that is worth waiting for.
FINISH = "finish"
#: In this order. Together the others take 8.5 s at most, and 60 % of a short grace.
PHASES = (
    Phase(name="intake", share=0.05, most_s=1.0),  # no more deliveries are asked for
    Phase(name=FINISH, share=0.0, most_s=0.0),
    Phase(name="hand back", share=0.3, most_s=4.0),  # what still runs is cut off, and released for others
    Phase(name="parcels", share=0.05, most_s=1.0),  # what commits have put into the outbox goes its way
    Phase(name="consumers", share=0.05, most_s=0.5),  # deliveries that were not settled go back
    Phase(name="farewell", share=0.1, most_s=1.0),  # no more leases are renewed, the store forgets the worker
    Phase(name="observers", share=0.05, most_s=1.0),  # who was told of something is through with it
)
#: A phase has this long also when there is next to no grace.
LEAST_S = 0.1

#: What a phase does, and what it left undone (counted for the log; nothing when all is zero).
Act = Callable[[], Awaitable[object]]
Left = Callable[[], Mapping[str, int]]


def budgets(grace_s: float) -> Mapping[str, float]:
    """Seconds for each phase: together the grace, from one second on; for less, all of them together take less than one."""
    others = {one.name: max(min(one.most_s, one.share * grace_s), LEAST_S) for one in PHASES if one.name != FINISH}
    return {**others, FINISH: max(grace_s - sum(others.values()), LEAST_S)}


class Drain:
    """``run`` goes through the phases. ``hurry`` ends the wait for steps."""

    def __init__(self, grace_s: float) -> None:
        self.hurried = asyncio.Event()
        self._budgets = budgets(grace_s)

    def budget_s(self, phase: str) -> float:
        """So long has this phase."""
        return self._budgets[phase]

    def hurry(self) -> None:
        """Do not wait for steps any more."""
        self.hurried.set()

    async def run(self, acts: Mapping[str, Act], left: Left) -> None:
        """Within the grace, whatever hangs: a phase that is over its budget is cancelled, and left behind where it stands."""
        for phase in PHASES:
            began = asyncio.get_running_loop().time()
            done = await self._within(self._budgets[phase.name], phase.name, acts[phase.name])
            took_s = round(asyncio.get_running_loop().time() - began, 3)
            say = log.info if done else log.warning
            budget_s = round(self._budgets[phase.name], 3)
            event = "worker.drain_phase" if done else "worker.drain_phase_over_budget"
            say(event, phase=phase.name, budget_s=budget_s, took_s=took_s, **left())

    async def _within(self, seconds: float, name: str, act: Act) -> bool:
        work = asyncio.ensure_future(_shielded(name, act))
        waits = {work}
        if name == FINISH:
            waits.add(asyncio.ensure_future(_until(self.hurried)))
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            if not one.done():
                leave_behind(one)
        return work.done() and not work.cancelled()


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _shielded(name: str, act: Act) -> None:
    """What one phase stumbles over must not keep the next ones from being gone through."""
    try:
        await act()
    except Exception as error:  # noqa: BLE001 - whatever it is, we are leaving
        log.warning("worker.drain_phase_failed", phase=name, error=f"{type(error).__name__}: {error}")
