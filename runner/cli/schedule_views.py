"""Schedules as documents for programs, and as rows for tables: when they fire next, and what became of the last tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.app import App
from runner.cli.output import as_json, moment, span
from runner.cli.text import shortened
from runner.cli.values import result_shown, shown_failure
from runner.core.grid import fire_at, since, tick_after
from runner.core.ticks import START
from runner.plain import failure_of, plain
from runner.records import Execution, Schedule, Status
from runner.scheduling import fires_of

HEADINGS = ("id", "workflow", "cadence", "state", "last result", "lag", "next")
FIRE_HEADINGS = ("fires next", "in UTC", "in")
FIRES = 5
#: A tick that nobody has decided for so long after it was due has no scheduler: another one leads within 5 s.
OVERDUE_MS = 10_000

_WIDTH = 60
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A schedule at one moment. ``last``: the execution of its last tick, None when there was none or it is not kept.

    ``late_ms``: for how long a tick has been due that has not started. ``lag_ms``: that, or how late the last one started.
    """

    schedule: Schedule
    now: int
    last: Execution | None
    fires: Sequence[datetime]
    late_ms: int | None
    lag_ms: int | None

    @property
    def state(self) -> str:
        """Of what has gone wrong, or keeps it from firing, the first; ``ok`` when its last tick has started an execution."""
        schedule = self.schedule
        if schedule.error:
            return "failing"
        if schedule.paused:
            return "paused"
        if self.late_ms is not None and self.late_ms > OVERDUE_MS:
            return "overdue"
        if schedule.due_at is None:
            return "over"
        return "ok" if schedule.last_tick is not None else "new"

    @property
    def healthy(self) -> bool:
        """By what it has done; that its next tick has a time says nothing."""
        return self.state not in ("failing", "overdue")


def look_at(schedule: Schedule, last: Execution | None, now: int) -> Look:
    """Never fails: a time zone that is unknown on this machine must not hide the others of a list."""
    try:
        late_ms = _late_ms(schedule, now)
        lag_ms = _last_lag_ms(schedule) if late_ms is None else late_ms
        fires = fires_of(schedule, FIRES, now)
    except (KeyError, ValueError, OSError):
        return Look(schedule=schedule, now=now, last=last, fires=(), late_ms=None, lag_ms=None)
    return Look(schedule=schedule, now=now, last=last, fires=fires, late_ms=late_ms, lag_ms=lag_ms)


def _late_ms(schedule: Schedule, now: int) -> int | None:
    """Of the first tick that is due and has not started; buffered ones wait as they should."""
    if schedule.pending is not None:
        return max(0, now - fire_at(schedule, schedule.pending.tick)) if schedule.pending.action == START else None
    tick = None if schedule.due_at is None or schedule.paused else tick_after(schedule, since(schedule))
    late = -1 if tick is None else now - fire_at(schedule, tick)
    return late if late >= 0 else None


def _last_lag_ms(schedule: Schedule) -> int | None:
    if schedule.last_tick is None or schedule.last_started_at is None:
        return None
    return max(0, schedule.last_started_at - fire_at(schedule, schedule.last_tick))


# -- documents -----------------------------------------------------------------------------------------


def document(app: App, look: Look) -> dict[str, Any]:
    """All there is to know of a schedule, but its input."""
    schedule = look.schedule
    return {
        "id": schedule.id,
        "workflow": schedule.workflow,
        "version": schedule.version,
        "queue": schedule.queue,
        "state": look.state,
        "healthy": look.healthy,
        "error": schedule.error or None,
        "failures": schedule.failures,
        "paused": schedule.paused,
        "note": schedule.note or None,
        "next_fires": [fire.isoformat() for fire in look.fires],
        "lag_ms": look.lag_ms,
        "last": _last_document(app, look),
        "runs": schedule.runs,
        "skipped": schedule.skipped,
        "running": list(schedule.running),
        "buffered": moment(schedule.buffered),
        **_definition(schedule),
        "created_at": moment(schedule.created_at),
        "updated_at": moment(schedule.updated_at),
    }


