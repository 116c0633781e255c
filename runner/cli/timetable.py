"""Schedules as documents for programs, and as rows for tables."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.cli.output import moment, span
from runner.cli.text import shortened
from runner.client import Client
from runner.core.grid import fire_at
from runner.plain import plain
from runner.records import Execution, Schedule
from runner.scheduling import fires_of

#: The next moments that are shown of each.
FIRES = 5
_ERROR_WIDTH = 60

HEADINGS = ("id", "workflow", "cadence", "state", "next", "last", "result", "lag")
FIRE_HEADINGS = ("next", "in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A schedule, when it fires next, and the execution that it started last, where that is still kept."""

    schedule: Schedule
    fires: list[datetime]
    last: Execution | None
    now: int

    @property
    def state(self) -> str:
        if self.schedule.paused:
            return "paused"
        if self.schedule.error:
            return "unhealthy"
        return "on" if self.fires or self.schedule.due_at is not None else "over"

    @property
    def result(self) -> str:
        """How the last execution ended, or where it is."""
        if not self.schedule.last_execution:
            return ""
        return "gone" if self.last is None else self.last.status

    @property
    def lag_ms(self) -> int | None:
        """By how much what is due is late; when nothing is, how late the last tick started."""
        due_at, last_tick = self.schedule.due_at, self.schedule.last_tick
        if due_at is not None and due_at < self.now:
            return self.now - due_at
        if last_tick is None or self.schedule.last_started_at is None:
            return None
        return max(self.schedule.last_started_at - fire_at(self.schedule, last_tick), 0)


async def looks_at(client: Client, schedules: Iterable[Schedule]) -> list[Look]:
    now = await client.store.now()
    return list(await asyncio.gather(*(_look_at(client, schedule, now) for schedule in schedules)))


async def _look_at(client: Client, schedule: Schedule, now: int) -> Look:
    last = schedule.last_execution
    return Look(
        schedule=schedule,
        fires=fires_of(schedule, FIRES, now),
        last=await client.store.record(last) if last else None,
        now=now,
    )


# -- documents ----------------------------------------------------------------------------------------


def document(look: Look) -> dict[str, Any]:
    return {**_definition(look.schedule), **_condition(look)}


def _definition(schedule: Schedule) -> dict[str, Any]:
    """What it was told."""
    return {
        "id": schedule.id,
        "workflow": schedule.workflow,
        "version": schedule.version,
        "queue": schedule.queue,
        "input": plain(schedule.input),
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
        "created_at": moment(schedule.created_at),
        "updated_at": moment(schedule.updated_at),
    }


def _condition(look: Look) -> dict[str, Any]:
    """How it is."""
    schedule = look.schedule
    return {
        "state": look.state,
        "note": schedule.note or None,
        "error": schedule.error or None,
        "failures": schedule.failures,
        "next": [fire.isoformat() for fire in look.fires],
        "runs": schedule.runs,
        "skipped": schedule.skipped,
        "last_tick": moment(schedule.last_tick),
        "last_started_at": moment(schedule.last_started_at),
        "last_execution": schedule.last_execution or None,
        "last_result": look.result or None,
        "lag_ms": look.lag_ms,
        "running": list(schedule.running),
        "buffered": moment(schedule.buffered),
    }


# -- rows ---------------------------------------------------------------------------------------------


def row(look: Look) -> tuple[str, ...]:
    schedule = look.schedule
    return (
        schedule.id,
        schedule.workflow,
        cadence(schedule),
        look.state,
        look.fires[0].isoformat(timespec="seconds") if look.fires else "",
        moment(schedule.last_tick) or "",
        look.result,
        "" if look.lag_ms is None else span(look.lag_ms),
    )


def fire_rows(look: Look) -> list[tuple[str, ...]]:
    return [
        (fire.isoformat(timespec="seconds"), span(max(round(fire.timestamp() * 1000) - look.now, 0)))
        for fire in look.fires
    ]


def notes(look: Look) -> list[str]:
    """What there is to say beside the table."""
    schedule = look.schedule
    said = []
    if schedule.note:
        said.append(f"paused: {schedule.note}")
    if schedule.error:
        said.append(f"unhealthy: {shortened(schedule.error, 4 * _ERROR_WIDTH)}")
    said.append(f"{schedule.runs} runs, {schedule.skipped} ticks skipped, overlap {schedule.overlap}")
    if schedule.last_execution:
        said.append(f"last execution: {schedule.last_execution} ({look.result})")
    return said


def cadence(schedule: Schedule) -> str:
    """When it fires, for people."""
    if schedule.cron:
        return f"{schedule.cron} {schedule.timezone}"
    return f"every {span(schedule.interval_ms)}"
