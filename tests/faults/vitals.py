"""What processes and Redis use while they run: looked at every few seconds, and told as a slope."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

from redis import Redis
from redis.exceptions import RedisError

from tests.faults.rig import Rig

EVERY_S = 5.0
#: The first part of a process's life is its warming up, and counts for nothing; so does a life of few looks.
WARMING, LOOKS_MIN = 1 / 3, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at one process (or Redis). ``handles``: open files and connections; None where nobody can say."""

    at: float
    kib: float
    handles: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """What became of one process once it was warm: its memory at the end, how fast it grew, and its least handles in the
    first and in the second half of that time."""

    what: str
    kib: float
    hours: float
    kib_per_hour: float | None  # None: it did not live long enough
    handles: tuple[int | None, int | None]


class Vitals:
    """Looks at everything that runs; ``watch`` until cancelled."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._looks: dict[str, list[Look]] = defaultdict(list)

    async def watch(self) -> None:
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(EVERY_S)

    def _look(self) -> None:
        names = {member.process.pid: f"{member.role} {member.process.pid}" for member in list(self._rig.members)}
        for pid, kib in resident(names).items():
            self._looks[names[pid]].append(Look(at=time.monotonic(), kib=kib, handles=handles(pid)))
        try:
            with Redis.from_url(self._rig.redis.url, socket_timeout=1) as admin:
                memory, clients = admin.info("memory")["used_memory"], admin.info("clients")["connected_clients"]
        except RedisError:
            return  # it is away, or stopped, as is meant to be
        self._looks["redis"].append(Look(at=time.monotonic(), kib=memory / 1024, handles=clients))

    def trends(self) -> list[Trend]:
        return [trend(what, looks) for what, looks in self._looks.items()]


def trend(what: str, looks: Sequence[Look]) -> Trend:
    """Pure."""
    warm = looks[round(len(looks) * WARMING) :]
    half = len(warm) // 2
    slope = linear_regression([one.at for one in warm], [one.kib for one in warm]).slope if len(warm) > 1 else 0.0
    return Trend(
        what=what,
        kib=looks[-1].kib,
        hours=(warm[-1].at - warm[0].at) / 3600,
        kib_per_hour=slope * 3600 if len(looks) >= LOOKS_MIN else None,
        handles=(_least(warm[:half]), _least(warm[half:])),
    )


def _least(looks: Sequence[Look]) -> int | None:
    """What comes and goes is more at times; what leaks is never less again."""
    return min((one.handles for one in looks if one.handles is not None), default=None)


def resident(pids: Sequence[int] | dict[int, str]) -> dict[int, float]:
    """The resident memory of each of these processes that lives, in KiB."""
    asked = ["ps", "-o", "pid=,rss=", "-p", ",".join(map(str, pids))]
    told = subprocess.run(asked, capture_output=True, text=True).stdout.splitlines() if pids else []
    return {int(pid): float(kib) for pid, kib in (line.split() for line in told)}


def handles(pid: int) -> int | None:
    """Open files and connections, where the system shows them."""
    folder = Path(f"/proc/{pid}/fd")
    try:
        return len(os.listdir(folder))  # noqa: PTH208 - counted, not looked at
    except OSError:
        return None
