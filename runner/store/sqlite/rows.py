"""One execution's row: loaded into an immutable record, changed by pure functions, written back by its difference."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgpack

from runner.codec import unpack_as
from runner.records import Cause, Execution, Status
from runner.store.unreadable import unreadable
from runner.transactions import Wake

_NO_ATTRIBUTES: Mapping[str, Any] = MappingProxyType({})


class Row(NamedTuple):
    """An execution without its payloads. The names are those of the columns.

    A tuple, not a dataclass: it is made, changed and compared with every operation.
    """

    x: int
    ns: int
    p: int
    id: str
    request: str
    workflow: str
    version: int
    queue: str
    digest: str
    key: str | None
    created_at: int
    deadline: int | None
    retention_ms: int
    parent: str
    parent_run: int
    parent_close: str
    seed: str
    timeout_ms: int | None
    audit: int  # how many lines its trail keeps
    timer_at: int | None
    status: Status = Status.PENDING
    cause: Cause = Cause.NONE
    run: int = 1
    run_at: int | None = None
    attempt: int = 1
    crashes: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    seq: int = 0
    worker: str = ""
    nonce: str = ""
    lease_until: int | None = None
    commits: int = 0  # the number of the last commit under this lease, with the answer it got
    answer: bytes = b""
    last_nonce: str = ""  # of the last lease that is over
    left_nonce: str = ""  # the last commit that gave a lease back, with the answer it got
    left_commits: int = 0
    left_answer: bytes = b""
    reason: str = ""
    passed: str = ""
    passes: int = 0
    ready_at: int | None = None
    since: int | None = None  # when it became ready, unless it was passed over since
    expires_at: int | None = None
    inbox: int = 0  # its length
    cancel_index: int | None = None  # where in the inbox the cancel lies; None also when a new run has left it behind
    outstanding: int = 0
    rollback: int = 0
    escaped: bytes = b""  # packed ids
    openings: int = 0
    stuck: int = 0  # 1: it has ended and needs an operator
    lines: int = 0  # of its audit trail, also those that are kept no longer
    entries: int = 0  # that its journal must have

    @property
    def owned(self) -> bool:
        return self.lease_until is not None

    @property
    def cancelled(self) -> bool:
        """True when its end was asked for, whatever became of it."""
        return self.cancel_index is not None or self.status is Status.CANCELLING

    def late(self, now: int) -> bool:
        """True when its own deadline has passed."""
        return self.deadline is not None and self.deadline <= now

    @property
    def wake(self) -> Wake:
        return Wake(id=self.id, queue=self.queue, workflow=self.workflow, version=self.version, seq=self.seq)


COLUMNS = Row._fields
SELECT = f"SELECT {', '.join('execution.' + name for name in COLUMNS)}"
INSERT = f"INSERT INTO execution ({', '.join(COLUMNS[1:])}) VALUES ({', '.join('?' * (len(COLUMNS) - 1))})"  # noqa: S608

# The two columns that are enums lie side by side: the others are taken as they come.
_STATUS = COLUMNS.index("status")
_STATUSES: Mapping[str, Status] = {one.value: one for one in Status}
_CAUSES: Mapping[str, Cause] = {one.value: one for one in Cause}


def row_of(values: Sequence[Any]) -> Row:
    """A row as SELECT gives it; what follows its columns is left out. Raises PayloadError, naming the execution."""
    status, cause = values[_STATUS : _STATUS + 2]
    try:
        both = _STATUSES[status], _CAUSES[cause]
    except KeyError as error:
        raise unreadable(id_of(values), f"its status or cause is {error}, which is none") from error
    return Row._make((*values[:_STATUS], *both, *values[_STATUS + 2 : len(COLUMNS)]))


def id_of(values: Sequence[Any]) -> str:
    """Of a row that may not be readable."""
    return str(values[COLUMNS.index("id")])


def packed_ids(ids: Iterable[str]) -> bytes:
    listed = list(ids)
    return bytes(msgpack.packb(listed)) if listed else b""


def unpacked_ids(packed: bytes) -> tuple[str, ...]:
    return tuple(unpack_as(packed, "ids")) if packed else ()


def execution_of(row: Row, input: bytes, result: bytes | None, error: bytes | None, attributes: str) -> Execution:
    """The record that the outside sees; ``attributes`` is a JSON object."""
    return Execution(
        id=row.id,
        workflow=row.workflow,
        version=row.version,
        queue=row.queue,
        status=row.status,
        input=input,
        digest=row.digest,
        key=row.key,
        run=row.run,
        attempt=row.attempt,
        crashes=row.crashes,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        deadline=row.deadline,
        seq=row.seq,
        worker=row.worker,
        lease_until=row.lease_until,
        result=result,
        error=error,
        cause=row.cause,
        reason=row.reason,
        passed=row.passed,
        parent=row.parent,
        parent_run=row.parent_run,
        seed=row.seed,
        run_at=row.run_at,
        timeout_ms=row.timeout_ms,
        attributes=_NO_ATTRIBUTES if attributes == "{}" else json.loads(attributes),
        outstanding=row.outstanding,
        rollback=bool(row.rollback),
        escaped=unpacked_ids(row.escaped),
        openings=row.openings,
    )
