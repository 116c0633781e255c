"""Schedules at random: whoever crashes and whenever, no tick is decided twice, missed, or both skipped and run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runner.core.grid import cadence_of, execution_id, fire_at, next_fires
from runner.core.ticks import decide, done, ensured, failed, paused, resumed
from runner.records import Overlap, Schedule

T0 = 1_800_000_000_000
MINUTE = 60_000
DEFINITIONS = st.fixed_dictionaries(
    {
        "overlap": st.sampled_from(Overlap),
        "then": st.sampled_from(["latest", "all", "skip"]),
        "all_within_ms": st.sampled_from([0, MINUTE, 5 * MINUTE]),
        "window_ms": st.sampled_from([0, 3 * MINUTE, 60 * MINUTE]),
        "jitter_ms": st.sampled_from([0, 20_000, 60 * MINUTE]),
        "start_at": st.sampled_from([None, T0 - 12_345, T0 + 5 * MINUTE]),
        "end_at": st.sampled_from([None, None, T0 + 60 * MINUTE]),
        "max_runs": st.sampled_from([None, None, 3]),
    }
)
CADENCES = st.sampled_from([{"interval_ms": MINUTE}, {"interval_ms": 37_000}, {"cron": "*/2 * * * *"}])


def schedule_of(**definition) -> Schedule:
    plain = {"id": "s", "workflow": "w", "version": 1, "queue": "q", "input": b"", "digest": ""}
    return Schedule(**{**plain, **definition})


class Life(RuleBasedStateMachine):
    """One schedule, the store's clock, the executions there are, and schedulers that may stop after any write."""

    @initialize(definition=DEFINITIONS, cadence=CADENCES)
    def create(self, definition, cadence):
        self.now = T0
        self.definition = {**definition, **cadence}
        self.schedule = ensured(None, schedule_of(**self.definition), T0)
        self.running: set[str] = set()
        self.started: list[str] = []
        self.fates: dict[int, str] = {}
        self.passed = 0
        self.stirred = False

    # -- what happens ---------------------------------------------------------------------------------

    @rule(ms=st.one_of(st.integers(1, 3 * MINUTE), st.integers(1, 90 * MINUTE)))
    def time_passes(self, ms):
        self.now += ms

    @rule()
    def time_passes_until_it_is_due(self):
        self.now = max(self.now, self.schedule.due_at or 0)

    @rule(crash=st.sampled_from(["", "", "", "decided", "carried out", "failed"]))
    @precondition(lambda self: self.stirred or self.is_due())
    def a_scheduler_looks(self, crash):
        self.stirred = False
        if self.schedule.pending is None:
            self.decides()
        if self.schedule.pending is None or crash == "decided":
            return
        if crash == "failed":
            self.write(failed(self.schedule, self.now, "no answer"))
            return
        self.carries_out()
        if crash != "carried out":
            self.write(done(self.schedule, self.now))

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.running)
    def an_execution_ends(self, which):
        self.running.discard(sorted(self.running)[which % len(self.running)])
        self.stirred = True

    @rule()
    def somebody_pauses_it(self):
        self.write(paused(self.schedule, "", self.now))

    @rule()
    def somebody_resumes_it(self):
        self.write(resumed(self.schedule, self.now))

    @rule(digest=st.sampled_from("ab"), cadence=st.none() | CADENCES)
    def it_is_defined_anew(self, digest, cadence):
        if cadence is not None:
            self.definition = {**self.definition, "interval_ms": 0, "cron": "", **cadence}
        due_at = self.schedule.due_at
        self.write(ensured(self.schedule, schedule_of(**self.definition, digest=digest), self.now))
        if cadence is None and self.schedule.pending is None and self.schedule.buffered is None and due_at is not None:
            assert self.schedule.due_at == due_at

    # -- what it does ---------------------------------------------------------------------------------

    def is_due(self) -> bool:
        return self.schedule.due_at is not None and self.schedule.due_at <= self.now

    def write(self, after: Schedule | None):
        if after is not None:
            assert after.revision == self.schedule.revision + 1
            assert after.grid_from >= self.schedule.grid_from
            self.schedule = after

    def decides(self):
        before = self.schedule
        after = decide(before, self.now, set(before.running) - self.running)
        self.write(after)
        if after.pending is None:
            assert after.due_at is None or after.due_at > self.now, "a look that is asked for at once again"
            assert before.paused or self.runs_out() or not self.late_ticks(before)
        elif after.pending.tick == before.buffered:
            self.a_buffered_tick_starts()
        else:
            self.a_tick_is_decided(before, after)

    def a_buffered_tick_starts(self):
        pending = self.schedule.pending
        assert pending.action == "start"
        assert self.fates[pending.tick] == "buffer"
        assert not self.running
        self.fates[pending.tick] = "start"

    def a_tick_is_decided(self, before: Schedule, after: Schedule):
        pending = after.pending
        assert not before.paused
        assert pending.tick not in self.fates
        assert pending.tick > before.grid_from
        due = self.late_ticks(before)
        over = [tick for tick in due if tick < pending.tick]
        assert pending.tick in due
        assert self.too_late(before, due) == [*over, *([pending.tick] if self.is_late(pending.tick, due) else [])]
        assert after.skipped - before.skipped == len(over)
        assert pending.action == self.expected_action(before, pending.tick, due)
        self.fates |= dict.fromkeys(over, "passed over")
        self.fates[pending.tick] = pending.action
        self.passed += len(over)

    def carries_out(self):
        """As often as it is found: the execution's id makes the second time harmless."""
        pending = self.schedule.pending
        if pending.action != "start":
            return
        assert pending.execution_id == execution_id("s", pending.tick)
        self.running -= set(pending.cancels)
        if pending.execution_id not in self.started:
            if self.schedule.overlap is not Overlap.ALLOW:
                assert not self.running, "two at once"
            self.started.append(pending.execution_id)
            self.running.add(pending.execution_id)

    # -- what is expected -----------------------------------------------------------------------------

    def runs_out(self) -> bool:
        return self.schedule.max_runs is not None and self.schedule.runs >= self.schedule.max_runs

    def late_ticks(self, schedule: Schedule) -> list[int]:
        """All that are due and not decided, found one by one."""
        since, found = max(schedule.grid_from, (schedule.start_at or 0) - 1), []
        tick = cadence_of(schedule).next_after(since)
        while fire_at(schedule, tick) <= self.now and (schedule.end_at is None or tick <= schedule.end_at):
            found.append(tick)
            tick = cadence_of(schedule).next_after(tick)
        return found

    def too_late(self, schedule: Schedule, due: list[int]) -> list[int]:
        """Those that are not to run: `then`, as its documentation has it."""
        old = [tick for tick in due if self.now - fire_at(schedule, tick) > schedule.all_within_ms]
        outside = [tick for tick in old if self.now - fire_at(schedule, tick) > schedule.window_ms]
        match schedule.then:
            case "skip":
                return old
            case "all":
                return outside
            case _:
                return old if old == outside else old[:-1]

    def is_late(self, tick: int, due: list[int]) -> bool:
        return tick in self.too_late(self.schedule, due)

    def expected_action(self, before: Schedule, tick: int, due: list[int]) -> str:
        if self.is_late(tick, due):
            assert tick == due[-1]
            return "skip"
        busy = bool(self.running & set(before.running))
        match before.overlap:
            case Overlap.SKIP if busy:
                return "skip"
            case Overlap.BUFFER_ONE if busy:
                return "buffer" if before.buffered is None else "skip"
            case _:
                return "start"

    # -- always ---------------------------------------------------------------------------------------

    @invariant()
    def it_is_looked_at_while_there_is_something_to_do(self):
        schedule = self.schedule
        if schedule.pending is not None:
            assert schedule.due_at is not None
        elif not schedule.paused and not self.runs_out():
            if (fires := next_fires(schedule, 1, self.now)) or self.late_ticks(schedule):
                assert schedule.due_at is not None
                assert schedule.due_at <= (fires or [schedule.due_at])[0]
            assert schedule.buffered is None or schedule.due_at is not None

    @invariant()
    def what_is_counted_is_what_happened(self):
        pending = self.schedule.pending
        fates = {tick: fate for tick, fate in self.fates.items() if pending is None or tick != pending.tick}
        assert self.schedule.runs == sum(fate == "start" for fate in fates.values())
        assert self.schedule.skipped == self.passed + sum(fate == "skip" for fate in fates.values())
        assert len(self.started) == len(set(self.started))
        assert self.schedule.max_runs is None or self.schedule.runs <= self.schedule.max_runs


def test_schedules_at_random():
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=200,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
