"""Schedules: from what a caller says to the record that is kept. All of it is checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypedDict

from runner.attributes import Attribute, attribute_texts
from runner.core.cadence import Cron, parse_cadence
from runner.core.retry import Duration
from runner.durations import to_moment_ms, to_ms
from runner.errors import UsageError
from runner.ids import check_id, check_queue
from runner.records import Overlap, Schedule
from runner.starts import make_start
from runner.workflow import Workflow

OverlapPolicy = Literal["allow", "skip", "buffer_one", "cancel_other"]
#: The ids of its executions are longer by the moment of their tick, and must fit too.
MAX_ID = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """What becomes of ticks that nobody was there for in time.

    Each that is late by at most ``all_within`` is run. Of older ones up to ``window`` the ``latest`` is, or ``all`` are, or
    none (``skip``). Those beyond it are passed over.
    """

    all_within: Duration = 60.0
    then: Literal["latest", "all", "skip"] = "latest"
    window: Duration = 3600.0


class ScheduleOptions(TypedDict, total=False):
    """What a schedule takes beside workflow, input and id. See ``Client.ensure_schedule``."""

    cron: str | None
    interval: Duration | None
    timezone: str
    overlap: OverlapPolicy | Overlap
    catch_up: CatchUp
    jitter: Duration
    start_at: datetime | None
    end_at: datetime | None
    max_runs: int | None
    timeout: Duration | None
    queue: str | None
    attributes: Mapping[str, Attribute] | None


def make_schedule(
    workflow: Workflow[Any, Any], input: Any, *, id: str, plain: bool, now: int, options: ScheduleOptions
) -> Schedule:
    """The record as the caller wants it. Raises UsageError or PayloadError."""
    start = make_start(
        workflow,
        input,
        plain=plain,
        timeout=options.get("timeout"),
        queue=options.get("queue"),
        attributes=options.get("attributes"),
    )
    bare = Schedule(
        id=check_schedule_id(id),
        workflow=start.workflow,
        version=start.version,
        queue=start.queue,
        input=start.input,
        digest=start.digest,
        timeout_ms=start.timeout_ms,
        retention_ms=start.retention_ms,
        attributes=start.attributes,
        audit=start.audit,
    )
    own = {name: value for name, value in options.items() if name not in _OF_STARTS}
    return _checked(replace(bare, **_cadence(options, now), **_fields(own)))


def change_schedule(old: Schedule, options: ScheduleOptions, now: int) -> Schedule:
    """``old`` as it is to be; what is not said stays. Raises UsageError."""
    cadence = {name: value for name, value in options.items() if name in _OF_CADENCES}
    fields = _cadence(_completed(old, cadence), now) if cadence else {}
    return _checked(replace(old, **fields, **_fields(options)))


def change_input(old: Schedule, workflow: Workflow[Any, Any], input: Any) -> Schedule:
    """Raises UsageError or PayloadError."""
    start = make_start(workflow, input, plain=True)
    return replace(old, input=start.input, digest=start.digest)


def check_schedule_id(id: str) -> str:
    """Returns ``id``. Raises UsageError when it cannot be a schedule's."""
    if len(check_id(id, what="schedule id")) > MAX_ID:
        raise UsageError(
            f"schedule id {id!r} has {len(id)} characters: {MAX_ID} at most, its executions' ids are longer"
        )
    return id


# -- options ------------------------------------------------------------------------------------------

_OF_CADENCES = frozenset({"cron", "interval", "timezone"})
_OF_STARTS = frozenset({"timeout", "queue", "attributes"})


def _cadence(options: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The fields that say when it ticks."""
    zone = options.get("timezone", "UTC")
    cadence = parse_cadence(cron=options.get("cron"), interval=options.get("interval"), timezone=zone, now=now)
    if isinstance(cadence, Cron):
        return {"cron": cadence.expression, "interval_ms": 0, "timezone": cadence.zone}
    return {"cron": "", "interval_ms": cadence.ms, "timezone": "UTC"}


def _completed(old: Schedule, said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a cadence, and what it leaves as it was: an interval takes the place of a cron expression, and of
    its time zone with it.
    """
    if said.get("cron") is not None:
        return {"timezone": old.timezone, **said}
    if said.get("interval") is not None:
        return dict(said)
    kept = {"cron": old.cron} if old.cron else {"interval": old.interval_ms / 1000}
    return {**kept, "timezone": old.timezone, **{name: value for name, value in said.items() if value is not None}}


def _fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The record's fields for the other options."""
    unknown = options.keys() - _READERS.keys() - _OF_CADENCES
    if unknown:
        raise TypeError(f"a schedule has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(_OPTIONS))}")
    return {field: value for name in options if name in _READERS for field, value in _READERS[name](options[name])}


def _overlap(policy: str) -> list[tuple[str, Any]]:
    try:
        return [("overlap", Overlap(policy))]
    except ValueError:
        raise UsageError(f"overlap={policy!r}: one of {', '.join(Overlap)}") from None


def _catch_up(policy: object) -> list[tuple[str, Any]]:
    if not isinstance(policy, CatchUp) or policy.then not in ("latest", "all", "skip"):
        raise UsageError(f"catch_up={policy!r}: a CatchUp whose `then` is latest, all or skip")
    all_within_ms = to_ms(policy.all_within, what="catch_up all_within")
    return [
        ("all_within_ms", all_within_ms),
        ("then", policy.then),
        ("window_ms", max(to_ms(policy.window, what="catch_up window"), all_within_ms)),
    ]


def _max_runs(runs: object) -> list[tuple[str, Any]]:
    if runs is None or (isinstance(runs, int) and not isinstance(runs, bool) and runs >= 1):
        return [("max_runs", runs)]
    raise UsageError(f"max_runs={runs!r}: a number from 1 on, or None for no limit")


def _moment(name: str) -> Callable[[datetime | None], list[tuple[str, Any]]]:
    return lambda moment: [(name, None if moment is None else to_moment_ms(moment, what=name))]


_READERS: Mapping[str, Callable[[Any], list[tuple[str, Any]]]] = {
    "overlap": _overlap,
    "catch_up": _catch_up,
    "jitter": lambda longest: [("jitter_ms", to_ms(longest, what="jitter"))],
    "start_at": _moment("start_at"),
    "end_at": _moment("end_at"),
    "max_runs": _max_runs,
    "timeout": lambda limit: [("timeout_ms", None if limit is None else to_ms(limit, what="timeout"))],
    "queue": lambda queue: [("queue", check_queue(queue))],
    "attributes": lambda values: [("attributes", attribute_texts(values))],
}
_OPTIONS = frozenset(_READERS) | _OF_CADENCES


def _checked(schedule: Schedule) -> Schedule:
    if schedule.start_at is not None and schedule.end_at is not None and schedule.end_at <= schedule.start_at:
        raise UsageError(f"schedule {schedule.id!r}: end_at is not after start_at, so it would never fire")
    return schedule