def _definition(schedule: Schedule) -> dict[str, Any]:
    return {
        "cron": schedule.cron or None,
        "interval_ms": schedule.interval_ms or None,
        "timezone": schedule.timezone,
        "overlap": schedule.overlap,
        "catch_up": {
            "all_within_ms": schedule.all_within_ms,
            "then": schedule.then,
            "window_ms": schedule.window_ms,
        },
        "jitter_ms": schedule.jitter_ms,
        "start_at": moment(schedule.start_at),
        "end_at": moment(schedule.end_at),
        "max_runs": schedule.max_runs,
        "timeout_ms": schedule.timeout_ms,
        "attributes": dict(schedule.attributes) or None,
    }


def shown_document(app: App, look: Look) -> dict[str, Any]:
    """The document, and the input."""
    return {**document(app, look), "input": plain(look.schedule.input)}


def _last_document(app: App, look: Look) -> dict[str, Any] | None:
    """The execution of the last tick, as far as it is kept."""
    schedule, last = look.schedule, look.last
    if not schedule.last_execution:
        return None
    return {
        "tick": moment(schedule.last_tick),
        "started_at": moment(schedule.last_started_at),
        "execution_id": schedule.last_execution,
        "status": None if last is None else last.status,
        "result": None if last is None else result_shown(app, last),
        "error": None if last is None else shown_failure(failure_of(last.error)),
    }


# -- rows ----------------------------------------------------------------------------------------------


def row(app: App, look: Look) -> tuple[str, ...]:
    schedule = look.schedule
    return (
        schedule.id,
        schedule.workflow,
        cadence_text(schedule),
        state_text(look),
        last_text(app, look),
        "" if look.lag_ms is None else span(look.lag_ms),
        fires_text(look.fires),
    )


def cadence_text(schedule: Schedule) -> str:
    if schedule.cron:
        return f"{schedule.cron} {schedule.timezone}"
    size, unit = next(((size, unit) for size, unit in _UNITS if schedule.interval_ms % size == 0), (1, "ms"))
    return f"every {schedule.interval_ms // size}{unit}"


def state_text(look: Look) -> str:
    """The state, with the error or the note behind it."""
    schedule = look.schedule
    if look.state == "failing":
        times = f" {schedule.failures} times" if schedule.failures > 1 else ""
        return shortened(f"failing{times}: {schedule.error}", _WIDTH)
    if look.state == "paused" and schedule.note:
        return shortened(f"paused: {schedule.note}", _WIDTH)
    return look.state


def last_text(app: App, look: Look) -> str:
    """How the execution of the last tick ended, or where it stands."""
    last = look.last
    if last is None:
        return "not kept any more" if look.schedule.last_execution else ""
    failure = failure_of(last.error)
    if failure is not None:
        return shortened(f"{last.status} {failure.type}: {failure.message}", _WIDTH)
    if last.status is not Status.COMPLETED:
        return last.status
    return shortened(f"{last.status} {as_json(result_shown(app, last))}", _WIDTH)


def fires_text(fires: Sequence[datetime]) -> str:
    """Moments as the clocks of their zone show them; a date and a zone are said where they change."""
    before = [None, *fires]
    return ", ".join(_fire_text(earlier, fire) for earlier, fire in zip(before, fires, strict=False))


def fire_row(fire: datetime, now: int) -> tuple[str, ...]:
    at = round(fire.timestamp() * 1000)
    return (_fire_text(None, fire), moment(at) or "", span(max(0, at - now)))


def _fire_text(earlier: datetime | None, fire: datetime) -> str:
    date = "" if earlier is not None and earlier.date() == fire.date() else f"{fire:%Y-%m-%d} "
    zone = "" if earlier is not None and earlier.tzname() == fire.tzname() else f" {fire:%Z}"
    return f"{date}{fire:{'%H:%M:%S' if fire.second or fire.microsecond else '%H:%M'}}{zone}"
