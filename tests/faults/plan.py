"""The plan: which fault strikes when, and whom. Pure: the same seed is the same plan.

Moments are counted in acknowledged starts, not in seconds: on a slow machine a fault strikes at the same point of the
work, and no later one strikes before anything was done between.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

#: Faults strike within this part of the starts: something runs already, and the last ones are still under way.
FROM, TO = 0.05, 0.95
#: How long what stalls does so, in seconds: from nothing anybody notices to more than a lease.
STALL_S = (0.2, 4.0)


@dataclass(frozen=True, slots=True, order=True)
class Strike:
    """One fault. ``place`` chooses its victim among those that are there, ``size`` (0 to 1) how hard it is hit."""

    after: int
    fault: str
    place: int
    size: float


def plan(seed: int, executions: int, wanted: Mapping[str, int]) -> list[Strike]:
    """So many strikes of each fault, each kind evenly spread over the run and none at a moment that can be foreseen."""
    strikes: list[Strike] = []
    for fault, count in sorted(wanted.items()):
        chance = random.Random(f"{seed} {fault}")
        for number in range(count):
            share = FROM + (TO - FROM) * (number + chance.random()) / count
            strikes.append(Strike(round(share * executions), fault, chance.randrange(1_000), chance.random()))
    return sorted(strikes)


def between(bounds: tuple[float, float], size: float) -> float:
    """What a strike of this size takes of something that has these bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * size
