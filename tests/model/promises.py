"""What the protocol promises, checked in every state that can be reached.

The numbers are those of the promises: P2 a recorded step never runs again, P3 one owner, P4 a signal in time is heard
once, P7 nothing is stuck in silence, P8 one end.
"""

from __future__ import annotations

from tests.model import record as store
from tests.model.record import CANCELLED, DELAY, HEARD, SLEPT, TIMED_OUT, UNDONE, WAIT, A, B, Record
from tests.model.rules import Rules
from tests.model.state import State


def ended(state: State) -> bool:
    return state.record.terminal


def wrong(state: State, rules: Rules) -> str:
    """What is the matter with the state, or ""."""
    record = state.record
    if state.broken:
        return state.broken
    if record.terminal:
        return _wrong_end(record) or _wrong_journal(record)
    if record.status and not record.owned and not record.ready:
        return _asleep_for_ever(record, rules) or _wrong_journal(record)
    return _wrong_journal(record)


def _asleep_for_ever(record: Record, rules: Rules) -> str:
    """Nobody owns it, and it is not ready: its timer must stand at all that time will bring, and all news be heard."""
    waits = DELAY if record.status == "retrying" else store.due_waits(record, rules)
    needed = waits | store.own_deadline(rules)
    if record.timer != needed:
        return "lost wake-up: no timer stands at the earliest of what it waits for"
    if record.status == "retrying":
        return ""  # news waits for the end of the delay
    if len(record.inbox) > record.heard:
        return "lost wake-up: there is news that no turn has seen"
    if not needed and not record.waits:
        return "lost wake-up: it waits for nothing"
    return ""


def _wrong_end(record: Record) -> str:
    if record.ends != 1:
        return "it has ended more than once"
    done = A | SLEPT | B
    if record.status == "completed" and not (record.journal & done == done and record.journal & (HEARD | TIMED_OUT)):
        return "completed without all that belongs to it"
    if record.status == "failed" and not record.late:
        return "timed out before its deadline"
    if record.status == "cancelled" and not any(item.kind == "cancel" for item in record.inbox):
        return "cancelled without a cancel"
    if record.status == "cancelled" and record.journal & A and not record.journal & UNDONE and not record.late:
        return "cancelled, and what was done is not undone"
    return ""


def _wrong_journal(record: Record) -> str:
    signals = [item for item in record.inbox if item.kind == "signal"]
    if len(signals) > 1:
        return "one signal is in the inbox twice"
    in_time = bool(signals) and not signals[0].passed & WAIT
    if record.journal & HEARD and not in_time:
        return "the wait has heard a signal that did not come in time"
    if record.journal & TIMED_OUT and (in_time or record.journal & HEARD):
        return "the wait has timed out although its signal came in time"
    if record.journal & CANCELLED and not any(item.kind == "cancel" for item in record.inbox):
        return "a cancel is recorded that nobody asked for"
    return ""
