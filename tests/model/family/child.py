"""The child, or another execution that is followed, as the store keeps it; every atomic change to it.

Each answers with the child as it is then and what it puts into the outbox.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.family.parcels import Parcel, answer, notice
from tests.model.family.rules import Off, Rules

TERMINAL = frozenset({"completed", "failed", "cancelled"})


class Child(NamedTuple):
    id: int
    status: str = ""  # "": not there
    claimed: bool = False  # ever
    owner: str = ""  # "" | alive | dead
    ready: bool = False
    late: bool = False  # its deadline has passed
    tombstone: bool = False
    followers: frozenset[int] = frozenset()  # the runs of the parent that are told of its end
    opening: int = 0
    # What no store keeps, for the properties alone:
    starts: int = 0
    freed: bool = False  # an operator opened it again after its parent's end

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def version(self) -> int:
        """What is said of it is of this version, or out of date."""
        return self.opening + 1 if self.status else 0


Changed = tuple[Child, tuple[Parcel, ...]]


def finish(child: Child, status: str, rules: Rules, without: Off) -> Changed:
    """Every end there is; ``without`` is the mechanism that tells of this one."""
    if child.status == "cancelling" and status != "completed" and without is not Off.TOLD_BY_OPERATOR:
        status = "cancelled"
    ended = child._replace(status=status, owner="", ready=False, late=False)
    if rules.off is without:
        return ended, ()
    return ended, tuple(notice(child.id, run, status, child.opening) for run in sorted(child.followers))


def start(child: Child, run: int, rules: Rules) -> Changed:
    """``run`` of the parent, which is told of the end; 0: somebody else starts it."""
    if child.status and rules.off is not Off.REPEATED_START:
        return child, ()
    followers = frozenset({run}) if run else frozenset[int]()
    fresh = Child(child.id, "pending", ready=True, followers=followers, starts=child.starts + 1)
    return finish(fresh, "cancelled", rules, Off.TOLD_BEFORE_CLAIM) if child.tombstone else (fresh, ())


def cancel(child: Child, rules: Rules, *, by_parent: bool) -> Changed:
    if not child.status:
        buried = by_parent and rules.off is not Off.TOMBSTONE
        return child._replace(tombstone=child.tombstone or buried), ()
    if child.terminal or child.status == "cancelling":
        return child, ()
    if not child.claimed:
        return finish(child, "cancelled", rules, Off.TOLD_BEFORE_CLAIM)
    return child._replace(status="cancelling", ready=not child.owner), ()


def follow(child: Child, asked: Parcel, rules: Rules, *, expected: bool) -> Changed | None:
    """None: not yet, the parcel is to come again. ``expected``: the waiter has started it, and does not know of its end."""
    if not child.status:
        if expected and rules.off is not Off.FOLLOW_AFTER_START:
            return None
        return child, () if rules.off is Off.FOLLOW_ANSWERS_UNKNOWN else (answer(asked, "unknown", 0),)
    if child.terminal and rules.off is not Off.FOLLOW_COMPARES:
        return child, (answer(asked, child.status, child.opening),)
    return child._replace(followers=child.followers | {asked.run}), ()


def claim(child: Child, rules: Rules) -> Changed:
    if child.late:
        return finish(child, "failed", rules, Off.TOLD_BY_TIME)
    status = "cancelling" if child.status == "cancelling" else "running"
    return child._replace(status=status, claimed=True, owner="alive", ready=False), ()


def turn(child: Child, rules: Rules) -> list[tuple[str, Changed]]:
    """The ways in which a turn may end."""
    if child.late:
        return [("fails, late", finish(child, "failed", rules, Off.TOLD_BY_TIME))]
    if child.status == "cancelling":
        return [("ends as cancelled", finish(child, "cancelled", rules, Off.TOLD_BY_TURN))]
    if rules.variant.stays:
        return [("suspends", (child._replace(status="sleeping", owner=""), ()))]
    return [(f"has {status}", finish(child, status, rules, Off.TOLD_BY_TURN)) for status in ("completed", "failed")]


def reap(child: Child) -> Child:
    status = "cancelling" if child.status == "cancelling" else "pending"
    return child._replace(status=status, owner="", ready=True)


def revive(child: Child, rules: Rules, *, after_end: bool) -> Changed:
    """``after_end``: of its parent."""
    again = child._replace(status="pending", ready=True, opening=child.opening + 1, freed=after_end)
    if not rules.variant.own or rules.off is Off.REOPENED_IS_TOLD:
        return again, ()
    return again, (Parcel("reopened", child.id, 1, opening=again.opening, after_end=after_end),)
