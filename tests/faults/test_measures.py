"""What is measured beside the verdicts: recovery after kills, growth, progress."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner.records import AuditEntry
from tests.e2e import ledger
from tests.faults.bounds import (
    CALLS_MIN,
    GREW,
    PROCESS_KIB_PER_HOUR,
    REDIS_KIB_PER_HOUR,
    SLOW,
    TAKEN_OVER_MIN,
    grown,
    slow,
)
from tests.faults.progress import Progress
from tests.faults.recovery import recoveries, share
from tests.faults.vitals import LOOKS_MIN, Look, Trend, handles, resident, trend

AHEAD_S = 100.0  # of the store's clock is the ledger's


def claim(at_s: float, worker: str) -> AuditEntry:
    return row(at_s, {"from": "pending", "to": "running", "worker": worker})


def row(at_s: float, fields: dict[str, str]) -> AuditEntry:
    return AuditEntry(execution_id="e", at=round(at_s * 1000), kind="status", fields=fields)


def kill(at_s: float, name: str, *, role: str = "worker", how: str = "SIGKILL") -> ledger.Line:
    return {"kind": "ended", "at": at_s + AHEAD_S, "role": role, "name": name, "how": how, "victim": 1, "pid": 2}


HELD = [claim(10, "one"), row(14, {"from": "running", "to": "pending"}), claim(14.5, "two")]


def test_recovery_is_from_the_kill_to_the_next_claim() -> None:
    assert recoveries([kill(11, "one")], {"e": HELD}, AHEAD_S) == [pytest.approx(3.5)]


@pytest.mark.parametrize(
    "killed",
    [
        kill(9, "one"),  # before it had it
        kill(14.2, "one"),  # after it had lost it
        kill(11, "two"),  # another one
        kill(11, "one", how="SIGTERM"),
        kill(11, "one", role="scheduler"),
    ],
)
def test_who_did_not_hold_it_has_left_nothing_to_recover(killed: ledger.Line) -> None:
    assert recoveries([killed], {"e": HELD}, AHEAD_S) == []


def test_each_death_counts_for_itself() -> None:
    trail = [*HELD, row(20, {"from": "running", "to": "pending"}), claim(20, "three")]
    assert recoveries([kill(11, "one"), kill(16, "two")], {"e": trail}, AHEAD_S) == [
        pytest.approx(3.5),
        pytest.approx(4),
    ]


def test_the_share_of_a_sorted_list() -> None:
    seconds = [float(n) for n in range(100)]
    assert (share(seconds, 0.5), share(seconds, 0.99), share([], 0.99)) == (50, 99, 0)


def looks(*kib: float) -> list[Look]:
    return [Look(at=10.0 * place, kib=one, handles=place) for place, one in enumerate(kib)]


def test_growth_is_that_of_the_end_and_by_the_hour() -> None:
    warming, steady = [0.0, 5_000.0, 9_000.0, 9_500.0], [10_000.0 + 10 * place for place in range(LOOKS_MIN)]
    told = trend("worker", looks(*warming, *steady))
    assert told.kib_per_hour == pytest.approx(3_600, rel=0.01)
    assert told.kib == steady[-1]
    first = round((len(warming) + LOOKS_MIN) / 3)
    assert told.handles == (first, first + (len(warming) + LOOKS_MIN - first) // 2)
    assert told.hours == pytest.approx(10 * (len(warming) + LOOKS_MIN - 1 - first) / 3600)


def test_who_did_not_live_long_has_no_growth() -> None:
    assert trend("worker", looks(1.0, 2.0)).kib_per_hour is None


def steady(**changes: object) -> Trend:
    one = Trend(what="worker 7", kib=60_000, hours=0.66, kib_per_hour=200.0, handles=(20, 22))
    return replace(one, **changes)  # type: ignore[arg-type]


def at_work(*tasks: int, pid: int = 7) -> list[ledger.Line]:
    return [{"kind": "called", "pid": pid, "tasks": one} for one in tasks]


def test_what_stays_as_it_is_has_not_grown() -> None:
    lines = at_work(*([90, 31, 44] * CALLS_MIN))
    assert list(grown([steady(), steady(what="redis", kib_per_hour=2_000.0), steady(kib_per_hour=None)], lines)) == []
    short = steady(hours=0.1, kib_per_hour=3 * PROCESS_KIB_PER_HOUR)
    assert list(grown([short], [])) == [], "a step of the allocator"


@pytest.mark.parametrize(
    "leaks",
    [
        steady(kib_per_hour=PROCESS_KIB_PER_HOUR + 1.0),
        steady(what="redis", kib_per_hour=REDIS_KIB_PER_HOUR + 1.0),
        steady(handles=(20, 24)),
    ],
)
def test_what_grows_by_more_than_it_may_is_found(leaks: Trend) -> None:
    assert [one.kind for one in grown([steady(), leaks], [])] == [GREW]


def test_tasks_that_are_never_so_few_again_are_found() -> None:
    later = at_work(*([30] * 2 * CALLS_MIN), *([52, 47] * CALLS_MIN))
    assert [one.kind for one in grown([], [*later, *at_work(1, 90, pid=8)])] == [GREW]


def test_recovery_is_slow_beyond_the_lease_and_two_seconds() -> None:
    enough = [1.0] * TAKEN_OVER_MIN
    assert list(slow([*enough, 4.9], 3.0)) == []
    assert [one.kind for one in slow([*enough, 5.1], 3.0)] == [SLOW]
    assert [one.kind for one in slow(enough[1:], 3.0)] == [SLOW], "too few to say it"


def test_a_process_can_be_looked_at() -> None:
    me = os.getpid()
    assert resident([me])[me] > 1_000
    assert resident([]) == {}
    open_now = handles(me)
    assert open_now is None or open_now >= 3


def test_progress_is_what_the_ledger_says_by_now(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    progress = Progress(path)
    progress.look()
    for execution in ("a", "b", "a"):
        ledger.write(path, kind="started", execution=execution)
    ledger.write(path, kind="called", execution="a", step="ship")
    with path.open("a") as half:
        half.write('{"kind": "sta')
    for _ in range(2):
        progress.look()
        assert progress.started == ["a", "b"]
        assert progress.counts == {"started": 3, "called": 1}
        assert progress.steps == {(os.getpid(), "called", "ship"): 1}
