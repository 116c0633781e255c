"""When a schedule fires: a cron expression in a time zone, or an interval on a grid.

Days on which clocks change follow Debian's cron. An expression without ``*`` in its minute and hour fields names
fixed times: each fires once a day, a time that the clocks pass over fires at the moment the gap ends, a time that comes
twice fires the first time. Any other expression repeats: it follows elapsed time, so what the clocks pass over is not
there, and what comes twice fires twice. A day must match day of month *and* day of week where one of them begins with
``*``; otherwise one of the two is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from runner.core.cron import check_cron, five_fields
from runner.durations import to_ms
from runner.errors import UsageError

if TYPE_CHECKING:
    from croniter import croniter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_MINUTE = timedelta(minutes=1)
_MINUTE_MS = 60_000
#: An expression that does not fire within this time is taken for a mistake.
_FIRST_WITHIN_MS = 5 * 366 * 24 * 3600 * 1000
#: Ticks of a cron expression are counted one by one, each for a good part of a millisecond: up to this many.
COUNTED = 100


class Cadence(Protocol):
    """A sequence of ticks: moments in milliseconds of UTC, strictly rising. The same on every machine, at any time."""

    def next_after(self, moment: int) -> int | None:
        """The first tick later than ``moment``; None when there is none any more."""
        ...

    def last_between(self, after: int, until: int) -> int | None:
        """The last tick later than ``after`` and not later than ``until``."""
        ...

    def count_between(self, after: int, until: int) -> int:
        """How many ticks are later than ``after`` and not later than ``until``; of a cron expression at most COUNTED."""
        ...


@dataclass(frozen=True, slots=True)
class Interval:
    """Every ``ms`` milliseconds, on the grid that ``anchor`` lies on: however late a tick runs, the next does not move."""

    ms: int
    anchor: int

    def next_after(self, moment: int) -> int | None:
        return self.anchor + (self._number(moment) + 1) * self.ms

    def last_between(self, after: int, until: int) -> int | None:
        last = self.anchor + self._number(until) * self.ms
        return last if last > after else None

    def count_between(self, after: int, until: int) -> int:
        return max(0, self._number(until) - self._number(after))

    def _number(self, moment: int) -> int:
        """Of the last tick that is not later than ``moment``; the anchor's is 0."""
        return (moment - self.anchor) // self.ms


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields or a macro (``@daily`` …), read on the clocks of ``zone``."""

    expression: str
    zone: str = "UTC"

    def next_after(self, moment: int) -> int | None:
        here = _clock(moment, ZoneInfo(self.zone))
        return _earliest(self._first(start, moment) for start in _passes(here))

    def last_between(self, after: int, until: int) -> int | None:
        """Found by ``next_after`` alone, looking back twice as far each time and then closing in: one rule, both ways."""
        back = _MINUTE_MS
        while (tick := self._tick_between(max(after, until - back), until)) is None:
            if until - back <= after:
                return None
            back *= 2
        return self._close_in(tick, until)

    def count_between(self, after: int, until: int) -> int:
        count = 0
        while count < COUNTED and (tick := self._tick_between(after, until)) is not None:
            after, count = tick, count + 1
        return count

    def _close_in(self, tick: int, until: int) -> int:
        """The last tick that is not later than ``until``, of which ``tick`` is one."""
        high = until
        while high - tick > 1:
            middle = (tick + high) // 2
            later = self._tick_between(middle, until)
            tick, high = (tick, middle) if later is None else (later, high)
        return tick

    def _tick_between(self, after: int, until: int) -> int | None:
        if until <= after:  # asked for every tick that is in time: a search is spared
            return None
        tick = self.next_after(after)
        return tick if tick is not None and tick <= until else None

    def _first(self, start: datetime, moment: int) -> int | None:
        """The first tick later than ``moment`` whose time on the clock is later than that of ``start``."""
        wall = _next_wall(self.expression, start)
        while wall is not None:
            tick = next((at for at in self._ticks(wall) if at > moment), None)
            if tick is not None:
                return tick
            wall = _next_wall(self.expression, wall)
        return None

    def _ticks(self, wall: datetime) -> tuple[int, ...]:
        """The ticks that a time on the clock stands for, early to late."""
        first, second = _readings(wall)
        if first > second:  # the clocks pass over it
            return () if self._repeats else (_change(second, first, wall.tzinfo),)
        return (first, second) if self._repeats else (first,)

    @property
    def _repeats(self) -> bool:
        minute, hour, *_ = five_fields(self.expression)
        return "*" in minute + hour


def parse_cadence(
    *, cron: str | None, interval: timedelta | float | None, timezone: str = "UTC", now: int
) -> Cron | Interval:
    """The cadence that a caller asks for; that of an interval is anchored at ``now`` (milliseconds since 1970).

    Raises UsageError for both or neither of ``cron`` and ``interval``, an expression that is not one or does not fire
    in the five years after ``now``, an interval that is no positive duration, an unknown time zone, and for a time
    zone beside an interval, which it would not change.
    """
    if cron is not None and interval is not None:
        raise UsageError("cron and interval: a schedule has one of the two, leave the other out")
    if cron is not None:
        return _parse_cron(cron, timezone, now)
    if interval is None:
        raise UsageError("a schedule needs cron= (such as '0 9 * * *') or interval= (a timedelta or seconds)")
    if timezone != "UTC":
        raise UsageError(
            f"timezone={timezone!a}: an interval is the same in every time zone; leave it out, or use cron="
        )
    return Interval(_positive_ms(interval), now)


def _positive_ms(interval: timedelta | float) -> int:
    ms = to_ms(interval, what="interval")
    if ms == 0:
        raise UsageError("interval: must be longer than zero")
    return ms


def _parse_cron(expression: str, timezone: str, now: int) -> Cron:
    check_cron(expression)
    cron = Cron(expression, _known_zone(timezone))
    try:
        first = cron.next_after(now)
    except ValueError as error:
        # What croniter says of a field is right, and its traceback is not for the caller.
        raise UsageError(f"cron {expression!a} is no cron expression: {error}") from None
    if first is None or first > now + _FIRST_WITHIN_MS:
        raise UsageError(f"cron {expression!a} does not fire in the next five years: check its day and its month")
    return cron


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise UsageError(f"timezone {name!a} is unknown; use a name such as 'Europe/Berlin', or 'UTC'") from None
    return name


@lru_cache(maxsize=1024)
def _pattern(expression: str) -> croniter[datetime]:
    """Parsed once: to read an expression takes as long as to use it.

    ``implement_cron_bug`` is what combines day of month and day of week as Debian's cron does.
    """
    from croniter import croniter  # noqa: PLC0415 - a tenth of a second, which only those who have schedules wait for

    text = " ".join(five_fields(expression))
    return croniter(text, _EPOCH, ret_type=datetime, implement_cron_bug=True)


def _next_wall(expression: str, wall: datetime) -> datetime | None:
    """The next time of day and date that matches. Time zones are not croniter's business: it fires twice in autumn."""
    from croniter import CroniterBadDateError  # noqa: PLC0415 - as above

    pattern = copy(_pattern(expression))  # it keeps where it stands, and other threads read it too
    try:
        found = pattern.get_next(datetime, start_time=wall.replace(tzinfo=None, second=0, microsecond=0))
    except CroniterBadDateError:
        return None
    return found.replace(tzinfo=wall.tzinfo)


def _passes(here: datetime) -> list[datetime]:
    """Where to begin to look: here; and in an hour that comes twice, also where it begins again."""
    first, second = _readings(here)
    if first == second:
        return [here]
    return [here, _clock(_change(first, second, here.tzinfo), here.tzinfo) - _MINUTE]


def _earliest(ticks: Iterable[int | None]) -> int | None:
    return min((tick for tick in ticks if tick is not None), default=None)


def _readings(wall: datetime) -> tuple[int, int]:
    """The two moments that a time on the clock can mean: the same but near a change. Of one that is passed over the
    first is the later (PEP 495): each is counted with the offset of the other side.
    """
    return _moment(wall.replace(fold=0)), _moment(wall.replace(fold=1))


def _change(before: int, after: int, zone: tzinfo | None) -> int:
    """The moment between the two at which the clocks change: at ``after`` they have."""
    offset = _clock(before, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _clock(middle, zone).utcoffset() == offset else (before, middle)
    return after


def _clock(moment: int, zone: tzinfo | None) -> datetime:
    return (_EPOCH + moment * _MS).astimezone(zone)


def _moment(wall: datetime) -> int:
    return (wall.astimezone(UTC) - _EPOCH) // _MS
