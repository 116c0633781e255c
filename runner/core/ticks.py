"""What becomes of a schedule's ticks: functions from one ``Schedule`` to the next, each a revision to compare and set.

A tick is decided once: ``decide`` chooses the next one and what becomes of it and leaves that as ``pending``; whoever finds a
pending decision carries it out and writes ``done`` (or ``failed``, and it is tried again later). Ticks are decided in
their order, and ``grid_from`` never goes back.

How late a tick is decides whether it runs: late by at most ``all_within_ms`` it does; older ones collapse by ``then``; those
beyond ``window_ms`` (never less than ``all_within_ms``) are passed over. ``start_at`` and ``end_at`` are both included.
Under ``allow`` the executions that run are not kept in ``running``: after a change to another policy they are not waited for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from runner.core.cadence import Cron, Interval
from runner.records import Overlap, Pending, Schedule

#: A buffered tick is started when what runs has ended, which the schedule is told. Should that word be lost, it looks itself.
LOOK_MS = 10_000
#: A decision that could not be carried out is tried again after the first, doubling up to the second, in ms.
RETRY_FIRST_MS, RETRY_LAST_MS = 1_000, 60_000

START, SKIP, BUFFER = "start", "skip", "buffer"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What a caller defines; the rest is what became of it. The input is compared by its digest: sealed twice, it differs.
_DEFINITION = (
    "workflow",
    "version",
    "queue",
    "digest",
    "cron",
    "interval_ms",
    "timezone",
    "overlap",
    "all_within_ms",
    "then",
    "window_ms",
    "jitter_ms",
    "start_at",
    "end_at",
    "max_runs",
    "timeout_ms",
    "retention_ms",
    "attributes",
    "audit",
)
#: What the moments of its ticks depend on.
_CADENCE = ("cron", "interval_ms", "timezone", "start_at")


def cadence_of(schedule: Schedule) -> Cron | Interval:
    """The grid of its ticks; that of an interval is anchored at ``start_at``, else at its creation."""
    if schedule.cron:
        return Cron(schedule.cron, schedule.timezone)
    return Interval(schedule.interval_ms, schedule.created_at if schedule.start_at is None else schedule.start_at)


def execution_id(schedule_id: str, tick: int) -> str:
    """Of the execution that the tick starts: ``report@20270313T140000Z``, with ``.250`` before the Z where there are any
    milliseconds. Nineteen to twenty-one characters longer than the schedule's own id."""
    moment = _EPOCH + timedelta(milliseconds=tick)
    fraction = f".{tick % 1000:03}" if tick % 1000 else ""
    return f"{schedule_id}@{moment:%Y%m%dT%H%M%S}{fraction}Z"


def fire_at(schedule: Schedule, tick: int) -> int:
    """When a tick is due: its moment and a delay that depends on schedule and tick alone, up to ``jitter_ms``, and less
    than up to the next tick: jitter never changes their order."""
    if not schedule.jitter_ms:
        return tick
    following = cadence_of(schedule).next_after(tick)
    longest = schedule.jitter_ms if following is None else min(schedule.jitter_ms, following - tick - 1)
    digest = sha256(f"{schedule.id}@{tick}".encode()).digest()
    return tick + int.from_bytes(digest[:8], "big") % (longest + 1)


def next_fires(schedule: Schedule, count: int, now: int) -> list[int]:
    """The next moments, at most ``count``, at which ticks will be due after ``now``; none while it is paused."""


# -- the life of a tick -------------------------------------------------------------------------------


def decide(schedule: Schedule, now: int, running_ended: Collection[str]) -> Schedule | None:
    """Look at a schedule whose ``due_at`` has come or that was stirred; ``running_ended``: those of ``running`` that
    have ended.

    None: a decision is pending, which comes first. Otherwise the next revision, with a tick's fate as ``pending``; or
    without, when there is nothing to decide: write it all the same, or the look will be asked for at once again.
    Ticks that are passed over are counted in ``skipped`` here (of a cron expression at most COUNTED at a time), those that
    ``pending`` skips by ``done``.
    """


def done(schedule: Schedule, now: int) -> Schedule:
    """The pending decision was carried out. Raises ValueError when there is none."""


def failed(schedule: Schedule, now: int, error: str) -> Schedule:
    """The pending decision could not be carried out, and stays; it is due again after a pause that grows."""


# -- what a caller changes ----------------------------------------------------------------------------


def ensured(existing: Schedule | None, wanted: Schedule, now: int) -> Schedule | None:
    """The schedule as ``wanted`` defines it; None when it is like that already. A new one has its first tick after ``now``
    (an interval's one interval later) or at ``start_at``."""


def updated(old: Schedule, wanted: Schedule, now: int) -> Schedule:
    """``old`` defined anew, its history kept. With the same cadence the tick that it waits for stays; with another one
    it waits for the first after ``now``. What is pending is carried out, a pause stays."""


def paused(schedule: Schedule, note: str, now: int) -> Schedule | None:
    """Nothing is decided while it is paused; None when it is, with this note. What was decided before is carried out, and
    a buffered tick waits on."""


def resumed(schedule: Schedule, now: int) -> Schedule | None:
    """It waits for its next regular tick: those during the pause are gone. None when it is not paused."""
