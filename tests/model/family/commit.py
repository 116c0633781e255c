"""The parent's turn: what its code does with all it has seen, and the commit that this comes to."""

from __future__ import annotations

from typing import NamedTuple

from tests.model.family import parent as store
from tests.model.family.parcels import Parcel
from tests.model.family.parent import Bond, Item, Parent
from tests.model.family.rules import Off, Rules


class Committed(NamedTuple):
    name: str
    parent: Parent
    parcels: tuple[Parcel, ...]
    broken: str = ""


def commit(parent: Parent, rules: Rules) -> Committed:
    """All that the turn has come to since its last look, in one change."""
    if any(item.kind == "cancel" for item in parent.inbox[: parent.seen]):
        return _ended(parent, "cancelled", rules)
    sent: tuple[Parcel, ...] = ()
    if not parent.child:
        parent, sent = _started(parent, rules)
    item = heard = None
    if _may_wait(parent, rules) and not parent.heard:
        item, heard = _hear(parent, rules)
    done = _decided(_noted(parent, heard), rules)
    return done._replace(parcels=(*sent, *done.parcels), broken=done.broken or _wrongly_heard(item, rules))


def _may_wait(parent: Parent, rules: Rules) -> bool:
    return rules.variant.code != "leaves" and not (rules.variant.code == "hurries" and parent.run == 1)


def _started(parent: Parent, rules: Rules) -> tuple[Parent, tuple[Parcel, ...]]:
    """The child's id is derived: the same in every turn of one opening, another in the next."""
    if not rules.variant.own:
        return parent._replace(child=1), ()
    child = parent.opening + 1
    known = parent._replace(
        child=child, bonds=parent.bonds | {Bond(child, parent.run)}, started=parent.started | {child}
    )
    return known, (Parcel("start", child, parent.run, parent.asked),)


def _hear(parent: Parent, rules: Rules) -> tuple[Item | None, str | None]:
    """What the wait hears: the latest notice that came in time, or the timeout, if it had passed at the last look."""
    for item in reversed(parent.inbox[: parent.seen]):
        if item.child == parent.child and not item.late and not _outdated(parent, item, rules):
            return item, item.status
    timed = _timed(parent, rules) and parent.waits and parent.looked
    return None, "timeout" if timed else None


def _outdated(parent: Parent, item: Item, rules: Rules) -> bool:
    """Who asks goes by answers to its question; a child's end is told once, maybe before anybody waits."""
    if rules.off is Off.NO_OLDER_NOTICE:
        return False
    if rules.variant.own and parent.run == 1 and (not parent.opening or rules.off is Off.REOPENED_HEARS_ANEW):
        return False
    return item.older or not parent.waits


def _timed(parent: Parent, rules: Rules) -> bool:
    return rules.variant.timeout and parent.run == 1


def _noted(parent: Parent, heard: str | None) -> Parent:
    if heard is None:
        return parent
    return parent._replace(heard=heard, waits=False, passed=False, looked=False)


def _wrongly_heard(item: Item | None, rules: Rules) -> str:
    if item is None:
        return ""
    if item.status == "unknown" and rules.variant.own:
        return "its own child is not known to it"
    return "a wait hears what was so no longer when it was opened" if item.stale else ""


def _decided(parent: Parent, rules: Rules) -> Committed:
    """What the code does then."""
    code = rules.variant.code
    if code == "leaves":
        return _ended(parent, "completed", rules)
    if parent.run == 1 and (code == "hurries" or (code == "continues" and parent.heard)):
        return _continued(parent, rules)
    if code == "insists" and parent.heard == "unknown" and not parent.asked:
        return _napping(parent)
    if parent.heard in ("completed", "timeout"):
        return _ended(parent, "completed", rules)
    if parent.heard:
        return _ended(parent._replace(escaped=True), "failed", rules)
    return _suspended(parent, rules)


def _ended(parent: Parent, status: str, rules: Rules) -> Committed:
    """Completion wins over a cancel that the turn has not seen, failure does not."""
    if status == "failed" and parent.cancelled:
        status = "cancelled"
    return Committed(status, *store.finish(parent, status, rules))


def _continued(parent: Parent, rules: Rules) -> Committed:
    """The next run: of the inbox it keeps what is no notice, and it gets the child's id with its input."""
    bonds = frozenset(bond for bond in parent.bonds if not bond.ended and rules.off is not Off.BONDS_OUTLIVE_RUNS)
    begun = parent._replace(
        status="cancelling" if parent.status == "cancelling" else "pending",
        owner="",
        ready=True,
        run=2,
        heard="",
        asked=parent.asked + 1,
        inbox=tuple(item for item in parent.inbox if item.kind == "cancel"),
        bonds=bonds,
        seen=0,
    )
    return Committed("continues as new", begun, ())


def _napping(parent: Parent) -> Committed:
    if len(parent.inbox) > parent.seen:
        return Committed("sleep is refused", store.looked(parent), ())
    status = "cancelling" if parent.status == "cancelling" else "sleeping"
    return Committed("sleeps", parent._replace(status=status, owner="", naps=True, seen=0), ())


def _suspended(parent: Parent, rules: Rules) -> Committed:
    """Opens the wait, with what has its end told; refused while there is news."""
    sent = () if parent.waits or not _asks(parent, rules) else (_follow(parent),)
    waiting = parent if parent.waits else _opened(parent)
    if len(parent.inbox) > parent.seen or parent.passed:
        return Committed("suspension is refused", store.looked(waiting), sent)
    status = "cancelling" if parent.status == "cancelling" else "sleeping"
    return Committed("suspends", waiting._replace(status=status, owner="", seen=0, looked=False), sent)


def _opened(parent: Parent) -> Parent:
    older = tuple(item._replace(older=item.kind == "ended") for item in parent.inbox)
    return parent._replace(waits=True, inbox=older)


def _asks(parent: Parent, rules: Rules) -> bool:
    """A child's start has its end told to the run that starts it."""
    if not rules.variant.own or parent.run > 1:
        return True
    return parent.opening > 0 and rules.off is not Off.ASKS_AGAIN


def _follow(parent: Parent) -> Parcel:
    return Parcel("follow", parent.child, parent.run, parent.asked)
