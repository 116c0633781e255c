"""Between a parent and its child nothing goes wrong that these searches can find, and each mechanism is needed for it."""

from __future__ import annotations

import pytest

from tests.model.family.protocol import check
from tests.model.family.rules import HARMLESS, Faults, Off, Variant, shows

CAUGHT = [off for off in Off if off not in HARMLESS and off is not Off.NOTHING]


@pytest.mark.parametrize(
    ("variant", "faults", "at_least"),
    [
        pytest.param(Variant(), Faults(kill=1, copy=1), 500, id="waits: kill, late copy"),
        pytest.param(Variant(timeout=True), Faults(kill=1, cancel=1), 2_000, id="waits for a while: kill, cancel"),
        pytest.param(Variant(stays=True), Faults(cancel=1, kill=2), 500, id="is cancelled: two kills"),
        pytest.param(Variant(deadline=True), Faults(cancel_child=1, force=1), 200, id="however the child ends"),
        pytest.param(Variant("leaves", stays=True), Faults(kill=1, copy=1), 500, id="leaves: kill, late copy"),
        pytest.param(Variant("leaves", policy="abandon", stays=True), Faults(kill=2), 50, id="leaves for good: kills"),
        pytest.param(Variant("hurries", stays=True), Faults(kill=1, cancel=1), 2_000, id="hurries: kill, cancel"),
        pytest.param(Variant("hurries"), Faults(copy=1), 2_000, id="hurries: late copy"),
        pytest.param(Variant("continues", timeout=True), Faults(kill=1), 2_000, id="continues: kill"),
        pytest.param(Variant("follows"), Faults(kill=1, copy=1), 2_000, id="follows: kill, late copy"),
        pytest.param(Variant("insists"), Faults(kill=1), 2_000, id="insists: kill"),
        pytest.param(Variant(), Faults(force=1, reopen=1), 2_000, id="is reopened"),
        pytest.param(Variant(policy="abandon"), Faults(force=1, reopen=1), 2_000, id="is reopened, the child goes on"),
        pytest.param(Variant("follows"), Faults(reopen=1, revive=1), 500, id="both are reopened"),
        pytest.param(Variant(timeout=True, stays=True), Faults(force=1, revive=1), 500, id="the child is reopened"),
        pytest.param(
            Variant("hurries", stays=True), Faults(force=1, revive=1), 500, id="hurries, the child is reopened"
        ),
    ],
)
def test_nothing_is_wrong_and_nobody_waits_in_vain(variant, faults, at_least):
    report = check(variant, faults)
    assert report.finding is None, str(report.finding)
    assert report.states > at_least  # it has really looked


@pytest.mark.parametrize("off", CAUGHT, ids=lambda off: off.name)
def test_without_a_mechanism_something_goes_wrong(off):
    report = check(*shows(off), off)
    assert report.finding is not None, off.value


@pytest.mark.parametrize("off", sorted(HARMLESS, key=lambda off: off.name), ids=lambda off: off.name)
def test_what_only_saves_a_parcel_can_be_taken_out(off):
    report = check(*shows(off), off)
    assert report.finding is None, str(report.finding)


@pytest.mark.parametrize(
    ("off", "what"),
    [
        (Off.SWEEP, "nothing faultless leads to an end"),
        (Off.TOMBSTONE, "a child runs on after its parent's end"),
        (Off.REPEATED_START, "one child is started twice"),
        (Off.REPEATED_NOTICE, "one end is told twice"),
        (Off.OUTBOX_WITH_CHANGE, "a start that was recorded is lost"),
        (Off.FOLLOW_AFTER_START, "its own child is not known to it"),
        (Off.REOPENED_IS_TOLD, "a child runs on after its parent's end"),
        (Off.ASKS_AGAIN, "it waits for an end that nobody will tell it of"),
    ],
)
def test_what_goes_wrong_is_what_the_mechanism_is_there_for(off, what):
    finding = check(*shows(off), off).finding
    assert finding is not None and finding.what == what
