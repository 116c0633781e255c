"""The two of them at one moment, with what is on its way between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.explore import Move
from tests.model.family.child import Child
from tests.model.family.parcels import Parcel
from tests.model.family.parent import Bond, Parent
from tests.model.family.rules import Faults, Off, Rules


class Hand(NamedTuple):
    """Somebody carries a parcel: the courier of whoever caused it, or the scheduler's."""

    parcel: Parcel
    applied: bool = False


class State(NamedTuple):
    parent: Parent
    children: tuple[Child, ...]  # that of the first opening and that of the second
    outbox: frozenset[Parcel]  # of both partitions
    hands: tuple[Hand, ...]  # sorted: whose they are makes no difference
    faults: Faults  # left
    broken: str = ""  # what has gone wrong on the way, and is not to be seen in the state

    def child(self, id: int) -> Child:
        return self.children[id - 1]


Moves = Iterator[Move[State]]


def first(faults: Faults) -> State:
    """The parent has been started."""
    return State(Parent(), (Child(1), Child(2)), frozenset(), (), faults)


def spent(state: State, kind: str) -> State:
    """A fault has struck."""
    faults = state.faults
    return state._replace(faults=faults._replace(**{kind: getattr(faults, kind) - 1}))


def with_child(state: State, child: Child) -> State:
    return state._replace(children=tuple(child if one.id == child.id else one for one in state.children))


def posted(state: State, parcels: tuple[Parcel, ...], rules: Rules) -> State:
    """A change has put parcels into the outbox, and its answer into the hands of whoever caused it."""
    if not parcels:
        return state
    hands = tuple(sorted((*state.hands, *(Hand(parcel) for parcel in parcels))))
    outbox = state.outbox if rules.off is Off.OUTBOX_WITH_CHANGE else state.outbox.union(parcels)
    return state._replace(outbox=outbox, hands=hands)


def _reopened(state: State) -> bool:
    """Somebody may still be told of a reopening."""
    return any(child.opening for child in state.children)


def tidied(state: State) -> State:
    """Without what can make no difference any more: fewer states."""
    parent, children = state.parent, state.children
    if parent.terminal and not state.faults.reopen:
        # What it knows of its children matters while one of them may be opened again, or the word of that is on its way.
        bonds = parent.bonds if state.faults.revive or _reopened(state) else frozenset[Bond]()
        parent = Parent(status=parent.status, run=parent.run, ready=False, started=parent.started, bonds=bonds)
    if not state.faults.revive:
        children = tuple(one._replace(followers=frozenset()) if one.terminal else one for one in children)
    return state._replace(parent=parent, children=children)
