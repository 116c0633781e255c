"""Plans: replayed by their seed, spread over the run, and made of faults that exist."""

from __future__ import annotations

from collections import Counter

from tests.faults.bounds import GREW, SLOW
from tests.faults.checker import KINDS
from tests.faults.faults import FAULTS
from tests.faults.mix import PER_MINUTE, SHORT, mixed
from tests.faults.plan import plan
from tests.servers import ROOT


def test_the_same_seed_is_the_same_plan_and_another_one_another() -> None:
    wanted = {"worker.kill": 20, "redis.kill": 3}
    assert plan(7, 1_000, wanted) == plan(7, 1_000, wanted)
    assert plan(7, 1_000, wanted) != plan(8, 1_000, wanted)


def test_each_fault_strikes_as_often_as_wanted_all_over_the_run() -> None:
    strikes = plan(7, 1_000, {"worker.kill": 200, "redis.kill": 10, "way.cut": 0})
    assert Counter(strike.fault for strike in strikes) == {"worker.kill": 200, "redis.kill": 10}
    assert [strike.after for strike in strikes] == sorted(strike.after for strike in strikes)
    quarters = Counter((strike.fault, (strike.after - 50) * 4 // 900) for strike in strikes if strike.after < 950)
    assert all(45 <= quarters["worker.kill", quarter] <= 55 for quarter in range(4))
    assert all(quarters["redis.kill", quarter] >= 2 for quarter in range(4))


def test_one_more_of_a_kind_moves_no_other() -> None:
    few = plan(7, 1_000, {"worker.kill": 20, "redis.kill": 3})
    more = plan(7, 1_000, {"worker.kill": 20, "redis.kill": 4})
    assert [one for one in few if one.fault == "worker.kill"] == [one for one in more if one.fault == "worker.kill"]


def test_the_mixes_are_made_of_all_faults_there_are() -> None:
    assert set(SHORT) == set(PER_MINUTE) == set(FAULTS)
    assert set(mixed(10)) == set(FAULTS)
    assert mixed(0.5)["worker.kill"] == round(PER_MINUTE["worker.kill"] / 2)


def test_the_page_names_every_fault_and_every_verdict() -> None:
    page = (ROOT / "docs" / "faults.md").read_text()
    assert {name for name in (*FAULTS, *KINDS, GREW, SLOW) if f"`{name}`" not in page} == set()
