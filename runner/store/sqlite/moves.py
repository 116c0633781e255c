"""What happens to a row, as pure functions: a row and a moment go in, the changed row comes out.

Every change of status goes through the table in ``runner.core.status``.
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.core.status import Move, after
from runner.records import Cause, Status
from runner.store import GRACE_MS, PASS_FIRST_MS, PASS_LAST_MS, partition_of
from runner.store.sqlite.rows import Row, packed_ids
from runner.transactions import (
    Commit,
    Complete,
    ContinueAsNew,
    Deliver,
    End,
    EndCancelled,
    Fail,
    FailCompensation,
    Refusal,
    RetryAttempt,
    Start,
    Suspend,
)

_LAST_MOVES: Mapping[type[End], Move] = {
    Fail: Move.FAIL,
    FailCompensation: Move.FAIL_COMPENSATION,
    EndCancelled: Move.END_CANCELLED,
}
_CAUSES = {Move.TIME_OUT: Cause.TIMED_OUT, Move.POISON: Cause.POISONED, Move.FORCE_FAIL: Cause.FORCED}


def created(start: Start, ns: int, partitions: int, now: int) -> Row:
    """A row for a start: ready at once, or with a timer for its time."""
    begins = max(now + start.delay_ms, start.at_ms or 0)
    deadline = None if start.timeout_ms is None else begins + start.timeout_ms
    fresh = Row(
        x=0,
        ns=ns,
        p=partition_of(start.id, partitions),
        id=start.id,
        request=start.request,
        workflow=start.workflow,
        version=start.version,
        queue=start.queue,
        digest=start.digest,
        key=start.key,
        created_at=now,
        deadline=deadline,
        retention_ms=start.retention_ms,
        parent=start.parent,
        parent_run=start.parent_run,
        parent_close=start.parent_close,
        seed=start.seed or start.id,
        run_at=start.run_at,
        timeout_ms=start.timeout_ms,
        audit=start.audit,
        timer_at=begins,
    )
    return fresh if begins > now else readied(fresh, now)


def readied(row: Row, now: int) -> Row:
    """Ready for a worker, with the grace its hint has; only its own deadline is still on a timer."""
    return row._replace(seq=row.seq + 1, ready_at=now + GRACE_MS, since=now, timer_at=row.deadline)


def ended(row: Row, move: Move, now: int) -> Row:
    """Terminal: every end there is goes through here."""
    status = after(row.status, move)
    return given_back(row)._replace(
        status=status,
        cause=_CAUSES.get(move, Cause.NONE) if status is Status.FAILED else Cause.NONE,
        ended_at=now,
        ready_at=None,
        since=None,
        timer_at=None,
        passed="",
        passes=0,
        expires_at=now + row.retention_ms,
        stuck=int(_needs_an_operator(row, status, move)),
    )


def _needs_an_operator(row: Row, status: Status, move: Move) -> bool:
    """True when something may have been left undone that nobody will undo."""
    if status is Status.COMPENSATION_FAILED:
        return True
    return row.outstanding > 0 and (status is Status.FAILED or move is Move.TIME_OUT)


def given_back(row: Row) -> Row:
    """Owned by nobody."""
    return row._replace(
        last_nonce=row.nonce or row.last_nonce, nonce="", worker="", lease_until=None, commits=0, answer=b""
    )


def refusal(row: Row, nonce: str) -> Refusal | None:
    """Why a claim that would begin a lease is refused, or None."""
    if row.status.terminal:
        return Refusal.TERMINAL
    if row.owned:
        return Refusal.OWNED
    # A claim that comes very late must not take again what its sender has given back.
    return Refusal.IDLE if row.ready_at is None or nonce == row.last_nonce else None


def claimed(row: Row, nonce: str, worker: str, lease_ms: int, now: int) -> Row:
    return row._replace(
        status=after(row.status, Move.CLAIM),
        started_at=now if row.started_at is None else row.started_at,
        nonce=nonce,
        worker=worker,
        lease_until=now + lease_ms,
        commits=0,
        answer=b"",
        ready_at=None,
        since=None,
        timer_at=None,
        passed="",
    )


def released(row: Row, now: int) -> Row:
    return _again(row, Move.RELEASE, now)


def reaped(row: Row, crash: bool, most: int, now: int) -> Row:
    """The lease ran out: ready again, or over when that was one crash too many."""
    return _crashed(row, most, Move.REAP, now) if crash else _again(row, Move.REAP, now)


def broken(row: Row, most: int, now: int) -> Row:
    """Its turn broke: as when a worker was lost with it."""
    return _crashed(row, most, Move.RELEASE, now)


def held(row: Row, commit: Commit, now: int) -> Row:
    """The lease begins anew; an entry is progress, and with it crashes and passes are counted anew."""
    extended = row._replace(lease_until=now + commit.lease_ms, outstanding=commit.outstanding)
    return extended._replace(crashes=0, passes=0) if commit.entries else extended


def passed_over(row: Row, reason: str, now: int) -> Row:
    delay = min(PASS_FIRST_MS << min(row.passes, 10), PASS_LAST_MS)
    return row._replace(passed=reason, passes=row.passes + 1, ready_at=now + delay, since=None)


def timer_fired(row: Row, now: int) -> Row:
    if row.late(now):
        return ended(row, Move.TIME_OUT, now)
    return readied(row, now)


def received(row: Row, deliver: Deliver, now: int) -> Row:
    """An item is appended to the inbox. The caller has dealt with repeats, with ends and with second cancels."""
    grown = row._replace(inbox=row.inbox + 1)
    if deliver.kind == "cancel":
        grown = grown._replace(reason=deliver.name, cancel_index=row.inbox)
        if row.started_at is None:
            return ended(grown, Move.ABANDON, now)
        grown = grown._replace(status=after(row.status, Move.CANCEL))
    if row.owned or row.ready_at is not None or grown.status in (Status.PENDING, Status.RETRYING):
        return grown
    return readied(grown, now)


def over(row: Row, end: End, seen: int, nearest: int | None, now: int) -> Row | None:
    """What an end makes of an owned row, or None when it is refused and the turn goes on.

    ``nearest`` is the earliest deadline of the open waits; only a suspension looks at it.
    """
    if isinstance(end, Fail):
        row = row._replace(escaped=packed_ids(end.escaped))
    if row.late(now) and not isinstance(end, FailCompensation):
        return ended(row, Move.TIME_OUT, now)
    match end:
        case Suspend():
            news = row.inbox > seen or (nearest is not None and nearest <= now)
            return None if news else _suspended(row, nearest)
        case RetryAttempt(after_ms=after_ms):
            return None if _cancel_unseen(row, seen) else _retried(row, after_ms, now)
        case ContinueAsNew():
            return _continued(row, now)
        case Complete():
            return ended(_unaware(row) if _cancel_unseen(row, seen) else row, Move.COMPLETE, now)
        case _:
            return ended(row, _LAST_MOVES[type(end)], now)


def _crashed(row: Row, most: int, move: Move, now: int) -> Row:
    counted = row._replace(crashes=row.crashes + 1)
    return ended(counted, Move.POISON, now) if counted.crashes >= most else _again(counted, move, now)


def _again(row: Row, move: Move, now: int) -> Row:
    return readied(given_back(row)._replace(status=after(row.status, move)), now)


def _suspended(row: Row, nearest: int | None) -> Row:
    moments = [moment for moment in (nearest, row.deadline) if moment is not None]
    return given_back(row)._replace(
        status=after(row.status, Move.SUSPEND),
        ready_at=None,
        since=None,
        timer_at=min(moments, default=None),
        passes=0,
    )


def _retried(row: Row, after_ms: int, now: int) -> Row:
    status = after(row.status, Move.RETRY)
    if status.terminal:
        return ended(row, Move.RETRY, now)
    timer = now + after_ms if row.deadline is None else min(now + after_ms, row.deadline)
    return given_back(row)._replace(status=status, attempt=row.attempt + 1, timer_at=timer, passes=0)


def _continued(row: Row, now: int) -> Row:
    status = after(row.status, Move.CONTINUE)
    fresh = given_back(row)._replace(status=status, run=row.run + 1, run_at=now, attempt=1, passes=0, outstanding=0)
    return readied(fresh, now)


def _cancel_unseen(row: Row, seen: int) -> bool:
    return row.cancel_index is not None and row.cancel_index >= seen


def _unaware(row: Row) -> Row:
    """As the turn knows it that has not seen the cancel yet."""
    return row._replace(status=Status.RUNNING)
