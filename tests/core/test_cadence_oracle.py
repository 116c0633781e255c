"""Another program's reading of cron, cronsim's, beside ours: where they differ, the table below says why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.cadence import Cron

HOUR = 3_600_000
YEARS = (2027, 2028)
ZONES = (
    "UTC",
    "Africa/Cairo",
    "Africa/Casablanca",  # winter time in Ramadan: the offset falls first
    "America/Havana",  # changes at midnight
    "America/New_York",
    "America/Santiago",  # the southern half, at midnight
    "Antarctica/Troll",  # by two hours
    "Asia/Kathmandu",  # 5:45, and no change
    "Australia/Lord_Howe",  # by half an hour
    "Europe/Bucharest",
)
#: Expressions, and for how many hours on both sides of a change they are compared.
EXPRESSIONS: Mapping[str, int] = {
    "30 3 * * *": 30,
    "30 2 * * *": 30,
    "0 0 * * *": 30,
    "15,45 1-2 * * *": 30,
    "0 0-4 * * *": 30,
    "5 1-23/2 * * *": 30,
    "0 9 * * mon-fri": 100,
    "59 23 l * *": 900,
    "0 */2 * * *": 10,
    "*/15 * * * *": 5,
    "30 * * * *": 10,
    "*/20 2 * * *": 30,
    "* * * * *": 2,
}
#: cronsim steps by whole hours, and so over the half hour by which Lord Howe's clocks change. Ours are all times that the
#: clock shows there, as ``test_what_only_we_have_is_on_the_clock`` proves.
EXPLAINED = {("Australia/Lord_Howe", expression) for expression in ("0 */2 * * *", "30 * * * *", "*/20 2 * * *")}


def clock(moment: int, zone: str) -> datetime:
    return datetime.fromtimestamp(moment / 1000, UTC).astimezone(ZoneInfo(zone))


def ours(expression: str, zone: str, begin: int, end: int) -> list[int]:
    found, cron = [], Cron(expression, zone)
    tick = cron.next_after(begin)
    while tick is not None and tick <= end:
        found.append(tick)
        tick = cron.next_after(tick)
    return found


def theirs(expression: str, zone: str, begin: int, end: int) -> list[int]:
    found: list[int] = []
    for moment in CronSim(expression, clock(begin, zone)):
        tick = round(moment.timestamp() * 1000)
        if tick > end:
            break
        found.append(tick)
    return found


def changes(zone: str, year: int) -> list[int]:
    """The hours of a year before which the clocks change; where they never do, one in spring."""
    first = round(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)
    hours = range(first, first + 366 * 24 * HOUR, HOUR)
    offsets = [clock(hour, zone).utcoffset() for hour in hours]
    found = [hour for hour, before, after in zip(hours[1:], offsets, offsets[1:], strict=False) if before != after]
    return found or [first + 90 * 24 * HOUR]


def differences(expression: str, zone: str, year: int) -> tuple[set[int], set[int]]:
    """What only we have, and what only they have, around the changes of a year."""
    mine: set[int] = set()
    other: set[int] = set()
    for change in changes(zone, year):
        around = EXPRESSIONS[expression] * HOUR
        begin, end = change - around, change + around
        ticks, expected = ours(expression, zone, begin, end), theirs(expression, zone, begin, end)
        assert ticks == sorted(set(ticks))
        mine |= set(ticks) - set(expected)
        other |= set(expected) - set(ticks)
    return mine, other


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("zone", ZONES)
def test_both_fire_at_the_same_moments_around_every_change(zone, year):
    found = {(zone, expression): differences(expression, zone, year) for expression in EXPRESSIONS}
    different = {case for case, (mine, other) in found.items() if mine or other}
    assert different == {case for case in EXPLAINED if case[0] == zone}


@pytest.mark.parametrize(("zone", "expression"), sorted(EXPLAINED))
def test_what_only_we_have_is_on_the_clock(zone, expression):
    minutes, hours = {
        "0 */2 * * *": ({0}, set(range(0, 24, 2))),
        "30 * * * *": ({30}, set(range(24))),
        "*/20 2 * * *": ({0, 20, 40}, {2}),
    }[expression]
    for year in YEARS:
        mine, other = differences(expression, zone, year)
        assert not other
        for tick in mine:
            assert clock(tick, zone).minute in minutes
            assert clock(tick, zone).hour in hours


def test_there_are_enough_cases():
    assert len(ZONES) * len(EXPRESSIONS) * len(YEARS) >= 144


# -- the language -------------------------------------------------------------------------------------


def field(low: int, high: int, names: tuple[str, ...] = (), *, one_with_step: bool = True):
    """A field of cron's language: a list of stars, values and ranges, some with a step."""
    value = st.integers(low, high)
    pairs = st.tuples(value, value).filter(lambda pair: pair[0] < pair[1])
    spans = pairs.map(lambda pair: f"{pair[0]}-{pair[1]}")
    steps = st.integers(1, high - low)
    stepped = st.one_of(st.just("*"), spans, value.map(str) if one_with_step else spans)
    items = [value.map(str), spans, st.tuples(stepped, steps).map(lambda pair: f"{pair[0]}/{pair[1]}")]
    if names:
        items.append(st.sampled_from(names))
    lists = st.lists(st.one_of(items), min_size=1, max_size=3).map(",".join)
    return st.just("*") | lists


EXPRESSION = st.tuples(
    field(0, 59),
    field(0, 23),
    field(1, 31),
    field(1, 12, ("jan", "JUN", "dec")),
    # In the day of week, cronsim counts Sunday a second time as 7: `3/2` there, and `*/7`, are one day more.
    field(0, 6, ("mon", "Fri"), one_with_step=False),
).map(" ".join)


@settings(deadline=None)
@given(EXPRESSION, st.integers(1_790_000_000_000, 1_900_000_000_000))
def test_both_read_the_language_alike(expression, moment):
    try:
        expected = [round(tick.timestamp() * 1000) for tick in islice(CronSim(expression, clock(moment, "UTC")), 3)]
    except CronSimError:
        expected = []
    found, cron = [], Cron(expression)
    while len(found) < len(expected) and (tick := cron.next_after(found[-1] if found else moment)) is not None:
        found.append(tick)
    assert found == expected
    assert expected or cron.next_after(moment) is None


@pytest.mark.parametrize(
    "expression", ["0 0 L * *", "0 12 1,15,L * *", "0 0 * * fri#2", "0 0 * * mon#1,wed#3", "0 0 * 2 0#5"]
)
def test_both_read_last_days_and_numbered_week_days_alike(expression):
    begin = round(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)
    found = ours(expression, "UTC", begin, begin + 2 * 366 * 24 * HOUR)
    assert found == theirs(expression, "UTC", begin, begin + 2 * 366 * 24 * HOUR)
