"""How a schedule fares, read off its record, and how its moments are written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runner import App
from runner.cli.schedule_views import cadence_text, document, fires_text, last_text, look_at, row, state_text
from runner.core.ticks import decide, done, ensured, failed, paused
from runner.records import Schedule

NOW = 1_800_000_000_000
HOUR = 3_600_000


def made(**fields: Any) -> Schedule:
    wanted = Schedule(
        id="s", workflow="w", version=1, queue="q", input=b"", digest="d", **{"interval_ms": HOUR, **fields}
    )
    schedule = ensured(None, wanted, NOW)
    assert schedule is not None
    return schedule


def run(schedule: Schedule, at: int) -> Schedule:
    """A tick decided and carried out at that moment."""
    decided = decide(schedule, at, ())
    assert decided is not None
    return done(decided, at)


@pytest.mark.parametrize(
    ("schedule", "after", "state", "healthy", "lag"),
    [
        (made(), 0, "new", True, None),
        (run(made(), NOW + HOUR + 70), HOUR + 100, "ok", True, 70),
        (made(), HOUR + 100, "new", True, 100),
        (made(), HOUR + 10_001, "overdue", False, 10_001),
        (decide(made(), NOW + HOUR, ()), HOUR + 10_001, "overdue", False, 10_001),
        (failed(decide(made(), NOW + HOUR, ()) or made(), NOW + HOUR, "no"), HOUR + 500, "failing", False, 500),
        (failed(paused(made(), "", NOW) or made(), NOW, "no"), 0, "failing", False, None),
        (paused(made(), "why", NOW), 2 * HOUR, "paused", True, None),
        (run(made(max_runs=1), NOW + HOUR), 5 * HOUR, "over", True, 0),
    ],
)
def test_state_and_lag_say_what_it_has_done(
    schedule: Schedule, after: int, state: str, healthy: bool, lag: int | None
) -> None:
    look = look_at(schedule, None, NOW + after)
    assert (look.state, look.healthy, look.lag_ms) == (state, healthy, lag)
    assert document(App("shop"), look)["state"] == state


def test_a_buffered_tick_is_not_overdue() -> None:
    buffered = replace(made(overlap="buffer_one"), buffered=NOW - HOUR, running=("one",))
    assert look_at(buffered, None, NOW + 60_000).state == "new"


def test_errors_and_notes_are_said_with_the_state() -> None:
    twice = failed(failed(made(), NOW, "no such\nthing"), NOW, "no such\nthing")
    assert state_text(look_at(twice, None, NOW)) == "failing 2 times: no such\nthing"
    assert state_text(look_at(paused(made(), "for now", NOW) or made(), None, NOW)) == "paused: for now"


def test_a_zone_that_is_not_known_here_hides_nothing_else() -> None:
    look = look_at(replace(made(), interval_ms=0, cron="0 9 * * *", timezone="Mars/Olympus"), None, NOW)
    assert row(App("shop"), look)[2:] == ("0 9 * * * Mars/Olympus", "new", "", "", "")


def test_an_execution_that_is_not_kept_is_no_result() -> None:
    assert last_text(App("shop"), look_at(run(made(), NOW + HOUR), None, NOW + HOUR)) == "not kept any more"


def test_date_and_zone_are_said_where_they_change() -> None:
    zone = ZoneInfo("America/New_York")
    fires = [datetime(2027, 3, day, hour, tzinfo=zone) for day, hour in ((13, 9), (13, 10), (14, 9))]
    assert fires_text(fires) == "2027-03-13 09:00 EST, 10:00, 2027-03-14 09:00 EDT"
    assert fires_text([datetime(2027, 3, 13, 9, 0, 7, tzinfo=UTC)]) == "2027-03-13 09:00:07 UTC"
    assert fires_text([]) == ""


@pytest.mark.parametrize(
    ("ms", "text"), [(900_000, "every 15m"), (90_000, "every 90s"), (7_200_000, "every 2h"), (1_500, "every 1500ms")]
)
def test_an_interval_is_written_as_it_is_given(ms: int, text: str) -> None:
    assert cadence_text(made(interval_ms=ms)) == text
