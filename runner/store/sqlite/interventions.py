"""What an operator makes of a row, as pure functions; the same table of moves holds for them."""

from __future__ import annotations

from runner.core.status import Move, after
from runner.records import Cause, Status
from runner.store.sqlite.moves import ended, given_back, readied
from runner.store.sqlite.rows import Row, packed_ids, unpacked_ids
from runner.transactions import Action

_REOPENABLE = frozenset({Status.FAILED, Status.COMPENSATION_FAILED, Status.CANCELLED})


def allows(row: Row, action: Action) -> bool:
    """Whether the status of an execution allows an action."""
    match action:
        case Action.RETRY:
            return row.status is Status.FAILED
        case Action.ROLLBACK:
            return row.status in _REOPENABLE and row.outstanding > 0
        case Action.RECORD:
            return not row.status.terminal or row.status is Status.FAILED
        case Action.HURRY | Action.FORCE_FAIL:
            return not row.status.terminal
        case Action.FORK:
            return True


def reopened(row: Row, rollback: bool, now: int) -> Row:
    """As if it had just been started, with the journal it has; only to roll back, it may take what time it needs."""
    timeout_ms = None if rollback else row.timeout_ms
    fresh = row._replace(
        status=after(row.status, Move.REOPEN),
        cause=Cause.NONE,
        attempt=1,
        crashes=0,
        escaped=b"",
        ended_at=None,
        expires_at=None,
        stuck=0,
        openings=row.openings + 1,
        rollback=int(rollback),
        deadline=None if timeout_ms is None else now + timeout_ms,
    )
    return readied(fresh, now)


def recorded(row: Row, entry: str, now: int) -> Row:
    """A journal was changed: what lives looks at it; what has failed waits for a retry."""
    if not row.status.terminal:
        return woken(row, now)
    return row._replace(escaped=packed_ids(one for one in unpacked_ids(row.escaped) if one != entry))


def woken(row: Row, now: int) -> Row:
    """Ready, whoever owns it and whatever it waits for; no crash is counted."""
    if row.owned:
        row = given_back(row)._replace(status=after(row.status, Move.RELEASE))
    return row if row.ready_at is not None else readied(row, now)


def forced(row: Row, now: int) -> Row:
    return ended(row, Move.FORCE_FAIL, now)
