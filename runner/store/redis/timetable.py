"""Schedules, to the scripts' arguments and from their replies.

One is kept as "<revision> <created_at> <blob>": what the scripts compare stands before what they never look into.
"""

from __future__ import annotations

from collections.abc import Sequence

from runner.records import Schedule
from runner.store.redis.connection import Reply, Word
from runner.transactions import DueSchedules


def words(schedule: Schedule) -> tuple[Word, ...]:
    due_at: Word = "" if schedule.due_at is None else schedule.due_at
    return schedule.id, schedule.revision, schedule.created_at, due_at, schedule.pack()


def kept(value: Reply) -> Schedule | None:
    return None if value is None else _schedule(value)


def page(values: Sequence[Reply]) -> list[Schedule]:
    return [_schedule(value) for value in values]


def due(reply: Reply) -> DueSchedules:
    now, next_at, values = reply
    return DueSchedules(schedules=tuple(page(values)), next_at=next_at, now=now)


def _schedule(value: bytes) -> Schedule:
    return Schedule.unpack(value.split(b" ", 2)[2])
