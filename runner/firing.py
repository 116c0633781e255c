"""From a schedule's tick to what the store is asked for. Pure: whoever carries out a tick asks for the same, to the word.

Ids and requests are derived from the tick, so that asking twice, from two processes or after a crash, starts it once.
"""

from __future__ import annotations

from runner.records import Overlap, Schedule
from runner.transactions import Deliver, Start, Started


def start_of(schedule: Schedule, execution_id: str) -> Start:
    """An execution of the schedule. It is kept for as long as its tick may be decided late: it says that the tick has run."""
    return Start(
        id=execution_id,
        request=f"schedule:{execution_id}",
        workflow=schedule.workflow,
        version=schedule.version,
        queue=schedule.queue,
        input=schedule.input,
        digest=schedule.digest,
        timeout_ms=schedule.timeout_ms,
        retention_ms=max(schedule.retention_ms, schedule.window_ms),
        # A schedule that lets its executions overlap does not care when they end.
        parent="" if schedule.overlap is Overlap.ALLOW else f"@{schedule.id}",
        attributes=schedule.attributes,
        audit=schedule.audit,
    )


def cancels_of(schedule: Schedule) -> list[Deliver]:
    """The cancels that its pending decision asks for."""
    if schedule.pending is None:
        return []
    successor = schedule.pending.execution_id
    return [
        Deliver(
            id=id,
            request=f"cancel:{successor}",
            kind="cancel",
            name=f"schedule {schedule.id} has started {successor}",
            payload=b"",
        )
        for id in schedule.pending.cancels
    ]


def misstarted(start: Start, answer: Started) -> str:
    """Why a start was none: its id belongs to another execution. Empty when all is well."""
    if answer.new or answer.digest == start.digest:
        return ""
    return f"execution id {start.id!r} is taken by another workflow, or another input: that tick cannot be started"
