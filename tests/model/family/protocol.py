"""The protocol between executions: a parent and its child, or an execution and one that it follows, in two partitions.

Each has its own record, and no change touches both: what one causes at the other goes through the outbox. The parent's
changes are in ``parent``, its turn in ``commit``, the child's in ``child``, the carrying in ``carrying``, what must hold
in ``promises``. The first model has shown that what is ready is claimed in the end, whatever hints are lost, and that
a lease has one owner; so here a hint is no more than being ready, and a turn is given up with its lease.

Left out: a child's key that belongs to somebody else (conflict, mismatch), attempts within one opening (they name
children as openings do), more than one reopening, and retention.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.model.explore import Report, explore
from tests.model.family import child as children
from tests.model.family import parent as parents
from tests.model.family.carrying import couriers, scheduler
from tests.model.family.child import Changed, Child
from tests.model.family.commit import commit
from tests.model.family.promises import ended, wrong
from tests.model.family.rules import Faults, Off, Rules, Variant
from tests.model.family.state import Moves, State, first, posted, spent, tidied, with_child


def check(variant: Variant, faults: Faults, off: Off = Off.NOTHING) -> Report[State]:
    """Look at everything that can become of a family."""
    rules = Rules(variant, off)
    return explore(first(faults), partial(moves, rules=rules), partial(wrong, rules=rules), partial(ended, rules=rules))


def moves(state: State, rules: Rules) -> Moves:
    for actor in ACTORS:
        for name, fault, after in actor(state, rules):
            yield name, fault, tidied(after)


# -- the parent -----------------------------------------------------------------------------------------


def parent(state: State, rules: Rules) -> Moves:
    one = state.parent
    if one.ready and not one.owner:
        yield "parent: claimed", False, state._replace(parent=parents.claim(one))
    elif one.owner == "alive":
        done = commit(one, rules)
        after = posted(state._replace(parent=done.parent, broken=done.broken), done.parcels, rules)
        yield f"parent: commit, {done.name}", False, after
        if state.faults.kill:
            yield (
                "kill -9 of the parent's worker",
                True,
                spent(state._replace(parent=one._replace(owner="dead")), "kill"),
            )
    elif one.owner == "dead":
        yield "scheduler: reaps the parent", False, state._replace(parent=parents.reap(one))


def clock(state: State, rules: Rules) -> Moves:
    one = state.parent
    if one.waits and rules.variant.timeout and one.run == 1 and not one.passed:
        yield "clock: the wait times out", False, state._replace(parent=one._replace(passed=True))
    if one.waits and one.passed and not (one.ready or one.owner):
        yield "scheduler: the parent is due", False, state._replace(parent=parents.due(one))
    if one.naps:
        asks = one._replace(
            naps=False, ready=True, heard="", asked=1, inbox=parents.out_of_date(one, state.child(1).version)
        )
        yield "scheduler: the parent's sleep is over", False, state._replace(parent=asks)
    for child in state.children:
        if rules.variant.deadline and child.status and not (child.terminal or child.late):
            yield f"clock: the deadline of child {child.id} passes", False, with_child(state, child._replace(late=True))


# -- the child ------------------------------------------------------------------------------------------


def child(state: State, rules: Rules) -> Moves:
    for one in state.children:
        for name, changed in _works(one, rules):
            yield f"child {one.id}: {name}", False, _with(state, changed, rules)
        if one.owner == "alive" and state.faults.kill:
            dead = with_child(state, one._replace(owner="dead"))
            yield f"kill -9 of the worker of child {one.id}", True, spent(dead, "kill")


def _works(one: Child, rules: Rules) -> list[tuple[str, Changed]]:
    if one.owner == "alive":
        return children.turn(one, rules)
    if one.owner == "dead":
        return [("is reaped", (children.reap(one), ()))]
    found: list[tuple[str, Changed]] = []
    if one.ready:
        found.append(("claimed", children.claim(one, rules)))
    if one.late:
        found.append(("its deadline ends it", children.finish(one, "failed", rules, Off.TOLD_BY_TIME)))
    return found


def _with(state: State, changed: Changed, rules: Rules) -> State:
    return posted(with_child(state, changed[0]), changed[1], rules)


def producer(state: State, rules: Rules) -> Moves:
    """Somebody else may start what is followed, at any time."""
    if not rules.variant.own and not state.child(1).status:
        yield "producer: starts it", False, _with(state, children.start(state.child(1), 0, rules), rules)


# -- people ---------------------------------------------------------------------------------------------


def people(state: State, rules: Rules) -> Moves:
    one, left = state.parent, state.faults
    if left.cancel and not (one.terminal or one.cancelled):
        after, parcels = parents.cancel(one, rules)
        yield "somebody cancels the parent", True, spent(posted(state._replace(parent=after), parcels, rules), "cancel")
    for kid in state.children:
        if left.cancel_child and kid.status and not kid.terminal and kid.status != "cancelling":
            after_cancel = _with(state, children.cancel(kid, rules, by_parent=False), rules)
            yield f"somebody cancels child {kid.id}", True, spent(after_cancel, "cancel_child")


def operator(state: State, rules: Rules) -> Moves:
    one, left = state.parent, state.faults
    if left.force and not one.terminal:
        after, parcels = parents.finish(one._replace(escaped=False), "failed", rules)
        yield "operator: ends the parent", True, spent(posted(state._replace(parent=after), parcels, rules), "force")
    if left.reopen and one.status == "failed" and not one.cancelled:
        again = parents.reopen(one, state.child(one.child or 1).version, rules)
        bound = tuple(kid._replace(freed=False) for kid in state.children)
        yield "operator: reopens the parent", True, spent(state._replace(parent=again, children=bound), "reopen")
    for kid in state.children:
        if left.force and kid.status and not kid.terminal:
            forced = _with(state, children.finish(kid, "failed", rules, Off.TOLD_BY_OPERATOR), rules)
            yield f"operator: ends child {kid.id}", True, spent(forced, "force")
        if left.revive and kid.status == "failed":
            revived = children.revive(kid, rules, after_end=one.terminal)
            yield f"operator: reopens child {kid.id}", True, spent(_with(state, revived, rules), "revive")


ACTORS: tuple[Callable[[State, Rules], Moves], ...] = (
    parent,
    clock,
    child,
    producer,
    couriers,
    scheduler,
    people,
    operator,
)
