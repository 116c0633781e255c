"""Ticks, one at a time: late ones, overlapping ones, pauses, changes, and when a schedule is looked at again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.core.cadence import COUNTED
from runner.core.grid import execution_id, fire_at, next_fires
from runner.core.ticks import (
    LOOK_MS,
    RETRY_FIRST_MS,
    RETRY_LAST_MS,
    decide,
    done,
    ensured,
    failed,
    paused,
    resumed,
    updated,
)
from runner.records import Overlap, Pending, Schedule

T0 = 1_800_000_000_000  # 2027-01-15T08:00:00Z
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


def wanted(**definition) -> Schedule:
    plain = {
        "workflow": "report",
        "version": 1,
        "queue": "default",
        "input": b"in",
        "digest": "d",
        "interval_ms": MINUTE,
    }
    return Schedule(**{"id": "report", **plain, **definition})


def fresh(**definition) -> Schedule:
    schedule = ensured(None, wanted(**definition), T0)
    assert schedule is not None
    return schedule


def decided(schedule: Schedule, now: int, ended=()) -> Schedule:
    after = decide(schedule, now, ended)
    assert after is not None
    assert after.revision == schedule.revision + 1
    return after


def run_dry(schedule: Schedule, now: int, ended=()) -> tuple[Schedule, list[tuple[int, str]]]:
    """Decide and carry out all there is to decide now: what is left, and each tick (in minutes) with its fate."""
    fates = []
    while (after := decided(schedule, now, ended)).pending is not None:
        fates.append(((after.pending.tick - T0) // MINUTE, after.pending.action))
        schedule = done(after, now)
    return after, fates


# -- the plain case -----------------------------------------------------------------------------------


def test_a_new_schedule_waits_for_its_first_tick():
    schedule = fresh()
    assert (schedule.revision, schedule.created_at, schedule.due_at) == (1, T0, T0 + MINUTE)
    assert fresh(interval_ms=0, cron="0 9 * * *").due_at == T0 + HOUR


def test_a_tick_is_decided_and_carried_out_and_the_next_is_armed():
    due = decided(fresh(), T0 + MINUTE)
    assert due.pending == Pending(tick=T0 + MINUTE, action="start", execution_id="report@20270115T080100Z")
    assert due.due_at == T0 + MINUTE
    after = done(due, T0 + MINUTE + 30)
    assert (after.revision, after.pending, after.runs, after.grid_from) == (3, None, 1, T0 + MINUTE)
    assert (after.last_tick, after.last_started_at) == (T0 + MINUTE, T0 + MINUTE + 30)
    assert after.last_execution == "report@20270115T080100Z"
    assert after.due_at == T0 + 2 * MINUTE


def test_what_is_pending_comes_first():
    due = decided(fresh(), T0 + MINUTE)
    assert decide(due, T0 + 10 * MINUTE, ()) is None


def test_a_look_for_nothing_is_written_and_moves_on():
    early = decided(fresh(), T0 + SECOND)
    assert (early.pending, early.due_at) == (None, T0 + MINUTE)


def test_nothing_is_done_that_was_not_decided():
    with pytest.raises(ValueError, match="'report' has no pending decision"):
        done(fresh(), T0)


def test_the_grid_does_not_drift_however_late_a_tick_runs():
    schedule = fresh()
    for late in (0, 17 * SECOND, 59 * SECOND):
        due = schedule.due_at
        schedule = done(decided(schedule, due + late), due + late)
        assert schedule.due_at == due + MINUTE


def test_an_execution_is_named_after_its_tick():
    assert execution_id("a", T0) == "a@20270115T080000Z"
    assert execution_id("a", T0 + 7) == "a@20270115T080000.007Z"


# -- what could not be carried out --------------------------------------------------------------------


def test_a_failure_keeps_the_decision_and_backs_off():
    schedule = decided(fresh(), T0 + MINUTE)
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        schedule = failed(schedule, T0, "broken")
        assert (schedule.due_at, schedule.error) == (T0 + pause * SECOND, "broken")
    assert RETRY_FIRST_MS == SECOND
    assert RETRY_LAST_MS == 60 * SECOND
    assert schedule.pending is not None
    assert schedule.failures == 8
    well = done(schedule, T0 + MINUTE)
    assert (well.error, well.failures, well.runs, well.revision) == ("", 0, 1, schedule.revision + 1)


def test_a_failure_keeps_its_pause_through_other_changes():
    schedule = failed(failed(decided(fresh(), T0 + MINUTE), T0, "broken"), T0, "broken")
    assert updated(schedule, wanted(digest="other"), T0).due_at == T0 + 2 * SECOND


def test_a_schedule_whose_ticks_cannot_be_computed_backs_off_too():
    schedule = replace(fresh(), interval_ms=0, cron="0 9 * * *", timezone="Gone/Away")
    with pytest.raises(KeyError):
        decide(schedule, T0 + HOUR, ())
    assert failed(schedule, T0, "no such zone").due_at == T0 + SECOND


# -- late ticks ---------------------------------------------------------------------------------------


def test_every_tick_late_by_at_most_all_within_runs():
    schedule, fates = run_dry(fresh(all_within_ms=3 * MINUTE), T0 + 4 * MINUTE)
    assert fates == [(1, "start"), (2, "start"), (3, "start"), (4, "start")]
    assert (schedule.skipped, schedule.due_at) == (0, T0 + 5 * MINUTE)


@pytest.mark.parametrize(
    ("then", "fates", "skipped"),
    [
        ("latest", [(8, "start"), (9, "start"), (10, "start")], 7),
        ("skip", [(9, "start"), (10, "start")], 8),
        ("all", [(number, "start") for number in range(5, 11)], 4),
    ],
)
def test_older_ticks_collapse(then, fates, skipped):
    late = fresh(all_within_ms=MINUTE, then=then, window_ms=5 * MINUTE)
    schedule, found = run_dry(late, T0 + 10 * MINUTE)
    assert found == fates
    assert schedule.skipped == skipped
    assert schedule.due_at == T0 + 11 * MINUTE


@pytest.mark.parametrize("then", ["latest", "skip", "all"])
def test_ticks_outside_the_window_are_passed_over(then):
    """Nothing is left to run: what was passed over is one decision, and the next tick keeps its place."""
    late = fresh(interval_ms=HOUR, all_within_ms=0, then=then, window_ms=MINUTE)
    schedule, fates = run_dry(late, T0 + 5 * HOUR + 30 * MINUTE)
    assert fates == [(300, "skip")]
    assert (schedule.skipped, schedule.runs, schedule.due_at) == (5, 0, T0 + 6 * HOUR)


@pytest.mark.parametrize("then", ["latest", "skip", "all"])
def test_a_window_shorter_than_all_within_does_not_shorten_it(then):
    _, fates = run_dry(fresh(all_within_ms=3 * MINUTE, window_ms=0, then=then), T0 + 4 * MINUTE)
    assert fates == [(1, "start"), (2, "start"), (3, "start"), (4, "start")]


def test_a_tick_is_late_from_the_moment_its_jitter_ends():
    late = fresh(interval_ms=HOUR, all_within_ms=0, then="skip", jitter_ms=30 * MINUTE)
    due = fire_at(late, T0 + HOUR)
    assert due > T0 + HOUR
    assert decided(late, due - 1).pending is None
    assert decided(late, due).pending.action == "start"
    assert decided(late, due + 1).pending.action == "skip"


def test_a_year_of_missed_seconds_is_one_decision():
    year = 365 * 24 * HOUR
    schedule, fates = run_dry(fresh(interval_ms=SECOND, all_within_ms=0, then="latest"), T0 + year + 500)
    assert fates == [(year // MINUTE, "start")]
    assert schedule.skipped == year // SECOND - 1


def test_a_year_of_missed_minutes_of_a_cron_is_counted_up_to_a_bound():
    schedule, fates = run_dry(fresh(interval_ms=0, cron="* * * * *"), T0 + 365 * 24 * HOUR)
    assert [fate for _, fate in fates] == ["start", "start", "start"]
    assert schedule.skipped == COUNTED


# -- overlapping ticks --------------------------------------------------------------------------------


def busy(**definition) -> Schedule:
    """One execution runs, and the second tick is due."""
    return done(decided(fresh(**definition), T0 + MINUTE), T0 + MINUTE)


def test_allow_starts_whatever_runs_and_remembers_none():
    schedule = busy(overlap=Overlap.ALLOW)
    assert schedule.running == ()
    assert decided(schedule, T0 + 2 * MINUTE).pending.action == "start"


def test_skip_skips_while_one_runs():
    schedule, fates = run_dry(busy(overlap=Overlap.SKIP), T0 + 2 * MINUTE)
    assert fates == [(2, "skip")]
    assert (schedule.skipped, schedule.running) == (1, ("report@20270115T080100Z",))
    schedule, fates = run_dry(schedule, T0 + 3 * MINUTE, ended=schedule.running)
    assert fates == [(3, "start")]
    assert schedule.running == ("report@20270115T080300Z",)


def test_buffer_one_keeps_one_and_starts_it_when_nothing_runs():
    schedule, fates = run_dry(busy(overlap=Overlap.BUFFER_ONE), T0 + 3 * MINUTE)
    assert fates == [(2, "buffer"), (3, "skip")]
    assert (schedule.buffered, schedule.skipped) == (T0 + 2 * MINUTE, 1)
    ended = decided(schedule, T0 + 3 * MINUTE + 5, schedule.running)
    assert ended.pending == Pending(tick=T0 + 2 * MINUTE, action="start", execution_id="report@20270115T080200Z")
    after = done(ended, T0 + 3 * MINUTE + 6)
    assert (after.buffered, after.running, after.runs) == (None, ("report@20270115T080200Z",), 2)
    assert (after.grid_from, after.due_at) == (T0 + 3 * MINUTE, T0 + 4 * MINUTE), "an older tick moves nothing back"


def test_a_buffered_tick_looks_itself_should_it_not_be_told():
    schedule = busy(overlap=Overlap.BUFFER_ONE, interval_ms=HOUR, start_at=T0 + MINUTE)
    buffered = done(decided(schedule, T0 + MINUTE + HOUR), T0 + MINUTE + HOUR)
    assert buffered.due_at == T0 + MINUTE + HOUR + LOOK_MS
    assert decided(buffered, buffered.due_at).due_at == buffered.due_at + LOOK_MS


def test_cancel_other_cancels_what_runs_and_starts():
    schedule = busy(overlap=Overlap.CANCEL_OTHER)
    due = decided(schedule, T0 + 2 * MINUTE)
    assert (due.pending.action, due.pending.cancels) == ("start", ("report@20270115T080100Z",))
    assert done(due, T0 + 2 * MINUTE).running == ("report@20270115T080200Z",)
    assert decided(schedule, T0 + 2 * MINUTE, schedule.running).pending.cancels == ()


# -- beginning and end --------------------------------------------------------------------------------


def test_start_at_is_a_tick_of_an_interval_and_its_grid():
    schedule = fresh(start_at=T0 + 90 * SECOND)
    assert schedule.due_at == T0 + 90 * SECOND
    assert done(decided(schedule, schedule.due_at), schedule.due_at).due_at == T0 + 150 * SECOND


def test_start_at_in_the_past_gives_the_grid_and_catches_nothing_up():
    assert fresh(start_at=T0 - 90 * SECOND).due_at == T0 + 30 * SECOND


def test_no_tick_of_a_cron_before_start_at():
    assert fresh(interval_ms=0, cron="0 * * * *", start_at=T0 + 3 * HOUR).due_at == T0 + 3 * HOUR


def test_end_at_is_the_last_moment_for_a_tick():
    schedule, fates = run_dry(fresh(end_at=T0 + 2 * MINUTE, all_within_ms=HOUR), T0 + 5 * MINUTE)
    assert fates == [(1, "start"), (2, "start")]
    assert schedule.due_at is None
    assert fresh(end_at=T0 + 2 * MINUTE - 1, all_within_ms=HOUR).due_at == T0 + MINUTE
    assert fresh(end_at=T0).due_at is None


def test_a_tick_before_the_end_that_is_too_late_is_passed_over():
    late = fresh(end_at=T0 + 2 * MINUTE, all_within_ms=0, window_ms=0)
    schedule, fates = run_dry(late, T0 + 5 * MINUTE)
    assert (fates, schedule.skipped, schedule.due_at) == ([(2, "skip")], 2, None)


def test_max_runs():
    schedule, fates = run_dry(fresh(max_runs=2, all_within_ms=HOUR), T0 + 5 * MINUTE)
    assert fates == [(1, "start"), (2, "start")]
    assert schedule.due_at is None


# -- pause --------------------------------------------------------------------------------------------


def test_a_pause_and_the_next_regular_tick():
    still = paused(fresh(all_within_ms=HOUR), "deploy", T0 + 30 * SECOND)
    assert (still.paused, still.note, still.due_at) == (True, "deploy", None)
    assert decided(still, T0 + 5 * MINUTE).pending is None
    going = resumed(still, T0 + 5 * MINUTE + 30 * SECOND)
    assert (going.paused, going.note, going.due_at) == (False, "", T0 + 6 * MINUTE)
    assert run_dry(going, T0 + 6 * MINUTE)[1] == [(6, "start")]


def test_a_pause_within_one_interval_moves_nothing():
    schedule = fresh()
    assert resumed(paused(schedule, "", T0 + SECOND), T0 + 2 * SECOND).due_at == schedule.due_at


def test_pausing_and_resuming_twice_is_nothing_new():
    schedule = fresh()
    still = paused(schedule, "deploy", T0)
    assert paused(still, "deploy", T0) is None
    assert paused(still, "another note", T0).note == "another note"
    assert resumed(schedule, T0) is None


def test_what_was_decided_before_a_pause_is_carried_out():
    still = paused(decided(fresh(), T0 + MINUTE), "", T0 + MINUTE)
    assert still.due_at == T0 + MINUTE
    assert done(still, T0 + MINUTE).runs == 1
    assert done(still, T0 + MINUTE).due_at is None


def test_a_buffered_tick_waits_for_the_end_of_a_pause():
    schedule, _ = run_dry(busy(overlap=Overlap.BUFFER_ONE), T0 + 2 * MINUTE)
    still = paused(schedule, "", T0 + 2 * MINUTE)
    idle = decided(still, T0 + 3 * MINUTE, still.running)
    assert (idle.pending, idle.due_at) == (None, None)
    going = resumed(idle, T0 + 4 * MINUTE)
    assert going.due_at == T0 + 4 * MINUTE
    assert decided(going, T0 + 4 * MINUTE).pending.tick == T0 + 2 * MINUTE


# -- defined anew -------------------------------------------------------------------------------------


def test_ensured_again_is_nothing_to_write_however_often():
    schedule = fresh()
    assert ensured(schedule, wanted(), T0 + 30 * SECOND) is None
    assert ensured(schedule, wanted(input=b"sealed anew"), T0 + 30 * SECOND) is None, "the digest is what is compared"


def test_another_input_keeps_the_tick_that_is_waited_for():
    schedule = ensured(fresh(), wanted(input=b"other", digest="other"), T0 + 30 * SECOND)
    assert (schedule.revision, schedule.input, schedule.digest) == (2, b"other", "other")
    assert (schedule.due_at, schedule.created_at, schedule.updated_at) == (T0 + MINUTE, T0, T0 + 30 * SECOND)


def test_another_input_keeps_ticks_that_are_overdue():
    _, fates = run_dry(
        updated(fresh(all_within_ms=HOUR), wanted(all_within_ms=HOUR, digest="x"), T0 + 150 * SECOND), T0 + 3 * MINUTE
    )
    assert fates == [(1, "start"), (2, "start"), (3, "start")]


@pytest.mark.parametrize(
    "change", [{"interval_ms": 0, "cron": "0 9 * * *"}, {"interval_ms": 7 * MINUTE}, {"start_at": T0 - 7}]
)
def test_another_cadence_is_armed_from_now_on(change):
    now = T0 + 30 * MINUTE
    after = ensured(fresh(all_within_ms=HOUR), wanted(all_within_ms=HOUR, **change), now)
    assert after.grid_from == now
    assert after.due_at > now


def test_an_interval_that_is_changed_twice_a_minute_still_fires():
    """Whatever is deployed how often: the grid is anchored where the schedule was created."""
    schedule = fresh()
    for number in range(1, 4):
        schedule = ensured(schedule, wanted(digest=str(number)), T0 + number * 25 * SECOND)
    assert schedule.due_at == T0 + MINUTE


def test_history_outlives_a_change_and_what_is_pending_is_carried_out():
    due = decided(busy(overlap=Overlap.SKIP), T0 + 2 * MINUTE, ("report@20270115T080100Z",))
    after = updated(due, wanted(interval_ms=HOUR), T0 + 2 * MINUTE)
    assert (after.pending, after.runs, after.last_tick) == (due.pending, 1, T0 + MINUTE)
    assert done(after, T0 + 2 * MINUTE).due_at == T0 + HOUR


def test_a_buffered_tick_starts_when_overlaps_become_allowed():
    schedule, _ = run_dry(busy(overlap=Overlap.BUFFER_ONE), T0 + 2 * MINUTE)
    after = updated(schedule, wanted(overlap=Overlap.ALLOW), T0 + 2 * MINUTE + 1)
    assert after.due_at == T0 + 2 * MINUTE + 1
    assert decided(after, after.due_at).pending.tick == T0 + 2 * MINUTE


@pytest.mark.parametrize(("first", "then"), [({"max_runs": 1}, {"max_runs": 2}), ({"end_at": T0 + MINUTE}, {})])
def test_what_was_over_and_goes_on_does_not_catch_up(first, then):
    over, _ = run_dry(fresh(all_within_ms=HOUR, **first), T0 + MINUTE)
    assert over.due_at is None
    assert updated(over, wanted(all_within_ms=HOUR, **then), T0 + 10 * MINUTE).due_at == T0 + 11 * MINUTE


def test_a_pause_outlives_a_change():
    assert updated(paused(fresh(), "deploy", T0), wanted(interval_ms=HOUR), T0).due_at is None


def test_a_clock_that_was_set_back_repeats_no_tick():
    schedule, _ = run_dry(fresh(), T0 + MINUTE)
    for after in (
        updated(schedule, wanted(interval_ms=30 * SECOND), T0 - HOUR),
        resumed(paused(schedule, "", T0 - HOUR), T0 - HOUR),
    ):
        assert after.grid_from == schedule.grid_from
        assert after.due_at > T0 + MINUTE


# -- jitter, and what is shown ------------------------------------------------------------------------


def test_jitter_is_the_same_each_time_and_not_for_all():
    schedule = fresh(interval_ms=HOUR, jitter_ms=10 * MINUTE)
    delays = [fire_at(schedule, T0 + number * HOUR) - T0 - number * HOUR for number in range(50)]
    assert delays == [fire_at(schedule, T0 + number * HOUR) - T0 - number * HOUR for number in range(50)]
    assert all(0 <= delay <= 10 * MINUTE for delay in delays)
    assert max(delays) > 8 * MINUTE
    assert min(delays) < 2 * MINUTE
    assert fire_at(replace(schedule, id="other"), T0) != fire_at(schedule, T0)
    assert schedule.due_at == fire_at(schedule, T0 + HOUR)


def test_jitter_longer_than_the_interval_keeps_the_order_of_ticks():
    schedule = fresh(jitter_ms=HOUR)
    for number in range(100):
        tick = T0 + number * MINUTE
        assert tick <= fire_at(schedule, tick) < tick + MINUTE


def test_the_next_fires():
    assert next_fires(fresh(), 3, T0) == [T0 + MINUTE, T0 + 2 * MINUTE, T0 + 3 * MINUTE]
    assert next_fires(fresh(), 2, T0 + 10 * MINUTE) == [T0 + 11 * MINUTE, T0 + 12 * MINUTE], (
        "not those that were missed"
    )
    assert next_fires(fresh(end_at=T0 + 2 * MINUTE), 9, T0) == [T0 + MINUTE, T0 + 2 * MINUTE]
    assert next_fires(fresh(max_runs=1), 9, T0) == [T0 + MINUTE]
    assert next_fires(paused(fresh(), "", T0), 9, T0) == []


def test_the_next_fires_are_those_that_will_be_due():
    schedule = fresh(interval_ms=HOUR, jitter_ms=40 * MINUTE)
    for now in range(T0, T0 + 10 * HOUR, 17 * MINUTE):
        expected = [fire_at(schedule, T0 + number * HOUR) for number in range(1, 20)]
        assert next_fires(schedule, 3, now) == [fire for fire in expected if fire > now][:3]
