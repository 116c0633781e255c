"""What a cadence may be and when it fires, on plain days and on those when clocks change."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.cadence import COUNTED, Cron, Interval, parse_cadence
from runner.core.cron import MACROS, check_cron
from runner.errors import UsageError

NOW = 1_800_000_000_000  # 2027-01-15, a Friday
HOUR = 3_600_000


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def shown(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment / 1000, UTC):%Y-%m-%d %H:%MZ}"


def ticks(cadence, after: int):
    while (tick := cadence.next_after(after)) is not None:
        yield tick
        after = tick


def fires(expression: str, zone: str, after: str, count: int) -> list[str]:
    return [shown(tick) for tick in islice(ticks(Cron(expression, zone), ms(after)), count)]


# -- cron ---------------------------------------------------------------------------------------------


def test_nine_in_new_york_is_another_moment_after_the_change():
    assert fires("0 9 * * *", "America/New_York", "2027-03-12T15:00Z", 3) == [
        "2027-03-13 14:00Z",
        "2027-03-14 13:00Z",
        "2027-03-15 13:00Z",
    ]


def test_a_fixed_time_that_is_passed_over_fires_when_the_gap_ends():
    assert fires("30 3 * * *", "Europe/Bucharest", "2027-03-27T12:00Z", 2) == ["2027-03-28 01:00Z", "2027-03-29 00:30Z"]


def test_a_fixed_time_that_comes_twice_fires_once():
    assert fires("30 3 * * *", "Europe/Bucharest", "2027-10-30T12:00Z", 2) == ["2027-10-31 00:30Z", "2027-11-01 01:30Z"]


@pytest.mark.parametrize("asked", ["2027-10-31T00:45Z", "2027-10-31T01:15Z"])
def test_asked_in_either_pass_of_an_hour_a_fixed_time_has_fired(asked):
    assert fires("30 3 * * *", "Europe/Bucharest", asked, 1) == ["2027-11-01 01:30Z"]


def test_several_fixed_times_in_one_gap_fire_once():
    assert fires("5,15,45 3 * * *", "Europe/Bucharest", "2027-03-28T00:00Z", 2) == [
        "2027-03-28 01:00Z",
        "2027-03-29 00:05Z",
    ]


def test_what_repeats_follows_elapsed_time_through_both_changes():
    for change in ("2027-03-28T01:00Z", "2027-10-31T01:00Z"):
        found = list(islice(ticks(Cron("*/20 * * * *", "Europe/Bucharest"), ms(change) - 2 * HOUR), 15))
        assert found == [ms(change) - 2 * HOUR + number * HOUR // 3 for number in range(1, 16)]


def test_every_second_hour_skips_what_is_passed_over_and_repeats_what_comes_twice():
    assert fires("0 */2 * * *", "America/New_York", "2027-03-14T04:00Z", 3) == [
        "2027-03-14 05:00Z",
        "2027-03-14 08:00Z",
        "2027-03-14 10:00Z",
    ]
    # New York shows one o'clock twice.
    assert fires("0 1,*/6 * * *", "America/New_York", "2027-11-07T03:00Z", 4) == [
        "2027-11-07 04:00Z",
        "2027-11-07 05:00Z",
        "2027-11-07 06:00Z",
        "2027-11-07 11:00Z",
    ]


def test_a_shift_of_half_an_hour():
    assert fires("*/30 * * * *", "Australia/Lord_Howe", "2027-04-03T14:00Z", 4) == [
        "2027-04-03 14:30Z",
        "2027-04-03 15:00Z",
        "2027-04-03 15:30Z",
        "2027-04-03 16:00Z",
    ]
    assert fires("15 2 * * *", "Australia/Lord_Howe", "2027-10-02T12:00Z", 2) == [
        "2027-10-02 15:30Z",
        "2027-10-03 15:15Z",
    ]
    assert fires("45 1 * * *", "Australia/Lord_Howe", "2027-04-03T12:00Z", 2) == [
        "2027-04-03 14:45Z",
        "2027-04-04 15:15Z",
    ]


def test_a_day_that_a_country_left_out():
    """Samoa went from the 29th of December 2011 to the 31st."""
    assert fires("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00Z", 3) == [
        "2011-12-29 22:00Z",
        "2011-12-30 10:00Z",
        "2011-12-30 22:00Z",
    ]
    assert fires("0 */12 * * *", "Pacific/Apia", "2011-12-29T23:00Z", 2) == ["2011-12-30 10:00Z", "2011-12-30 22:00Z"]


@pytest.mark.parametrize("zone", ["Europe/Bucharest", "Australia/Lord_Howe", "America/Havana"])
@pytest.mark.parametrize("expression", ["30 3 * * *", "*/20 * * * *", "15,45 2 * * *", "0 */2 * * *"])
def test_asked_at_any_moment_the_answer_is_the_same_sequence(expression, zone):
    """A tick does not depend on the moment that was asked from, least of all near a change."""
    cron = Cron(expression, zone)
    for start in (ms("2027-03-27T00:00Z"), ms("2027-10-30T00:00Z"), ms("2027-04-03T00:00Z"), ms("2027-10-02T00:00Z")):
        end = start + 48 * HOUR
        sequence = list(takewhile(lambda tick, last=end + 48 * HOUR: tick < last, ticks(cron, start)))
        for moment in range(start, end, 29 * 60_000 + 1):
            assert cron.next_after(moment) == next(tick for tick in sequence if tick > moment)


def test_moments_within_a_minute():
    cron = Cron("* * * * *")
    minute = NOW - NOW % 60_000
    assert cron.next_after(minute) == minute + 60_000
    assert cron.next_after(minute - 1) == minute
    assert cron.next_after(minute + 59_999) == minute + 60_000


def test_threads_do_not_meet_in_the_parsed_expression():
    cron = Cron("*/5 * * * *")
    starts = [NOW + number * 24 * HOUR for number in range(8)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(starts)) as threads:
            found = list(threads.map(lambda start: list(islice(ticks(cron, start), 60)), starts))
    finally:
        sys.setswitchinterval(before)
    assert found == [[start + number * 300_000 for number in range(1, 61)] for start in starts]


def test_a_leap_day_that_is_far_away():
    assert fires("0 0 29 2 *", "UTC", "2096-03-01T00:00Z", 1) == ["2104-02-29 00:00Z"]


def test_one_of_the_two_rules_for_the_day_is_enough_unless_one_begins_with_a_star():
    assert fires("0 0 13 * fri", "UTC", "2027-08-01T00:00Z", 3) == [
        "2027-08-06 00:00Z",
        "2027-08-13 00:00Z",
        "2027-08-20 00:00Z",
    ]
    assert fires("0 0 */13 * fri", "UTC", "2027-01-01T00:00Z", 2) == ["2027-05-14 00:00Z", "2027-08-27 00:00Z"]


@pytest.mark.parametrize(("macro", "meaning"), MACROS.items())
def test_a_macro_is_what_it_stands_for(macro, meaning):
    assert fires(macro, "Europe/Berlin", "2027-01-01T12:00Z", 3) == fires(
        meaning, "Europe/Berlin", "2027-01-01T12:00Z", 3
    )


def test_a_range_over_the_end_is_the_list_it_names():
    for short, long in (("0 22-1 * * *", "0 22,23,0,1 * * *"), ("0 0 * * fri-mon", "0 0 * * 5,6,0,1")):
        assert fires(short, "UTC", "2027-01-01T00:00Z", 20) == fires(long, "UTC", "2027-01-01T00:00Z", 20)


# -- looking back -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.sampled_from(["*/7 * * * *", "30 3 * * *", "0 9 * * mon", "0 0 1 * *", "* 9 * * 1", "15,45 2 * * *"]),
    st.integers(ms("2027-03-20T00:00Z"), ms("2027-04-10T00:00Z")),
    st.integers(0, 3 * HOUR),
)
def test_the_last_tick_is_followed_by_none(expression, until, back):
    cron = Cron(expression, "Europe/Bucharest")
    last = cron.last_between(until - back, until)
    following = cron.next_after(until - back if last is None else last)
    assert following is None or following > until
    assert last is None or (until - back < last <= until and cron.next_after(last - 1) == last)


def test_the_last_tick_of_two_years_is_found_without_counting_them():
    assert (
        shown(Cron("* * 1 1 *").last_between(ms("2025-06-01T00:00Z"), ms("2027-06-01T00:00Z"))) == "2027-01-01 23:59Z"
    )


def test_ticks_of_a_cron_are_counted_up_to_a_bound():
    cron = Cron("* * * * *")
    assert cron.count_between(NOW, NOW + 10 * 60_000) == 10
    assert cron.count_between(NOW, NOW + 365 * 24 * HOUR) == COUNTED


# -- intervals ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 10**9), st.integers(NOW - 10**9, NOW + 10**9), st.integers(NOW - 10**9, NOW + 10**9))
def test_ticks_of_an_interval_lie_on_its_grid(length, anchor, moment):
    interval = Interval(length, anchor)
    tick = interval.next_after(moment)
    assert moment < tick <= moment + length
    assert (tick - anchor) % length == 0
    assert interval.last_between(moment - length, moment) == tick - length
    assert interval.last_between(moment, tick - 1) is None
    assert interval.count_between(moment - 5 * length, moment) == 5


def test_a_year_of_missed_seconds_is_counted_at_once():
    assert Interval(1_000, NOW).count_between(NOW, NOW + 365 * 24 * HOUR) == 365 * 24 * 3600


# -- what is refused ----------------------------------------------------------------------------------


def test_what_is_asked_for_is_what_comes_back():
    assert parse_cadence(cron="@daily", interval=None, timezone="Asia/Tokyo", now=NOW) == Cron("@daily", "Asia/Tokyo")
    assert parse_cadence(cron=None, interval=timedelta(minutes=5), now=NOW) == Interval(300_000, NOW)
    assert parse_cadence(cron=None, interval=0.25, now=NOW) == Interval(250, NOW)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cron": "0 9 * * *", "interval": 60}, "leave the other out"),
        ({}, "needs cron="),
        ({"interval": 0}, "longer than zero"),
        ({"interval": -1}, "negative"),
        ({"interval": "1h"}, "timedelta or a number of seconds"),
        ({"interval": 60, "timezone": "Europe/Berlin"}, "timezone='Europe/Berlin'"),
        ({"cron": "0 9 * * *", "timezone": "Mars/Olympus"}, "timezone 'Mars/Olympus' is unknown"),
        ({"cron": "0 9 * * *", "timezone": "../etc/passwd"}, "is unknown"),
        ({"cron": "0 9 * * *", "timezone": "Europe"}, "is unknown"),
        ({"cron": "0 9 * * *", "timezone": ""}, "is unknown"),
        ({"cron": "0 9 * * *", "timezone": None}, "timezone None is unknown"),
        ({"cron": "0 9 * * *", "timezone": "\ud800"}, "is unknown"),
        ({"cron": 5}, "a text such as"),
        ({"cron": ""}, r"0 field\(s\), five are needed"),
        ({"cron": "hello"}, "five are needed"),
        ({"cron": "0 0 9 * * *"}, "for seconds use interval="),
        ({"cron": "@reboot"}, "no such macro; there are @yearly"),
        ({"cron": "60 * * * *"}, "out of range"),
        ({"cron": "0 24 * * *"}, "out of range"),
        ({"cron": "0 0 0 * *"}, "out of range"),
        ({"cron": "0 0 * 13 *"}, "out of range"),
        ({"cron": "0 0 * foo *"}, "no cron expression"),
        ({"cron": "0 0 * * jan"}, "no cron expression"),
        ({"cron": "0 0 31 2 *"}, "does not fire in the next five years"),
        ({"cron": "0 0 31 2,4 *"}, "does not fire"),
        ({"cron": "0 0 29 2 */7"}, "does not fire"),
        ({"cron": "*/0 * * * *"}, "a step of 0 in the minute"),
        ({"cron": "*/90 * * * *"}, "use interval="),
        ({"cron": "5-5 * * * *"}, "write 5"),
        ({"cron": "0 0 * * 7-0"}, "write 7"),
        ({"cron": "0 0 * jan-1 *"}, "write jan"),
        ({"cron": "0 22-4/3 * * *"}, "write a list"),
        ({"cron": "R * * * *"}, "minute 'r'"),
        ({"cron": "H * * * *"}, "minute 'h'"),
        ({"cron": "0 0 15w * *"}, "day of month '15w'"),
        ({"cron": "0 0 ? * mon"}, "day of month '\\?'"),
        ({"cron": "0 0 * * l5"}, "day of week 'l5'"),
        ({"cron": "0 0 L * mon"}, "'L' and '#'"),
        ({"cron": "0 0 1 * mon#2"}, "'L' and '#'"),
        ({"cron": "0 0 * * mon,tue#2"}, "no cron expression"),
        ({"cron": "1,,2 * * * *"}, "minute ''"),
        ({"cron": "-1 * * * *"}, "minute '-1'"),
        ({"cron": "٣ * * * *"}, "is not"),
        ({"cron": "0 9 * * *\nlog forged"}, "five are needed"),
    ],
)
def test_senseless_cadences_are_refused_by_name(asked, said):
    with pytest.raises(UsageError, match=said) as refused:
        parse_cadence(**{"cron": None, "interval": None, **asked}, now=NOW)
    assert "\n" not in str(refused.value)


def test_five_years_begin_with_the_moment_it_is_asked_for():
    assert parse_cadence(cron="0 0 29 2 *", interval=None, now=ms("2027-01-01T00:00Z"))
    with pytest.raises(UsageError, match="five years"):
        parse_cadence(cron="0 0 29 2 *", interval=None, now=ms("2097-01-01T00:00Z"))


@settings(deadline=None)
@given(st.text(alphabet="0123456789*/,-# LWRHmonjanfri@?", max_size=24))
def test_any_text_is_a_cadence_or_refused(text):
    """Never another error: and what is taken fires, at a moment that its zone's clock shows."""
    try:
        cron = parse_cadence(cron=text, interval=None, timezone="Europe/Berlin", now=NOW)
    except UsageError:
        return
    check_cron(text)
    tick = cron.next_after(NOW)
    assert tick is not None
    assert datetime.fromtimestamp(tick / 1000, ZoneInfo("Europe/Berlin")).second == 0
