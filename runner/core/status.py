"""The life of an execution as one table: everything that may happen to a status is in it, and nothing else is.

Both stores run this table (the Lua scripts get it as a generated prelude), and the diagram in the docs
is drawn from it. A move that is not in the table does not happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from runner.records import Status


class Move(StrEnum):
    """What happens to an execution."""

    CLAIM = "claim"  # a worker takes the lease
    SUSPEND = "suspend"  # the turn ends, waiting
    RETRY = "retry"  # the turn ends, to be attempted again
    RELEASE = "release"  # the lease is handed back
    REAP = "reap"  # the lease ran out
    CANCEL = "cancel"  # somebody asked for its end
    ABANDON = "abandon"  # cancelled before any worker had it
    COMPLETE = "complete"
    FAIL = "fail"
    TIME_OUT = "time_out"  # its own deadline passed
    POISON = "poison"  # it took too many workers with it
    END_CANCELLED = "end_cancelled"
    FAIL_COMPENSATION = "fail_compensation"  # what it had done cannot be undone
    CONTINUE = "continue"  # the next run begins
    FORCE_FAIL = "force_fail"  # an operator ends it
    REOPEN = "reopen"  # an operator has it tried again


_P, _R, _S, _T, _C = Status.PENDING, Status.RUNNING, Status.SLEEPING, Status.RETRYING, Status.CANCELLING
_WAITING: Mapping[Move, Status] = {
    Move.CLAIM: _R,
    Move.CANCEL: _C,
    Move.TIME_OUT: Status.FAILED,
    Move.FORCE_FAIL: Status.FAILED,
}

TRANSITIONS: Mapping[Status, Mapping[Move, Status]] = MappingProxyType(
    {
        _P: {**_WAITING, Move.ABANDON: Status.CANCELLED},
        _S: _WAITING,
        _T: _WAITING,
        _R: {
            Move.SUSPEND: _S,
            Move.RETRY: _T,
            Move.RELEASE: _P,
            Move.REAP: _P,
            Move.CANCEL: _C,
            Move.COMPLETE: Status.COMPLETED,
            Move.FAIL: Status.FAILED,
            Move.TIME_OUT: Status.FAILED,
            Move.POISON: Status.FAILED,
            Move.END_CANCELLED: Status.CANCELLED,
            Move.FAIL_COMPENSATION: Status.COMPENSATION_FAILED,
            Move.CONTINUE: Status.PENDING,
            Move.FORCE_FAIL: Status.FAILED,
        },
        # Once asked to end, an execution ends as cancelled, whatever its code does then.
        _C: {
            Move.CLAIM: _C,
            Move.SUSPEND: _C,
            Move.RELEASE: _C,
            Move.REAP: _C,
            Move.RETRY: Status.CANCELLED,
            Move.COMPLETE: Status.CANCELLED,
            Move.FAIL: Status.CANCELLED,
            Move.TIME_OUT: Status.CANCELLED,
            Move.END_CANCELLED: Status.CANCELLED,
            Move.POISON: Status.FAILED,
            Move.FAIL_COMPENSATION: Status.COMPENSATION_FAILED,
            Move.CONTINUE: _C,
            Move.FORCE_FAIL: Status.FAILED,
        },
        # Terminal: only an operator leads out of these.
        Status.COMPLETED: {},
        Status.FAILED: {Move.REOPEN: _P},
        Status.COMPENSATION_FAILED: {Move.REOPEN: _P},
        Status.CANCELLED: {Move.REOPEN: _P},
    }
)


class IllegalMove(RuntimeError):
    """The table has no such move: a bug of ours, stopped before it wrote anything."""


def after(status: Status, move: Move) -> Status:
    """The status that ``move`` leads to. Raises IllegalMove when the table has none."""
    try:
        return TRANSITIONS[status][move]
    except KeyError:
        raise IllegalMove(f"an execution that is {status} cannot {move}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    for status, moves in TRANSITIONS.items():
        lines += [f"    {status} --> {target}: {move}" for move, target in moves.items()]
    lines += [f"    {status} --> [*]" for status in TRANSITIONS if status.terminal]
    return "\n".join(lines) + "\n"
