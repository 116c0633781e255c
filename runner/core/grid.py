"""The ticks of one schedule: its cadence between ``start_at`` and ``end_at``, both included, and when each is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from runner.core.cadence import Cron, Interval
from runner.records import Schedule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cadence_of(schedule: Schedule) -> Cron | Interval:
    """The grid of its ticks; that of an interval is anchored at ``start_at``, else at its creation."""
    if schedule.cron:
        return Cron(schedule.cron, schedule.timezone)
    return Interval(schedule.interval_ms, schedule.created_at if schedule.start_at is None else schedule.start_at)


def tick_after(schedule: Schedule, moment: int) -> int | None:
    tick = cadence_of(schedule).next_after(moment)
    return tick if tick is not None and (schedule.end_at is None or tick <= schedule.end_at) else None


def since(schedule: Schedule) -> int:
    """The moment after which its ticks are still to be decided."""
    return schedule.grid_from if schedule.start_at is None else max(schedule.grid_from, schedule.start_at - 1)


def fire_at(schedule: Schedule, tick: int) -> int:
    """When a tick is due: its moment and a delay that depends on schedule and tick alone, up to ``jitter_ms``, and less
    than up to the next tick: jitter never changes their order.
    """
    if not schedule.jitter_ms:
        return tick
    following = cadence_of(schedule).next_after(tick)
    longest = schedule.jitter_ms if following is None else min(schedule.jitter_ms, following - tick - 1)
    digest = sha256(f"{schedule.id}@{tick}".encode()).digest()
    return tick + int.from_bytes(digest[:8], "big") % (longest + 1)


def next_fires(schedule: Schedule, count: int, now: int) -> list[int]:
    """The next moments, at most ``count``, at which ticks will be due after ``now``; none while it is paused."""
    if schedule.paused:
        return []
    left = count if schedule.max_runs is None else min(count, schedule.max_runs - schedule.runs)
    fires: list[int] = []
    # A tick before now may be due after now: its jitter is not over.
    tick = tick_after(schedule, max(since(schedule), now - schedule.jitter_ms))
    while tick is not None and len(fires) < left:
        fire = fire_at(schedule, tick)
        if fire > now:
            fires.append(fire)
        tick = tick_after(schedule, tick)
    return fires


def execution_id(schedule_id: str, tick: int) -> str:
    """Of the execution that the tick starts: ``report@20270313T140000Z``, with ``.250`` before the Z where there are any
    milliseconds. 17 to 21 characters longer than the schedule's own id.
    """
    moment = _EPOCH + timedelta(milliseconds=tick)
    fraction = f".{tick % 1000:03}" if tick % 1000 else ""
    return f"{schedule_id}@{moment:%Y%m%dT%H%M%S}{fraction}Z"
