"""The parent as the store keeps it: every atomic change to it but a turn's commit, which is in ``commit``."""

from __future__ import annotations

from typing import NamedTuple

from tests.model.family.parcels import Parcel
from tests.model.family.rules import Off, Rules

TERMINAL = frozenset({"completed", "failed", "cancelled"})


class Item(NamedTuple):
    """One item of the inbox."""

    kind: str  # cancel | ended
    child: int = 0
    status: str = ""
    opening: int = 0  # of the child
    asked: int = 0  # which question it answers at once, if any
    run: int = 0  # of the parent, for which it was meant
    late: bool = False  # it came after the open wait's deadline
    older: bool = False  # it came before the open wait was opened
    # For the properties alone: no longer so when the parent came to ask once more.
    stale: bool = False

    @property
    def version(self) -> int:
        """Of the child that it tells of."""
        return 0 if self.status == "unknown" else self.opening + 1


class Bond(NamedTuple):
    """A child that the parent knows of. The phase is odd when it is known to have ended, and counts on when it is reopened."""

    child: int
    run: int  # that started it
    phase: int = 0

    @property
    def ended(self) -> bool:
        return self.phase % 2 == 1


class Parent(NamedTuple):
    status: str = "pending"
    claimed: bool = False  # ever
    owner: str = ""  # "" | alive | dead
    ready: bool = True
    run: int = 1
    opening: int = 0
    child: int = 0  # recorded in the journal, or handed to the next run
    heard: str = ""  # recorded: what the wait has come to
    waits: bool = False
    passed: bool = False  # the timeout of the wait
    naps: bool = False  # it sleeps before it asks a second time
    asked: int = 0  # which of its questions this is
    escaped: bool = False  # it failed over what it had heard
    inbox: tuple[Item, ...] = ()
    requests: frozenset[tuple[int, int, int, int]] = frozenset()
    bonds: frozenset[Bond] = frozenset()
    # What the turn knows:
    seen: int = 0
    looked: bool = False  # the timeout had passed at its last look
    # What no store keeps, for the properties alone:
    started: frozenset[int] = frozenset()  # all its children

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def cancelled(self) -> bool:
        return any(item.kind == "cancel" for item in self.inbox)


def finish(parent: Parent, status: str, rules: Rules) -> tuple[Parent, tuple[Parcel, ...]]:
    """Every end there is, and the cancels of the children that end with it."""
    over = parent._replace(
        status=status, owner="", ready=False, waits=False, passed=False, naps=False, seen=0, looked=False
    )
    if rules.variant.policy == "abandon" or rules.off is Off.CANCEL_CHILDREN:
        return over, ()
    return over, tuple(Parcel("cancel", child, asked=parent.opening) for child in sorted(unended(parent)))


def claim(parent: Parent) -> Parent:
    status = "cancelling" if parent.status == "cancelling" else "running"
    claimed = parent._replace(status=status, claimed=True, owner="alive", ready=False)
    return looked(claimed)


def looked(parent: Parent) -> Parent:
    """The turn has had the store's answer."""
    return parent._replace(seen=len(parent.inbox), looked=parent.passed)


def reap(parent: Parent) -> Parent:
    status = "cancelling" if parent.status == "cancelling" else "pending"
    return parent._replace(status=status, owner="", ready=True)


def due(parent: Parent) -> Parent:
    return parent._replace(ready=True)


def cancel(parent: Parent, rules: Rules) -> tuple[Parent, tuple[Parcel, ...]]:
    appended = parent._replace(inbox=(*parent.inbox, Item("cancel")))
    if not parent.claimed:
        return finish(appended, "cancelled", rules)
    return appended._replace(status="cancelling", ready=not parent.owner), ()


def deliver(parent: Parent, notice: Parcel, rules: Rules) -> Parent:
    """How the child has ended; once a run."""
    request = _once(notice, rules)
    if request in parent.requests and rules.off is not Off.REPEATED_NOTICE:
        return parent
    if rules.off is not Off.BOND_ENDS:
        parent = _told(parent, notice.child, 2 * notice.opening + 1, rules)
    if parent.terminal or (notice.run != parent.run and rules.off is not Off.RUN_OF_NOTICE):
        return parent
    item = Item("ended", notice.child, notice.status, notice.opening, notice.asked, notice.run, parent.passed)
    ready = parent.ready or (not parent.owner and parent.status != "pending")
    return parent._replace(inbox=(*parent.inbox, item), requests=parent.requests | {request}, ready=ready)


def unended(parent: Parent) -> frozenset[int]:
    return frozenset(bond.child for bond in parent.bonds if not bond.ended)


def take_reopened(parent: Parent, told: Parcel, rules: Rules) -> tuple[Parent, tuple[Parcel, ...]]:
    """A child goes on again; a parent that has ended since has it cancelled."""
    known = {bond.child for bond in parent.bonds}
    if told.child not in known and told.run < parent.run and rules.off is not Off.OLDER_CHILD_KNOWN_ANEW:
        parent = parent._replace(bonds=parent.bonds | {Bond(told.child, told.run)})
    parent = _told(parent, told.child, 2 * told.opening, rules)
    ends_with_it = rules.variant.policy == "cancel" and told.child in unended(parent)
    if not parent.terminal or told.after_end or not ends_with_it or rules.off is Off.REOPENED_BEFORE_END:
        return parent, ()
    return parent, (Parcel("cancel", told.child, asked=parent.opening),)


def _told(parent: Parent, child: int, phase: int, rules: Rules) -> Parent:
    """What is older than what is known of a child is passed by; one of an older run that has ended is forgotten."""
    bonds = set(parent.bonds)
    for bond in parent.bonds:
        if bond.child == child and (bond.phase < phase or rules.off is Off.PHASES_IN_ORDER):
            bonds.discard(bond)
            if phase % 2 == 0 or bond.run == parent.run:
                bonds.add(bond._replace(phase=phase))
    return parent._replace(bonds=frozenset(bonds))


def _once(notice: Parcel, rules: Rules) -> tuple[int, int, int, int]:
    child, opening, asked, run = notice.request
    if rules.off is Off.REQUESTS_OF_A_RUN:
        run = 0
    return child, opening, 0 if rules.off is Off.ANSWER_OF_ITS_OWN else asked, run


def reopen(parent: Parent, version: int, rules: Rules) -> Parent:
    """An operator has it tried again, without what it failed over. ``version`` is what became of the child.

    A notice that is on its way right then may still be heard: it was true a moment ago.
    """
    again = parent._replace(
        status="pending",
        ready=True,
        opening=parent.opening + 1,
        asked=parent.asked + 1,
        inbox=out_of_date(parent, version),
    )
    if not parent.escaped:
        return again
    child = 0 if rules.variant.own and parent.run == 1 else parent.child
    return again._replace(child=child, heard="", escaped=False)


def out_of_date(parent: Parent, version: int) -> tuple[Item, ...]:
    """The inbox when the parent asks once more; in time for a new wait is all of it."""
    return tuple(
        item._replace(late=False, stale=item.kind == "ended" and item.version < version) for item in parent.inbox
    )
