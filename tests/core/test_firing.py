"""From a tick to what the store is asked for: always the same, whoever asks."""

from __future__ import annotations

from dataclasses import replace

from runner.firing import cancels_of, misstarted, start_of
from runner.records import Overlap, Pending
from runner.transactions import Started
from tests.contract.kit import a_schedule

FIRST = "s-1@20270313T140000Z"


def test_asked_twice_it_is_the_same_start() -> None:
    assert start_of(a_schedule(), FIRST) == start_of(a_schedule(revision=7, due_at=5), FIRST)
    assert start_of(a_schedule(), FIRST).request == f"schedule:{FIRST}"


def test_an_execution_is_kept_for_as_long_as_its_tick_may_be_decided() -> None:
    short = replace(a_schedule(), retention_ms=5, window_ms=3_600_000)
    assert start_of(short, FIRST).retention_ms == 3_600_000
    assert start_of(replace(short, retention_ms=7_200_000), FIRST).retention_ms == 7_200_000


def test_a_schedule_hears_of_ends_where_it_cares() -> None:
    parents = {policy: start_of(replace(a_schedule(), overlap=policy), FIRST).parent for policy in Overlap}
    assert parents.pop(Overlap.ALLOW) == ""
    assert set(parents.values()) == {"@s-1"}


def test_a_cancel_is_one_for_each_that_is_to_go_and_one_however_often_asked() -> None:
    assert cancels_of(a_schedule()) == []
    pending = Pending(tick=1, action="start", execution_id=FIRST, cancels=("a", "b"))
    asked = cancels_of(replace(a_schedule(), pending=pending))
    assert [(one.id, one.kind, one.request) for one in asked] == [
        ("a", "cancel", f"cancel:{FIRST}"),
        ("b", "cancel", f"cancel:{FIRST}"),
    ]


def test_an_id_that_is_anothers_is_told() -> None:
    start = start_of(a_schedule(), FIRST)
    assert misstarted(start, Started(new=True, digest="other", wake=None)) == ""
    assert misstarted(start, Started(new=False, digest=start.digest, wake=None)) == ""
    assert FIRST in misstarted(start, Started(new=False, digest="other", wake=None))
