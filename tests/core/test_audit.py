"""Rows of the audit trail, and the events that observers are told of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import pytest

from runner import audit, events
from runner.codec import encode
from runner.failures import Failure
from runner.records import AuditEntry, Entry, Notice, Plain
from runner.transactions import Complete, ContinueAsNew, End, Open


def entry(kind: str, outcome: str = "ok", payload: bytes = b"", *, id: str = "it", attempts: int = 1) -> Entry:
    return Entry(
        number=1, id=id, kind=kind, outcome=outcome, payload=payload, at=1_000, started_at=400, attempts=attempts
    )


def rows(
    *entries: Entry, opens: tuple[Open, ...] = (), names: Mapping[str, str] | None = None, end: End | None = None
) -> list[tuple[str, dict[str, Plain]]]:
    made = audit.rows("x-1", "w-1", entries, opens, now=2_000, names=names or {}, end=end, run=3)
    assert {row.execution_id for row in made} <= {"x-1"}
    return [(row.kind, dict(row.fields)) for row in made]


def failure(text: str = "boom") -> bytes:
    return Failure.of(ValueError(text), known={}, attempts=2).pack()


PERFORMED = {"id": "it", "attempts": 1, "duration_ms": 600, "worker": "w-1"}


@pytest.mark.parametrize("kind", ["step", "compensation"])
def test_a_performed_step_says_how_long_its_last_attempt_took_and_who_did_it(kind: str) -> None:
    assert rows(entry(kind)) == [(kind, {**PERFORMED, "outcome": "ok"})]


@pytest.mark.parametrize("outcome", ["failed", "timed_out", "refused"])
def test_a_step_that_failed_for_good_tells_its_last_attempt_first(outcome: str) -> None:
    told = rows(entry("step", outcome, failure(), attempts=2))
    assert told == [
        ("attempt_failed", {"id": "it", "attempt": 2, "error": "ValueError: boom", "again": False, "worker": "w-1"}),
        ("step", {**PERFORMED, "attempts": 2, "outcome": outcome}),
    ]


def test_an_attempt_that_is_to_be_tried_again_is_told_and_a_heartbeat_is_not() -> None:
    retry = Open(id="it", kind="step", name="ValueError: boom", after_ms=0, attempts=1, replace=True)
    beat = Open(id="it", kind="step", attempts=1, replace=True, details=b"50 %")
    assert rows(opens=(retry, beat)) == [
        ("attempt_failed", {"id": "it", "attempt": 1, "error": "ValueError: boom", "again": True, "worker": "w-1"})
    ]


def test_waits_are_told_when_they_open_and_when_they_are_over() -> None:
    opened = (
        Open(id="nap", kind="sleep", after_ms=5),
        Open(id="ok", kind="signal", name="approved"),
        Open(id="end", kind="ended", name="x-2"),
    )
    assert rows(opens=opened) == [
        ("wait", {"id": "nap", "wait": "sleep", "name": ""}),
        ("wait", {"id": "ok", "wait": "signal", "name": "approved"}),
        ("wait", {"id": "end", "wait": "ended", "name": "x-2"}),
    ]
    notice = Notice(execution_id="x-2", status="failed").pack()
    over = (entry("sleep", id="nap"), entry("signal", id="ok"), entry("ended", payload=notice, id="end"))
    assert rows(*over, names={"ok": "approved"}) == [
        ("sleep", {"id": "nap"}),
        ("signal", {"id": "ok", "name": "approved"}),
        ("ended", {"id": "end", "execution_id": "x-2", "status": "failed"}),
    ]
    assert rows(entry("signal", "timed_out"), names={"it": "approved"}) == [
        ("timeout", {"id": "it", "what": "signal", "name": "approved"})
    ]
    assert rows(entry("ended", "timed_out")) == [("timeout", {"id": "it", "what": "ended", "name": ""})]


def test_decisions_are_told_with_what_was_decided() -> None:
    told = rows(
        entry("switch", payload=encode("big")),
        entry("race", payload=encode("fast")),
        entry("patch"),
        entry("emit", payload=encode("paid")),
        entry("note", payload=encode(["approved", {"by": "ann"}])),
        entry("child", payload=encode(["x-2", "ship"])),
        entry("rollback", payload=encode(["a", "b"])),
    )
    assert told == [
        ("switch", {"id": "it", "case": "big"}),
        ("race", {"id": "it", "winner": "fast"}),
        ("patch", {"id": "it"}),
        ("emit", {"id": "it", "event": "paid"}),
        ("note", {"id": "it", "message": "approved", "fields": encode({"by": "ann"})}),
        ("child", {"id": "it", "execution_id": "x-2", "workflow": "ship"}),
        ("rollback", {"id": "it", "ids": encode(["a", "b"])}),
    ]


def test_the_next_run_is_told_and_other_ends_are_the_stores() -> None:
    assert rows(end=ContinueAsNew(input=b"")) == [("continued", {"run": 4})]
    assert rows(end=Complete(result=b"")) == []


def test_what_the_store_tells_itself_is_not_told_twice() -> None:
    assert rows(entry("cancel"), entry("attempt", "failed", failure())) == []


@pytest.mark.parametrize("kind", ["step", "ended", "switch", "note", "child", "rollback", "from the future"])
def test_no_payload_breaks_a_row(kind: str) -> None:
    for outcome in ("ok", "failed"):
        rows(entry(kind, outcome, b"\xc1"), entry(kind, outcome, b""), entry(kind, outcome, encode(7)))


def test_times_are_those_of_the_entries_and_waits_have_the_commits() -> None:
    made = audit.rows("x-1", "w-1", [entry("sleep")], [Open(id="nap", kind="sleep")], now=2_000)
    assert [row.at for row in made] == [1_000, 2_000]


# -- events ---------------------------------------------------------------------------------------------------


def typed(kind: str, /, **fields: Plain) -> events.ExecutionEvent | None:
    return events.typed(AuditEntry(execution_id="x-1", at=7, kind=kind, fields=fields))


AT = {"execution_id": "x-1", "at": 7}


def test_every_row_has_an_event_of_its_own() -> None:
    said = {
        "created": events.ExecutionCreated(**AT, workflow="w", version=2, parent="p"),
        "step": events.StepCompleted(**AT, id="s", attempts=2, duration_ms=5, worker="w-1"),
        "cancel": events.CancelRequested(**AT, reason="enough"),
        "ended": events.EndHeard(**AT, id="w", other="x-2", status="failed"),
        "child": events.ChildStarted(**AT, id="c", child="x-2", workflow="ship"),
        "rollback": events.RollbackBegun(**AT, id="r", ids=("a", "b")),
        "note": events.NoteAdded(**AT, id="n", message="hi", fields={"by": "ann"}),
    }
    assert typed("created", workflow="w", version=2, parent="p") == said["created"]
    assert typed("step", id="s", outcome="ok", attempts=2, duration_ms=5, worker="w-1") == said["step"]
    assert typed("cancel", reason="enough") == said["cancel"]
    assert typed("ended", id="w", execution_id="x-2", status="failed") == said["ended"]
    assert typed("child", id="c", execution_id="x-2", workflow="ship") == said["child"]
    assert typed("rollback", id="r", ids=encode(["a", "b"])) == said["rollback"]
    assert typed("note", id="n", message="hi", fields=encode({"by": "ann"})) == said["note"]


def test_a_change_of_status_says_from_where_to_where() -> None:
    changed = typed("status", **{"from": "running", "to": "failed", "cause": "poisoned"})
    assert changed == events.ExecutionStatusChanged(**AT, before="running", after="failed", cause="poisoned")


def test_what_was_delivered_and_how_a_step_ended_decide_the_event() -> None:
    assert typed("delivered", kind="signal", name="go") == events.SignalDelivered(**AT, name="go")
    assert typed("delivered", kind="ended", name="x-2") == events.NoticeDelivered(**AT, name="x-2")
    assert isinstance(typed("step", outcome="refused"), events.StepFailed)
    assert isinstance(typed("compensation", outcome="ok"), events.StepCompensated)
    assert isinstance(typed("compensation", outcome="failed"), events.StepCompensationFailed)


def test_a_row_of_a_newer_version_is_told_as_far_as_it_is_known() -> None:
    assert typed("teleported", to="mars") is None
    assert typed("sleep", id="nap", depth=3) == events.Slept(**AT, id="nap")
    assert events.umbrella(AuditEntry(execution_id="x-1", at=7, kind="teleported", fields={"to": "mars"})) == (
        events.AuditAppended(**AT, kind="teleported", fields={"to": "mars"})
    )


def test_every_documented_kind_has_an_event_that_takes_all_its_documented_fields() -> None:
    assert audit.__doc__ is not None
    table = re.findall(r"^\| (``.*?) \| (.*) \|$", audit.__doc__, re.MULTILINE)
    assert len(table) == 22
    for kinds, described in table:
        names = re.findall(r"``(\w+)``", described)
        for kind in re.findall(r"``(\w+)``", kinds):
            event = typed(kind, **dict.fromkeys(names, "told"))
            assert event is not None, kind
            told = {one.name for one in dataclasses.fields(event) if getattr(event, one.name) == "told"}
            known = set(names) - {"kind", "outcome"}
            assert len(told) >= len(known), (kind, told, known)
