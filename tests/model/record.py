"""The execution as the store keeps it, and every atomic change that the store makes to it.

Names and order of the checks are those of ``runner.store``. Time is a set of moments that have passed or not;
nonces are never compared but for equality, so whoever asks brings along what the comparison says.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.rules import Off, Rules

#: Journal entries, one bit each.
A, SLEPT, HEARD, TIMED_OUT, B, CANCELLED, UNDONE = (1 << n for n in range(7))
#: The command after which there is nothing more to do.
COMPLETE = 0
#: Moments: the end of the sleep, the timeout of the wait, the execution's deadline, the end of the retry's delay.
SLEEP, WAIT, DEADLINE, DELAY = (1 << n for n in range(4))

TERMINAL = frozenset({"completed", "failed", "cancelled"})


class Item(NamedTuple):
    """One item of the inbox, with the moments that had passed when it came."""

    kind: str  # signal | cancel
    passed: int


class Record(NamedTuple):
    status: str = ""  # "": not started
    claimed: bool = False  # ever
    owned: bool = False
    ready: bool = False
    timer: int = 0  # the moments of which the one timer stands at the earliest
    journal: int = 0
    waits: int = 0  # open, with deadlines given
    passed: int = 0  # moments
    inbox: tuple[Item, ...] = ()
    attempt: int = 1
    # What no store keeps, for the properties alone:
    heard: int = 0  # while it waits: how much of the inbox the turn that suspended it had seen
    ends: int = 0  # how often it came to an end

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def late(self) -> bool:
        return bool(self.passed & DEADLINE)


class Asked(NamedTuple):
    """What a commit brings."""

    entries: int
    opens: int
    seen: int
    end: str  # "" | suspend | complete | fail | end_cancelled | retry


def due_waits(record: Record, rules: Rules) -> int:
    """The open waits that end by themselves."""
    return record.waits & (SLEEP | WAIT if rules.variant.timeout else SLEEP)


def own_deadline(rules: Rules) -> int:
    return DEADLINE if rules.variant.deadline else 0


def finish(record: Record, status: str) -> Record:
    return record._replace(status=status, owned=False, ready=False, timer=0, waits=0, heard=0, ends=record.ends + 1)


def make_ready(record: Record, rules: Rules, without: Off = Off.NOTHING) -> Record:
    ready = without is Off.NOTHING or rules.off is not without
    return record._replace(ready=ready, timer=own_deadline(rules), heard=0 if ready else record.heard)


def _disowned(record: Record, status: str) -> Record:
    return record._replace(owned=False, status="cancelling" if record.status == "cancelling" else status)


def start(record: Record, rules: Rules) -> Record:
    if record.status:
        return record  # the same request again
    return make_ready(record._replace(status="pending"), rules, Off.READY_WITH_START)


def claim(record: Record, rules: Rules, *, holds: bool, held_last: bool) -> tuple[Record, bool]:
    """The record then, and whether the asker has the lease."""
    if holds:
        return record, True
    if not record.status or record.terminal or (record.owned and rules.off is not Off.LEASE):
        return record, False
    if record.late:
        return finish(record, "cancelled" if record.status == "cancelling" else "failed"), False
    if not (record.ready or record.owned) or (held_last and rules.off is not Off.LAST_NONCE):
        return record, False
    status = "cancelling" if record.status == "cancelling" else "running"
    passed = record.passed & ~DELAY
    return record._replace(status=status, claimed=True, owned=True, ready=False, timer=0, passed=passed), True


def commit(record: Record, asked: Asked, rules: Rules) -> tuple[Record, bool]:
    """A commit that passed the fence: the record then, and whether it released the lease."""
    closed = (SLEEP if asked.entries & SLEPT else 0) | (WAIT if asked.entries & (HEARD | TIMED_OUT) else 0)
    if asked.entries & CANCELLED:
        closed |= SLEEP | WAIT
    record = record._replace(
        journal=record.journal | asked.entries,
        waits=(record.waits | asked.opens) & ~closed,
        passed=record.passed & ~(closed & SLEEP),  # of no interest any more: fewer states
    )
    if not asked.end:
        return record, False
    if record.late:
        return finish(record, "cancelled" if record.status == "cancelling" else "failed"), True
    return _ENDS[asked.end](record, asked, rules)


def _complete(record: Record, asked: Asked, rules: Rules) -> tuple[Record, bool]:
    wins = unseen_cancel(record, asked) and rules.off is not Off.COMPLETION_BEATS_CANCEL
    cancelled = record.status == "cancelling" and not wins
    return finish(record, "cancelled" if cancelled else "completed"), True


def _fail(record: Record, _: Asked, __: Rules) -> tuple[Record, bool]:
    return finish(record, "cancelled" if record.status == "cancelling" else "failed"), True


def _end_cancelled(record: Record, _: Asked, __: Rules) -> tuple[Record, bool]:
    return finish(record, "cancelled"), True


def _suspend(record: Record, asked: Asked, rules: Rules) -> tuple[Record, bool]:
    due, off = due_waits(record, rules), rules.off
    news = len(record.inbox) > asked.seen and off is not Off.SUSPEND_SEES_NEWS
    passed = due & record.passed and off not in (Off.SUSPEND_SEES_PASSED, Off.SUSPEND_AND_TIMER)
    if news or passed:
        return record, False
    if off in (Off.TIMER_FOR_PASSED, Off.SUSPEND_AND_TIMER):
        due &= ~record.passed
    timer = due if off is Off.DEADLINE_TIMER else due | own_deadline(rules)
    return _disowned(record, "sleeping")._replace(timer=timer, heard=asked.seen), True


def _retry(record: Record, asked: Asked, rules: Rules) -> tuple[Record, bool]:
    if unseen_cancel(record, asked):
        return record, False
    if record.status == "cancelling":
        return finish(record, "cancelled"), True
    record = _disowned(record, "retrying")
    return record._replace(attempt=2, waits=0, timer=DELAY | own_deadline(rules), heard=asked.seen), True


_ENDS = {
    "complete": _complete,
    "fail": _fail,
    "end_cancelled": _end_cancelled,
    "suspend": _suspend,
    "retry": _retry,
}


def unseen_cancel(record: Record, asked: Asked) -> bool:
    return any(item.kind == "cancel" for item in record.inbox[asked.seen :])


def release(record: Record, rules: Rules) -> Record:
    return make_ready(_disowned(record, "pending"), rules, Off.READY_AFTER_RELEASE)


def signal(record: Record, rules: Rules) -> tuple[Record, bool]:
    """The record then, and whether the sender should publish a hint."""
    sent = any(item.kind == "signal" for item in record.inbox)
    if record.terminal or (sent and rules.off is not Off.REPEATED_SIGNAL):
        return record, record.ready
    record = _append(record, "signal", WAIT)
    # The timer of a delay is the wake source; handed back or reaped, it is ready already.
    if record.status in ("pending", "retrying"):
        return record, False
    return _rouse(record, rules)


def cancel(record: Record, rules: Rules) -> tuple[Record, bool]:
    sent = any(item.kind == "cancel" for item in record.inbox)
    if record.terminal or sent:
        return record, record.ready
    record = _append(record, "cancel", SLEEP | WAIT)
    if not record.claimed:
        return finish(record, "cancelled"), False
    return _rouse(record._replace(status="cancelling"), rules)


def _append(record: Record, kind: str, moments: int) -> Record:
    """``moments`` are those that anybody will compare the item with."""
    return record._replace(inbox=(*record.inbox, Item(kind, record.passed & moments)))


def _rouse(record: Record, rules: Rules) -> tuple[Record, bool]:
    if record.owned or record.ready:
        return record, False
    return make_ready(record, rules, Off.READY_AFTER_SIGNAL), True


def due(record: Record, rules: Rules) -> tuple[Record, bool]:
    """What the scheduler does with a timer that has come: the record then, and whether there is a hint to publish."""
    if record.late:
        return finish(record, "cancelled" if record.status == "cancelling" else "failed"), False
    if record.ready:
        return record._replace(timer=own_deadline(rules)), False
    return make_ready(record, rules, Off.READY_AFTER_DUE), True


def reap(record: Record, rules: Rules) -> Record:
    return make_ready(_disowned(record, "pending"), rules, Off.READY_AFTER_REAP)
