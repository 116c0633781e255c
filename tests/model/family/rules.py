"""What a run of the family's model is about: which parent and child, which faults, and which mechanism is taken out."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Variant(NamedTuple):
    """What the two are like.

    ``code``, of the parent: it starts a child and ``waits`` for its end, or ``leaves`` it to itself, or continues as new
    and waits in its next run, having waited in the first one for a while (``continues``) or not at all (``hurries``).
    Or it ``follows`` an execution that somebody else starts, or nobody; or ``insists``, and asks a second time when the
    first answer is that there is none.
    """

    code: str = "waits"
    policy: str = "cancel"  # what becomes of the child when the parent ends first: cancel | abandon
    timeout: bool = False  # of the wait
    stays: bool = False  # the child never ends of its own accord
    deadline: bool = False  # of the child

    @property
    def own(self) -> bool:
        """Whether the other one is a child."""
        return self.code not in ("follows", "insists")


class Faults(NamedTuple):
    """How often each may strike, at any point; the last five are what people do."""

    kill: int = 0  # kill -9 of a worker in a turn, or of whoever carries a parcel
    copy: int = 0  # somebody else takes up a parcel that is in good hands, only slow ones
    cancel: int = 0  # of the parent
    cancel_child: int = 0
    force: int = 0  # an operator ends one of them as failed …
    reopen: int = 0  # … has a failed parent tried again …
    revive: int = 0  # … or a failed child


class Off(Enum):
    """One mechanism of the protocol, taken out. The value says what the protocol does without it."""

    NOTHING = "with all its mechanisms"

    OUTBOX_WITH_CHANGE = "what a change causes elsewhere is sent after it, and was never in the outbox"
    REMOVE_AFTER_APPLY = "a parcel is removed from the outbox before it is applied"
    SWEEP = "nobody looks for parcels that were left in the outbox"
    REPEATED_START = "a start that comes again is not recognised"
    REPEATED_NOTICE = "a notice that comes again is not recognised"
    REQUESTS_OF_A_RUN = "a notice counts as seen when an earlier run has seen it"
    RUN_OF_NOTICE = "a notice reaches whichever run is the present one"
    TOMBSTONE = "a cancel that overtakes the start of its target is forgotten"
    CANCEL_CHILDREN = "the end of a parent is no end for its children"
    BONDS_OUTLIVE_RUNS = "the next run knows nothing of the children of the last one"
    TOLD_BY_TURN = "an end that a turn brings about is told to nobody"
    TOLD_BY_TIME = "an end by a deadline is told to nobody"
    TOLD_BEFORE_CLAIM = "an end by a cancel before the first claim is told to nobody"
    TOLD_BY_OPERATOR = "an end that an operator brings about is told to nobody"
    FOLLOW_COMPARES = "a follow of what has ended is noted down as if it had not"
    FOLLOW_ANSWERS_UNKNOWN = "a follow of what is not there is left without an answer"
    ASKS_AGAIN = "a parent that was reopened does not ask for its child's end again"
    FOLLOW_AFTER_START = "a follow that overtakes the start of the waiter's own child is answered that there is none"
    NO_OLDER_NOTICE = "a wait for another execution hears what was told before it was opened"
    ANSWER_OF_ITS_OWN = "an answer counts as seen when an earlier question had the same"
    REOPENED_HEARS_ANEW = "a parent that was reopened goes by what it had been told of its child before"
    BOND_ENDS = "a notice does not end the bond to the child"
    REOPENED_IS_TOLD = "a parent is not told that its child was opened again"
    PHASES_IN_ORDER = "what is told last of a child is believed, however old"
    REOPENED_BEFORE_END = "a parent that has ended does nothing about a child that was opened again before"
    OLDER_CHILD_KNOWN_ANEW = "a child of an older run that is opened again stays forgotten"


class Rules(NamedTuple):
    variant: Variant
    off: Off = Off.NOTHING


#: Taken out alone these cost a parcel, never an execution: a cancel of what has ended does nothing, and the next run asks
#: a question of its own, which has an answer of its own.
HARMLESS = frozenset({Off.BOND_ENDS, Off.REQUESTS_OF_A_RUN})

_REOPENED = Faults(force=1, reopen=1)
_SHOWN_BY = {
    Off.OUTBOX_WITH_CHANGE: (Variant(), Faults(kill=1)),
    Off.REMOVE_AFTER_APPLY: (Variant(), Faults(kill=1)),
    Off.SWEEP: (Variant(), Faults(kill=1)),
    Off.REPEATED_START: (Variant(), Faults(copy=1)),
    Off.REPEATED_NOTICE: (Variant(), Faults(copy=1)),
    Off.REQUESTS_OF_A_RUN: (Variant("continues", timeout=True), Faults(kill=1)),
    Off.RUN_OF_NOTICE: (Variant("hurries"), Faults()),
    Off.TOMBSTONE: (Variant("leaves", stays=True), Faults()),
    Off.CANCEL_CHILDREN: (Variant("leaves", stays=True), Faults()),
    Off.BONDS_OUTLIVE_RUNS: (Variant("hurries", stays=True), Faults(cancel=1)),
    Off.TOLD_BY_TIME: (Variant(stays=True, deadline=True), Faults()),
    Off.TOLD_BEFORE_CLAIM: (Variant(), Faults(cancel_child=1)),
    Off.TOLD_BY_OPERATOR: (Variant(), Faults(force=1)),
    Off.FOLLOW_COMPARES: (Variant("follows"), Faults()),
    Off.FOLLOW_ANSWERS_UNKNOWN: (Variant("follows"), Faults()),
    Off.ASKS_AGAIN: (Variant(policy="abandon"), _REOPENED),
    Off.FOLLOW_AFTER_START: (Variant("hurries"), Faults()),
    Off.NO_OLDER_NOTICE: (Variant("follows"), Faults(reopen=1, revive=1)),
    Off.BOND_ENDS: (Variant(), Faults(kill=1, cancel=1)),
    Off.ANSWER_OF_ITS_OWN: (Variant("insists"), Faults()),
    Off.REOPENED_IS_TOLD: (Variant(timeout=True, stays=True), Faults(force=1, revive=1)),
    Off.PHASES_IN_ORDER: (Variant("waits", timeout=True, stays=True), Faults(force=1, revive=1)),
    Off.REOPENED_BEFORE_END: (Variant("waits", timeout=True, stays=True), Faults(force=1, revive=1)),
    Off.OLDER_CHILD_KNOWN_ANEW: (Variant("hurries", stays=True), Faults(force=1, revive=1)),
    Off.REOPENED_HEARS_ANEW: (Variant(policy="abandon"), Faults(force=1, reopen=1, revive=1)),
}


def shows(off: Off) -> tuple[Variant, Faults]:
    """The family and the faults that bring to light what happens without a mechanism."""
    return _SHOWN_BY.get(off, (Variant(), Faults()))
