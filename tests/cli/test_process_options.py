"""What worker and scheduler make of their options."""

from __future__ import annotations

import pytest

from runner.cli import scheduler as module
from runner.scheduler import SchedulerOptions

SERVERS = ("--store", "redis://127.0.0.1:1/0", "--broker", "amqp://127.0.0.1:1/")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SchedulerOptions]:
    """The options of schedulers that would run."""
    asked: list[SchedulerOptions] = []

    async def schedule(_store: object, _broker: object, options: SchedulerOptions, _probed: object) -> None:
        asked.append(options)

    monkeypatch.setattr(module, "_schedule", schedule)
    return asked


def test_a_scheduler_watches_its_loop_and_ends_for_a_standby_when_it_stands_still(call, asked):
    assert call("scheduler", "--namespace", "n", *SERVERS).code == 0
    assert [one.watch_loop for one in asked] == [True]


@pytest.mark.parametrize(("given", "seconds"), [("3", 3.0), ("2.5s", 2.5), ("500ms", 0.5), ("1m", 60.0)])
def test_times_are_seconds_or_have_a_unit(call, asked, given, seconds):
    assert call("scheduler", "--namespace", "n", *SERVERS, "--lease", given).code == 0
    assert [one.lease_s for one in asked] == [seconds]


@pytest.mark.parametrize("given", ["0", "0s", "-1", "soon"])
def test_a_lease_of_no_time_is_refused(call, given):
    told = call("scheduler", "--namespace", "n", *SERVERS, "--lease", given)
    assert told.code == 2
    assert "--lease" in told.err
