"""Watching an execution: what its audit trail has gained between two looks, until it has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from runner.detail import AuditLine, audit_lines
from runner.errors import UnknownExecution
from runner.persistence import until_answered
from runner.records import AuditEntry, Execution, Status
from runner.store import Store

#: Only the end is announced; for all else one has to look, this often, in seconds.
LOOK_S = 0.25


async def watch(
    store: Store, execution_id: str, *, missing: Callable[[str], UnknownExecution]
) -> AsyncIterator[AuditLine]:
    """Every line once, in order. Raises what ``missing`` makes of an unknown execution."""
    endings = await store.subscribe(f"ended/{execution_id}")
    known: tuple[AuditEntry, ...] = ()
    status: Status | None = None
    try:
        while True:
            # The record first: when it says that this is the end, the trail read after it is whole.
            execution = await until_answered(lambda: store.record(execution_id))
            if execution is None:
                raise missing(execution_id)
            trail = await until_answered(lambda: store.audit(execution_id))
            rows = gained(known, trail) if trail else _change(execution, status)
            for line in audit_lines(rows):
                yield line
            if execution.status.terminal:
                return
            known, status = trail, execution.status
            await endings.next(LOOK_S)
    finally:
        await endings.close()


def gained(known: Sequence[AuditEntry], trail: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
    """What a trail has more than when it was ``known``; meanwhile it may have lost its oldest lines."""
    if tuple(trail[: len(known)]) == tuple(known):
        return trail[len(known) :]
    last = known[-1]
    return trail[max((place for place, row in enumerate(trail) if row == last), default=-1) + 1 :]


def _change(execution: Execution, before: Status | None) -> Sequence[AuditEntry]:
    if before is execution.status:
        return ()
    fields = {"from": "" if before is None else str(before), "to": str(execution.status)}
    at = execution.ended_at or execution.started_at or execution.created_at
    return (AuditEntry(execution_id=execution.id, at=at, kind="status", fields=fields),)
