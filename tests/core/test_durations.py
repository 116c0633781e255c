"""Durations and moments: exact where they can be, never early, refused by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.durations import to_moment_ms, to_ms
from runner.errors import UsageError


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0, 0),
        (30, 30_000),
        (0.1, 100),
        (1.1, 1100),
        (4.35, 4350),
        (timedelta(days=3), 259_200_000),
        (timedelta(microseconds=1), 1),
        (0.0004, 1),
        (timedelta(milliseconds=5, microseconds=1), 6),
    ],
)
def test_to_ms(duration, expected):
    assert to_ms(duration) == expected


@settings(deadline=None)
@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365_250)))
def test_is_never_early_and_less_than_a_millisecond_late(duration):
    late = timedelta(milliseconds=to_ms(duration)) - duration
    assert timedelta(0) <= late < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "wrong",
    [
        -1,
        -0.001,
        timedelta(seconds=-1),
        float("nan"),
        float("inf"),
        float("-inf"),
        1e300,
        -1e300,
        timedelta.max,
        365_250 * 86_400 + 1,
        True,
        "30",
        None,
        datetime(2026, 1, 1, tzinfo=UTC),
    ],
)
def test_a_wrong_duration_is_refused_by_name(wrong):
    with pytest.raises(UsageError, match=r"^ctx\.sleep\(duration\): "):
        to_ms(wrong, what="ctx.sleep(duration)")


def test_to_moment_ms():
    assert to_moment_ms(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert to_moment_ms(datetime(2026, 1, 1, tzinfo=UTC)) == 1_767_225_600_000
    assert to_moment_ms(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 1_767_225_600_000
    assert to_moment_ms(datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)) == 1_767_225_600_001


def test_the_two_halves_of_a_repeated_hour_are_two_moments():
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=berlin)
    assert to_moment_ms(first.replace(fold=1)) - to_moment_ms(first) == 3_600_000


@pytest.mark.parametrize(
    "wrong",
    [datetime(2026, 1, 1), datetime(1969, 12, 31, 23, 59, tzinfo=UTC), 1_767_225_600, "2026-01-01", None],  # noqa: DTZ001
)
def test_a_wrong_moment_is_refused_by_name(wrong):
    with pytest.raises(UsageError, match=r"^at: "):
        to_moment_ms(wrong, what="at")
