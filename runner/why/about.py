"""What is worth knowing about an execution that has not ended."""

from __future__ import annotations

from collections.abc import Iterator

from runner.core.limits import MAX_BYTES, MAX_ENTRIES, WARN_FULLNESS
from runner.detail import reached
from runner.records import Status
from runner.store.crashes import MAX_CRASHES
from runner.why.codes import ReasonCode
from runner.why.facts import Facts
from runner.why.reason import Reason, command


def about(facts: Facts) -> Iterator[Reason]:
    yield from _cancelling(facts)
    yield from _compensating(facts)
    yield from _crashes(facts)
    yield from _journal(facts)
    yield from _deadline(facts)
    yield from _origin(facts)


def _cancelling(facts: Facts) -> Iterator[Reason]:
    if facts.execution.status is Status.CANCELLING:
        reason = facts.execution.reason
        yield Reason(
            code=ReasonCode.CANCELLING,
            text="its end was asked for" + (f": {reason}" if reason else ""),
            since=facts.since("cancel") or facts.since("status", to="cancelling"),
            cure=command("executions", "force-fail", facts.id, "--reason", "REASON"),
            data={"reason": reason},
        )


def _compensating(facts: Facts) -> Iterator[Reason]:
    execution = facts.execution
    began = next((entry.at for entry in facts.history.entries if entry.kind == "rollback"), None)
    if execution.outstanding and (execution.rollback or began is not None):
        yield Reason(
            code=ReasonCode.COMPENSATING,
            text=f"it undoes what it did: {execution.outstanding} compensation(s) are outstanding",
            since=began,
            data={"outstanding": execution.outstanding},
        )


def _crashes(facts: Facts) -> Iterator[Reason]:
    crashes = facts.execution.crashes
    if crashes:
        told = max((one.load.max_crashes for one in facts.live), default=0)
        most = told or MAX_CRASHES
        whose = "as its workers are told" if told else "where nothing else is set"
        where = reached(facts.history.entries)
        yield Reason(
            code=ReasonCode.CRASHES,
            text=f"{crashes} worker(s) in a row were lost with it, {where}; with {most} ({whose}) it ends failed",
            data={"crashes": crashes, "most": most, "reached": where},
        )


def _journal(facts: Facts) -> Iterator[Reason]:
    entries = facts.history.entries
    size = sum(len(entry.payload) for entry in entries)
    fullness = max(len(entries) / MAX_ENTRIES, size / MAX_BYTES)
    if fullness >= WARN_FULLNESS:
        yield Reason(
            code=ReasonCode.JOURNAL_LARGE,
            text=f"its run has recorded {len(entries)} entries and {size} bytes, {fullness:.0%} of what it may",
            cure="have its code begin anew: ctx.continue_as_new",
            data={"entries": len(entries), "bytes": size},
        )


def _deadline(facts: Facts) -> Iterator[Reason]:
    if facts.execution.deadline is not None:
        yield Reason(
            code=ReasonCode.DEADLINE, text="its own deadline ends it as timed out", until=facts.execution.deadline
        )


def _origin(facts: Facts) -> Iterator[Reason]:
    parent = facts.execution.parent
    if facts.schedule:
        yield Reason(
            code=ReasonCode.SCHEDULED,
            text=f"schedule {facts.schedule!r} started it",
            since=facts.execution.created_at,
            data={"schedule": facts.schedule},
        )
    elif parent:
        yield Reason(
            code=ReasonCode.STARTED_BY,
            text=f"execution {parent!r} started it",
            since=facts.execution.created_at,
            data={"parent": parent},
        )
