"""What a run of the model is about: which execution, which faults, and which mechanism is switched off."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Variant(NamedTuple):
    """The execution: step A, a sleep, a wait for one signal, step B. What else may come about is said here."""

    timeout: bool = True  # the wait for the signal has a timeout
    cancel: bool = False  # somebody asks for its end; step A is then undone by a step of its own
    deadline: bool = False  # the execution has a deadline of its own
    retry: bool = False  # the first attempt of step A fails, and the execution with it: it is attempted again


class Faults(NamedTuple):
    """How often each may strike, at any point."""

    kill: int = 0  # kill -9 of any process, between any two of its actions; its claim may still arrive
    pause: int = 0  # a worker stands still, or is cut off, until its own clock says that its lease may be over
    loss: int = 0  # a hint vanishes from the queue
    copy: int = 0  # a hint is delivered once more
    reply: int = 0  # the store did what it was asked, but the answer is lost
    drain: int = 0  # SIGTERM, with or without time for the turn to come to a good place


class Off(Enum):
    """One mechanism of the protocol, taken out. The value says what the protocol does without it."""

    NOTHING = "as built"

    READY_UNTIL_CLAIMED = "the ready entry is removed when the hint is confirmed, not by the claim"
    READY_WITH_START = "the hint is published before the store has the execution, which is not made ready"
    READY_AFTER_SIGNAL = "a signal to a sleeping execution does not make it ready"
    READY_AFTER_DUE = "a timer that has come is dropped without making the execution ready"
    READY_AFTER_REAP = "a lease that has run out is taken away without making the execution ready"
    READY_AFTER_RELEASE = "an execution that is handed back is not made ready"
    OVERDUE = "nobody looks for ready executions whose hint was lost"
    REAP = "nobody takes away leases that have run out"
    SUSPEND_SEES_NEWS = "a suspension does not compare the length of the inbox"
    TIMER_FOR_PASSED = "a suspension arms timers for the future only"
    SUSPEND_SEES_PASSED = "a suspension does not compare the deadlines of the waits"
    SUSPEND_AND_TIMER = "a suspension does not compare the deadlines, and arms timers for the future only"
    LEASE = "a claim takes what somebody else holds a live lease of"
    FENCE = "a commit does not compare the nonce"
    LAST_NONCE = "a repeated claim is not recognised as one of a lease that is over"
    LOCAL_DEADLINE = "a worker calls user code without looking at its own clock"
    CHECK_AT_CALL = "a worker looks at its clock when a step is handed to the threads, not when a thread calls it"
    TRUST_FROM_ASKING = "an answer renews a worker's trust in its lease, however long ago it was asked for"
    REPEATED_COMMIT = "a commit that is asked again is not recognised"
    REPEATED_SIGNAL = "a signal that is sent again is not recognised"
    COMMIT_BEFORE_CALL = "a step is called before what the code has seen is recorded"
    SIGNAL_BEATS_TIMEOUT = "a timeout that has passed beats a signal that came before it"
    COMPLETION_BEATS_CANCEL = "a completion over a cancel that the turn has not seen ends as cancelled"
    DEADLINE_TIMER = "the timer of a waiting execution stands at its waits only, not at its own deadline"
    ACK_AFTER_TURN = "a hint is acknowledged when it is received"


class Rules(NamedTuple):
    variant: Variant
    off: Off = Off.NOTHING


#: Taken out alone, these cost time, never an execution: another mechanism stands behind each.
HARMLESS = frozenset({Off.TIMER_FOR_PASSED, Off.SUSPEND_SEES_PASSED, Off.LAST_NONCE, Off.ACK_AFTER_TURN})

_SHOWN_BY = {
    Off.OVERDUE: Faults(kill=1),
    Off.REAP: Faults(kill=1),
    Off.READY_AFTER_REAP: Faults(kill=1),
    Off.READY_AFTER_RELEASE: Faults(drain=1),
    Off.LEASE: Faults(copy=1),
    Off.FENCE: Faults(pause=1),
    Off.LAST_NONCE: Faults(pause=1, reply=1),
    Off.LOCAL_DEADLINE: Faults(pause=1),
    Off.CHECK_AT_CALL: Faults(pause=1),
    Off.TRUST_FROM_ASKING: Faults(pause=1, reply=1),
    Off.REPEATED_COMMIT: Faults(reply=1),
    Off.REPEATED_SIGNAL: Faults(reply=1),
    Off.ACK_AFTER_TURN: Faults(kill=1),
}


def shows(off: Off) -> tuple[Variant, Faults]:
    """The execution and the faults that bring to light what happens without a mechanism."""
    variant = Variant(
        timeout=off is not Off.LAST_NONCE,
        cancel=off is Off.COMPLETION_BEATS_CANCEL,
        deadline=off is Off.DEADLINE_TIMER,
    )
    return variant, _SHOWN_BY.get(off, Faults())
