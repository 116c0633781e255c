"""A worker's turn: what it knows, and what it does next. Between two requests to the store a turn is a pure function.

The code that is replayed: A, sleep, wait for a signal, B; a cancel ends it wherever it stands, after undoing A.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.record import (
    CANCELLED,
    COMPLETE,
    HEARD,
    SLEEP,
    SLEPT,
    TIMED_OUT,
    UNDONE,
    WAIT,
    A,
    Asked,
    B,
    Item,
    Record,
)
from tests.model.rules import Off, Rules


class Worker(NamedTuple):
    """A worker process that has a hint in its hands.

    Nonces are compared for equality only, so a worker carries what a comparison of its nonce would say.
    """

    at: str = "claim"  # claim | think | queued | body | commit | release | publish | done
    holds: bool = False  # the record's nonce is its own
    held_last: bool = False  # the nonce of the last lease that is over is its own
    trusted: bool = False  # its own clock says that its lease is alive
    answer: str = ""  # the store has done its last commit, and keeps the answer: "" | kept | released
    journal: int = 0
    unwritten: int = 0
    waits: int = 0
    passed: int = 0  # at its last look
    seen: int = 0
    attempt: int = 0
    body: int = 0  # the step that is being called
    end: str = ""  # what the commit asks for


#: A worker that has finished with its hint.
DONE = Worker(at="done")


def with_history(worker: Worker, record: Record) -> Worker:
    return worker._replace(
        at="think",
        journal=record.journal,
        waits=record.waits,
        passed=record.passed & (SLEEP | WAIT),
        seen=len(record.inbox),
        attempt=record.attempt,
    )


#: The moment at which a wait ends by itself, and the entry that it then makes, by the command.
_MOMENT = {SLEPT: SLEEP, HEARD: WAIT}
_OVER = {SLEPT: SLEPT, HEARD: TIMED_OUT}
#: The commands that are steps, and those that end the turn for good.
_STEPS, _ENDS = (A, B, UNDONE), {COMPLETE: "complete", CANCELLED: "end_cancelled"}


def next_command(journal: int) -> int:
    """What the code does after these entries: named by the entry that it makes when all goes well."""
    if journal & CANCELLED:
        return UNDONE if journal & A and not journal & UNDONE else CANCELLED
    if not journal & A:
        return A
    if not journal & SLEPT:
        return SLEPT
    if not journal & (HEARD | TIMED_OUT):
        return HEARD
    return COMPLETE if journal & B else B


def asked(worker: Worker) -> Asked:
    opens = _MOMENT.get(next_command(worker.journal), 0) & ~worker.waits
    return Asked(worker.unwritten, opens, worker.seen, worker.end)


def hear(worker: Worker, inbox: tuple[Item, ...], rules: Rules) -> int:
    """The journal after everything that has come about by the last look has entered the code."""
    journal = worker.journal
    while entry := _next_event(journal, worker, inbox[: worker.seen], rules):
        journal |= entry
    return journal


def _next_event(journal: int, worker: Worker, items: tuple[Item, ...], rules: Rules) -> int:
    """The entry of the earliest thing that has come about, or 0."""
    command = next_command(journal)
    if command in _ENDS:
        return 0
    passed = _MOMENT.get(command, 0) & worker.waits & worker.passed
    over = _OVER[command] if passed else 0
    if over and rules.off is Off.SIGNAL_BEATS_TIMEOUT:
        return over
    for item in items:
        if entry := _heard(journal, command, item):
            return over if item.passed & passed else entry
    return over


def _heard(journal: int, command: int, item: Item) -> int:
    """The entry that an unread item makes while the code is at ``command``, or 0."""
    if item.kind == "cancel":
        return CANCELLED & ~journal
    return HEARD if command == HEARD and not item.passed & WAIT else 0


def think(worker: Worker, inbox: tuple[Item, ...], rules: Rules) -> Worker:
    """What a turn does after an answer of the store, or the end of a step: where it stands then.

    At ``commit`` it asks the store, at ``body`` its step is running, at ``done`` it has given the turn up;
    at ``call`` nothing keeps it from calling the step ``body``.
    """
    if worker.end == "retry":
        return worker._replace(at="commit")
    journal = hear(worker, inbox, rules)
    fresh = journal & ~worker.journal
    if fresh and not may_run_code(worker, rules):
        return DONE
    command = next_command(journal)
    unwritten = worker.unwritten | fresh
    body = worker.body if worker.body == command else 0
    worker = worker._replace(journal=journal, unwritten=unwritten, body=body, end="")
    if command not in _STEPS:
        return worker._replace(at="commit", end=_ENDS.get(command, "suspend"))
    if unwritten and rules.off is not Off.COMMIT_BEFORE_CALL:
        return worker._replace(at="commit")
    if body:
        return worker._replace(at="body")
    if not may_run_code(worker, rules):
        return DONE
    return worker._replace(at="call", body=command)


def may_run_code(worker: Worker, rules: Rules) -> bool:
    return worker.trusted or rules.off is Off.LOCAL_DEADLINE


def body_ended(worker: Worker, inbox: tuple[Item, ...], rules: Rules) -> Worker:
    """The step has returned, or, in its first attempt where that is to fail, raised."""
    if not may_run_code(worker, rules):
        return DONE
    step = worker.body
    worker = worker._replace(body=0)
    if step == A and rules.variant.retry and worker.attempt == 1:
        return worker._replace(at="commit", end="retry")
    worker = worker._replace(journal=worker.journal | step, unwritten=worker.unwritten | step)
    return think(worker, inbox, rules)
