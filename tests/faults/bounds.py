"""What a run may take at most, each with its reason; what is beyond is a finding. Pure.

They hold where nothing else goes on: growth in a soak, recovery where only workers are killed, on a machine without other work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.e2e.ledger import Line
from tests.faults.checker import Finding
from tests.faults.recovery import BEYOND_LEASE_S, share
from tests.faults.vitals import WARMING, Trend

GREW = "grew"  # something grows with time, though there is no more to do than before
SLOW = "slow"  # what a killed worker held was somebody's too late

#: An hour of soak is 10,800 orders: whoever leaks one small object an order grows by 10 MiB. Measured: 0.2 at most.
PROCESS_KIB_PER_HOUR = 4 * 1024
#: As long as fewer than 16,000 executions were purged, the list of those still grows: by 1.5 MiB in the first hour.
REDIS_KIB_PER_HOUR = 8 * 1024
#: Allocators take memory by the MiB; in a short soak one such step is a steep slope.
STEP_KIB = 2 * 1024
#: A connection or a descriptor may be there for a while in one half of the time and not in the other.
MORE_HANDLES = 3
#: Tasks are counted in the bodies of steps, each time with another number of turns beside it.
MORE_TASKS = 10
#: Of fewer calls of a process the least number of tasks says nothing.
CALLS_MIN = 200
#: So few that were taken over say nothing.
TAKEN_OVER_MIN = 20


def grown(trends: Iterable[Trend], lines: Iterable[Line]) -> Iterator[Finding]:
    """Of a soak: what grows by more than it may."""
    for one in trends:
        bound = REDIS_KIB_PER_HOUR if one.what == "redis" else PROCESS_KIB_PER_HOUR
        if one.kib_per_hour is None:
            continue
        if one.kib_per_hour > bound and one.kib_per_hour * one.hours > STEP_KIB:
            yield Finding(GREW, "", f"{one.what} grows by {one.kib_per_hour:.0f} KiB an hour, {bound} are allowed")
        before, after = one.handles
        if before is not None and after is not None and after > before + MORE_HANDLES:
            yield Finding(GREW, "", f"{one.what} had {before} connections and files open at least, later {after}")
    for pid, (fewest, later) in tasks(lines).items():
        if later > fewest + MORE_TASKS:
            yield Finding(GREW, "", f"worker {pid} had {fewest} tasks at least, later {later}")


def tasks(lines: Iterable[Line]) -> Mapping[int, tuple[int, int]]:
    """The least number of tasks in each worker that was long at work: in the first and in the second half, once warm."""
    counted: dict[int, list[int]] = defaultdict(list)
    for line in lines:
        if line["kind"] == "called":
            counted[line["pid"]].append(line["tasks"])
    warm = {pid: some[round(len(some) * WARMING) :] for pid, some in counted.items() if len(some) >= CALLS_MIN}
    return {pid: (min(some[: len(some) // 2]), min(some[len(some) // 2 :])) for pid, some in warm.items()}


def slow(sorted_seconds: Sequence[float], lease_s: float) -> Iterator[Finding]:
    """Of a run in which only workers were killed: whether others had what they held in time."""
    wanted, found = lease_s + BEYOND_LEASE_S, share(sorted_seconds, 0.99)
    if len(sorted_seconds) < TAKEN_OVER_MIN:
        said = f"only {len(sorted_seconds)} executions were taken over, {TAKEN_OVER_MIN} would say something"
        yield Finding(SLOW, "", f"{said}: kill more workers, or give them more to do")
    elif found > wanted:
        yield Finding(
            SLOW, "", f"1 of 100 executions waited {found:.2f} s for another worker, {wanted:g} s are promised"
        )
