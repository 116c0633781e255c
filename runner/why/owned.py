"""A worker has it: which, until when, and what it does there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.detail import StepLine, open_steps, steps_of
from runner.load import LongStep
from runner.why.codes import ReasonCode
from runner.why.facts import Facts
from runner.why.reason import Reason, command
from runner.why.waiting import waits


def owned(facts: Facts) -> Iterator[Reason]:
    yield _owner(facts)
    yield from running_steps(facts)
    yield from waits(facts)


def _owner(facts: Facts) -> Reason:
    execution = facts.execution
    worker, until = execution.worker, execution.lease_until or 0
    data: dict[str, Any] = {"worker": worker, "lease_until": until}
    if until <= facts.now:
        return Reason(
            code=ReasonCode.LEASE_OVERDUE,
            text=f"the lease of worker {worker!r} has run out: a scheduler gives it to another one",
            since=until,
            cure=command("scheduler"),
            data=data,
        )
    known = next((one for one in facts.fleet.workers if one.id == worker), None)
    if facts.knows("workers") and worker not in {one.id for one in facts.live}:
        return Reason(
            code=ReasonCode.WORKER_SILENT,
            text=f"worker {worker!r} has it and was not heard of lately: when its lease runs out, another one gets it",
            since=None if known is None else known.seen_at,
            until=until,
            data=data,
        )
    build = {} if known is None else {"build": known.build}
    return Reason(
        code=ReasonCode.RUNNING,
        text=f"worker {worker!r} has it",
        since=facts.since("status", worker=worker),
        until=until,
        data=data | build,
    )


def running_steps(facts: Facts) -> Iterator[Reason]:
    """The attempts under way that somebody knows of: those that last, and those that say how far they are."""
    told = {wait.id for wait in open_steps(facts.history) if wait.deadline is None}
    lines = {line.id: line for line in steps_of(facts.history) if line.id in told}
    long = facts.long_steps()
    for id in sorted({*lines, *long}):
        yield _step(id, lines.get(id), *long.get(id, (None, None)))


def _step(id: str, line: StepLine | None, long: LongStep | None, began: int | None) -> Reason:
    late = long is not None and long.timeout_ms is not None and long.for_ms > long.timeout_ms
    attempt = long.attempt if long is not None else line.attempts + 1 if line is not None else 1
    text = f"step {id!r} is in its attempt {attempt}"
    if late and long is not None and long.timeout_ms is not None:
        text += f", which runs longer than its time-out of {long.timeout_ms / 1000:g} s"
    if line is not None and line.progress is not None:
        done, total = line.progress
        text += f": {done:g} done" if total is None else f": {done:g} of {total:g} done"
    return Reason(
        code=ReasonCode.STEP_OVER_TIME if late else ReasonCode.STEP_RUNNING,
        text=text,
        since=began if began is not None else None if line is None else line.started_at,
        until=None if long is None or began is None or long.timeout_ms is None else began + long.timeout_ms,
        data={
            "step": id,
            "attempt": attempt,
            "timeout_ms": None if long is None else long.timeout_ms,
            "heartbeat": None if line is None else line.heartbeat,
            "progress": None if line is None else line.progress,
        },
    )
