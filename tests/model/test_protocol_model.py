"""The protocol as it is built has nothing wrong with it that these searches can find, and needs what it is made of."""

from __future__ import annotations

import pytest

from tests.model.protocol import check
from tests.model.rules import HARMLESS, Faults, Off, Variant, shows

CAUGHT = [off for off in Off if off not in HARMLESS and off is not Off.NOTHING]


@pytest.mark.parametrize(
    ("variant", "faults"),
    [
        pytest.param(Variant(), Faults(kill=1, loss=1, drain=1), id="kill, loss, SIGTERM"),
        pytest.param(Variant(), Faults(pause=1, reply=1), id="zombie, lost reply", marks=pytest.mark.slow),
        pytest.param(Variant(timeout=False), Faults(kill=1, reply=1), id="no timeout: kill, lost reply"),
        pytest.param(Variant(cancel=True), Faults(kill=1), id="cancel: kill"),
        pytest.param(Variant(deadline=True), Faults(kill=1), id="deadline: kill"),
        pytest.param(Variant(retry=True), Faults(kill=1), id="new attempt: kill"),
        pytest.param(Variant(cancel=True, deadline=True, retry=True), Faults(), id="everything, and no fault"),
    ],
)
def test_nothing_is_wrong_and_nothing_gets_stuck(variant, faults):
    report = check(variant, faults)
    assert report.finding is None, str(report.finding)
    assert report.states > 5_000  # it has really looked


@pytest.mark.parametrize("off", CAUGHT, ids=lambda off: off.name)
def test_without_a_mechanism_something_goes_wrong(off):
    report = check(*shows(off), off)
    assert report.finding is not None, off.value


@pytest.mark.parametrize("off", sorted(HARMLESS, key=lambda off: off.name), ids=lambda off: off.name)
def test_what_only_saves_time_can_be_taken_out_alone(off):
    report = check(*shows(off), off)
    assert report.finding is None, str(report.finding)


def test_a_recorded_step_is_called_again_by_a_worker_that_does_not_look_at_its_clock():
    finding = check(*shows(Off.LOCAL_DEADLINE), Off.LOCAL_DEADLINE).finding
    assert finding is not None and finding.what == "step A is called although its result is recorded"


def test_without_the_sweep_a_producer_that_dies_before_its_publish_is_waited_for_for_ever():
    finding = check(*shows(Off.OVERDUE), Off.OVERDUE).finding
    assert finding is not None and finding.way == ("producer: start", "kill -9 of the producer before its publish")
