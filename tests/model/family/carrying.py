"""Who carries parcels: applied first, then removed, in any order and more than once, and left behind by the dying."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.family import child as children
from tests.model.family import parent as parents
from tests.model.family.parcels import Parcel
from tests.model.family.rules import Off, Rules
from tests.model.family.state import Hand, Moves, State, posted, spent, with_child


def couriers(state: State, rules: Rules) -> Moves:
    for place, hand in enumerate(state.hands):
        if place and hand == state.hands[place - 1]:
            continue
        yield from _carries(state, place, rules)
        if state.faults.kill:
            yield f"kill -9 of the courier with {_said(hand)}", True, spent(_without(state, place), "kill")
        if state.faults.copy:
            yield f"somebody else takes up {_said(hand)}", True, spent(_taken(state, hand.parcel), "copy")


def scheduler(state: State, rules: Rules) -> Moves:
    """The sweep: what nobody carries."""
    if rules.off is Off.SWEEP:
        return
    for parcel in _left(state):
        yield f"scheduler: finds {_said(Hand(parcel))}", False, _taken(state, parcel)


def _left(state: State) -> Iterator[Parcel]:
    carried = {hand.parcel for hand in state.hands}
    yield from sorted(state.outbox - carried)


def _carries(state: State, place: int, rules: Rules) -> Moves:
    hand = state.hands[place]
    parcel = hand.parcel
    if rules.off is Off.REMOVE_AFTER_APPLY and parcel in state.outbox:
        yield f"courier: removes {_said(hand)}", False, state._replace(outbox=state.outbox - {parcel})
    elif hand.applied:
        gone = _without(state, place)
        yield f"courier: removes {_said(hand)}", False, gone._replace(outbox=state.outbox - {parcel})
    else:
        yield f"courier: applies {_said(hand)}", False, _applied(_without(state, place), parcel, rules)


def _applied(state: State, parcel: Parcel, rules: Rules) -> State:
    """The parcel has done its work, and is still to be removed; one that could not stays in the outbox."""
    after = apply(state, parcel, rules)
    if after is None:
        return state
    return after._replace(hands=tuple(sorted((*after.hands, Hand(parcel, applied=True)))))


def apply(state: State, parcel: Parcel, rules: Rules) -> State | None:
    if parcel.kind == "ended":
        return state._replace(parent=parents.deliver(state.parent, parcel, rules))
    if parcel.kind == "reopened":
        told, parcels = parents.take_reopened(state.parent, parcel, rules)
        return posted(state._replace(parent=told), parcels, rules)
    child = state.child(parcel.child)
    match parcel.kind:
        case "start":
            changed: children.Changed | None = children.start(child, parcel.run, rules)
        case "cancel":
            changed = children.cancel(child, rules, by_parent=True)
        case _:
            expected = parcel.child in parents.unended(state.parent)
            changed = children.follow(child, parcel, rules, expected=expected)
    return None if changed is None else posted(with_child(state, changed[0]), changed[1], rules)


def _taken(state: State, parcel: Parcel) -> State:
    return state._replace(hands=tuple(sorted((*state.hands, Hand(parcel)))))


def _without(state: State, place: int) -> State:
    return state._replace(hands=state.hands[:place] + state.hands[place + 1 :])


def _said(hand: Hand) -> str:
    one = hand.parcel
    words = {
        "start": "the start",
        "cancel": "the cancel",
        "follow": "the follow",
        "ended": f"the notice ({one.status})",
        "reopened": "the word of a reopening",
    }
    return f"{words[one.kind]} of child {one.child}, {'applied' if hand.applied else 'not applied'}"
