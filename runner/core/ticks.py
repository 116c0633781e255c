"""What becomes of a schedule's ticks: functions from one ``Schedule`` to the next, each a revision to compare and set.

A tick is decided once: ``decide`` chooses the next one and what becomes of it and leaves that as ``pending``; whoever finds a
pending decision carries it out and writes ``done`` (or ``failed``, and it is tried again later). Ticks are decided in
their order, and ``grid_from`` never goes back.

How late a tick is decides whether it runs: late by at most ``all_within_ms`` it does; older ones collapse by ``then``; those
beyond ``window_ms`` (never less than ``all_within_ms``) are passed over.
Under ``allow`` the executions that run are not kept in ``running``: after a change to another policy they are not waited for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from runner.core.grid import cadence_of, execution_id, fire_at, since, tick_after
from runner.records import Overlap, Pending, Schedule

#: A buffered tick is started when what runs has ended, which the schedule is told. Should that word be lost, it looks itself.
LOOK_MS = 10_000
#: A decision that could not be carried out is tried again after the first, doubling up to the second, in ms.
RETRY_FIRST_MS, RETRY_LAST_MS = 1_000, 60_000

START, SKIP, BUFFER = "start", "skip", "buffer"

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


# -- the life of a tick -------------------------------------------------------------------------------


def decide(schedule: Schedule, now: int, running_ended: Collection[str]) -> Schedule | None:
    """Look at a schedule whose ``due_at`` has come or that was stirred; ``running_ended``: those of ``running`` that
    have ended.

    None: a decision is pending, which comes first. Otherwise the next revision, with a tick's fate as ``pending``; or
    without, when there is nothing to decide: write it all the same, or the look will be asked for at once again.
    Ticks that are passed over are counted in ``skipped`` here (of a cron expression at most COUNTED at a time), those that
    ``pending`` skips by ``done``.
    """
    if schedule.pending is not None:
        return None
    running = tuple(one for one in schedule.running if one not in running_ended)
    seen = replace(schedule, revision=schedule.revision + 1, running=running)
    if _is_over(seen):
        return _armed(seen, now)
    if seen.buffered is not None and not running:
        return _armed(replace(seen, pending=_start(seen, seen.buffered)), now)
    choice = _choose(seen, now)
    if choice is None:
        return _armed(seen, now)
    return _armed(replace(seen, pending=_fate(seen, choice), skipped=seen.skipped + choice.passed), now)


def done(schedule: Schedule, now: int) -> Schedule:
    """The pending decision was carried out. Raises ValueError when there is none."""
    pending = schedule.pending
    if pending is None:
        raise ValueError(f"schedule {schedule.id!r} has no pending decision")
    cleared = replace(
        schedule,
        revision=schedule.revision + 1,
        pending=None,
        # A buffered tick is older than those that were decided since.
        grid_from=max(schedule.grid_from, pending.tick),
        error="",
        failures=0,
    )
    match pending.action:
        case "start":
            return _armed(_started(cleared, pending, now), now)
        case "buffer":
            return _armed(replace(cleared, buffered=pending.tick), now)
        case _:
            return _armed(replace(cleared, skipped=cleared.skipped + 1), now)


def failed(schedule: Schedule, now: int, error: str) -> Schedule:
    """It could not be carried out, or not even be decided (a time zone may be gone): what is pending stays, and it is looked
    at again after a pause that grows from failure to failure.
    """
    failures = schedule.failures + 1
    return replace(
        schedule, revision=schedule.revision + 1, error=error, failures=failures, due_at=now + _pause_ms(failures)
    )


# -- what a caller changes ----------------------------------------------------------------------------


def ensured(existing: Schedule | None, wanted: Schedule, now: int) -> Schedule | None:
    """The schedule as ``wanted`` defines it; None when it is like that already. A new one has its first tick after ``now``
    (an interval's one interval later) or at ``start_at``.
    """
    if existing is None:
        return _armed(replace(wanted, revision=1, created_at=now, updated_at=now, grid_from=now), now)
    if all(getattr(existing, name) == getattr(wanted, name) for name in _DEFINITION):
        return None
    return updated(existing, wanted, now)


def updated(old: Schedule, wanted: Schedule, now: int) -> Schedule:
    """``old`` defined anew, its history kept. With the same cadence the tick that it waits for stays; with another one,
    or when it had come to its end, it waits for the first after ``now``. What is pending is carried out, a pause stays.
    """
    keeps = all(getattr(old, name) == getattr(wanted, name) for name in _CADENCE) and not _is_finished(old)
    definition = {name: getattr(wanted, name) for name in _DEFINITION}
    new = replace(
        old,
        **definition,
        input=wanted.input,
        revision=old.revision + 1,
        updated_at=now,
        grid_from=old.grid_from if keeps else max(old.grid_from, now),
        running=() if wanted.overlap is Overlap.ALLOW else old.running,
    )
    return _armed(new, now)


def paused(schedule: Schedule, note: str, now: int) -> Schedule | None:
    """Nothing is decided while it is paused; None when it is, with this note. What was decided before is carried out, and
    a buffered tick waits on.
    """
    if schedule.paused and schedule.note == note:
        return None
    return _armed(replace(schedule, revision=schedule.revision + 1, paused=True, note=note, updated_at=now), now)


def resumed(schedule: Schedule, now: int) -> Schedule | None:
    """It waits for its next regular tick: those during the pause are gone. None when it is not paused."""
    if not schedule.paused:
        return None
    going = replace(schedule, revision=schedule.revision + 1, paused=False, note="", updated_at=now)
    return _armed(replace(going, grid_from=max(going.grid_from, now)), now)


# -- which tick ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Choice:
    """The tick to decide next; ``late``: too late to run, it is only passed over. ``passed``: how many before it were."""

    tick: int
    late: bool = False
    passed: int = 0


def _choose(schedule: Schedule, now: int) -> _Choice | None:
    first = _due_tick(schedule, since(schedule), now)
    if first is None:
        return None
    floor = _passed_over(schedule, first, now)
    if floor is None:
        return _Choice(first)
    passed = cadence_of(schedule).count_between(since(schedule), floor)
    tick = _due_tick(schedule, floor, now)
    return _Choice(floor, late=True, passed=passed - 1) if tick is None else _Choice(tick, passed=passed)


def _passed_over(schedule: Schedule, first: int, now: int) -> int | None:
    """The last of the due ticks, which begin with ``first``, that are too late to run; None when the first is not."""
    outside = _last_due_before(schedule, first, now - max(schedule.window_ms, schedule.all_within_ms))
    if schedule.then == "all":
        return outside
    old = _last_due_before(schedule, first, now - schedule.all_within_ms)
    if old is None or old == outside or schedule.then == "skip":
        return old
    return cadence_of(schedule).last_between(first - 1, old - 1)


def _last_due_before(schedule: Schedule, first: int, limit: int) -> int | None:
    """The last tick from ``first`` on that was due before ``limit``."""
    until = limit - 1 if schedule.end_at is None else min(limit - 1, schedule.end_at)
    grid = cadence_of(schedule)
    last = grid.last_between(first - 1, until)
    if last is None or fire_at(schedule, last) < limit:
        return last
    # Only the last can be due so late: all others are due before the tick that follows them.
    return grid.last_between(first - 1, last - 1)


def _due_tick(schedule: Schedule, after: int, now: int) -> int | None:
    tick = tick_after(schedule, after)
    return tick if tick is not None and fire_at(schedule, tick) <= now else None


# -- what becomes of it -------------------------------------------------------------------------------


def _fate(schedule: Schedule, choice: _Choice) -> Pending:
    if choice.late:
        return Pending(tick=choice.tick, action=SKIP)
    if not schedule.running or schedule.overlap is Overlap.ALLOW:
        return _start(schedule, choice.tick)
    if schedule.overlap is Overlap.CANCEL_OTHER:
        return replace(_start(schedule, choice.tick), cancels=schedule.running)
    if schedule.overlap is Overlap.BUFFER_ONE and schedule.buffered is None:
        return Pending(tick=choice.tick, action=BUFFER)
    return Pending(tick=choice.tick, action=SKIP)


def _start(schedule: Schedule, tick: int) -> Pending:
    return Pending(tick=tick, action=START, execution_id=execution_id(schedule.id, tick))


def _started(schedule: Schedule, pending: Pending, now: int) -> Schedule:
    others = tuple(one for one in schedule.running if one not in pending.cancels)
    return replace(
        schedule,
        buffered=None if schedule.buffered == pending.tick else schedule.buffered,
        running=() if schedule.overlap is Overlap.ALLOW else (*others, pending.execution_id),
        runs=schedule.runs + 1,
        last_tick=pending.tick,
        last_started_at=now,
        last_execution=pending.execution_id,
    )


# -- when to look again -------------------------------------------------------------------------------


def _armed(schedule: Schedule, now: int) -> Schedule:
    return replace(schedule, due_at=_due_at(schedule, now))


def _due_at(schedule: Schedule, now: int) -> int | None:
    """When a scheduler must look at it next: here, and nowhere else, it is decided."""
    if schedule.pending is not None:
        return now + _pause_ms(schedule.failures)
    if _is_over(schedule):
        return None
    tick = tick_after(schedule, since(schedule))
    moments = [] if tick is None else [fire_at(schedule, tick)]
    if schedule.buffered is not None:
        moments.append(now + LOOK_MS if schedule.running else now)
    return min(moments, default=None)


def _pause_ms(failures: int) -> int:
    return min(RETRY_FIRST_MS << (failures - 1), RETRY_LAST_MS) if failures else 0


def _is_over(schedule: Schedule) -> bool:
    """Nothing is to be decided: for now, or for good."""
    return schedule.paused or (schedule.max_runs is not None and schedule.runs >= schedule.max_runs)


def _is_finished(schedule: Schedule) -> bool:
    """It has come to its end, a pause apart: ticks since then were never meant to run."""
    return _due_at(replace(schedule, paused=False), 0) is None
