"""What is promised of a parent and its child, checked in every state that can be reached."""

from __future__ import annotations

from collections import Counter

from tests.model.family.rules import Rules
from tests.model.family.state import State


def wrong(state: State, rules: Rules) -> str:
    """What is the matter with the state, or ""."""
    if state.broken:
        return state.broken
    if any(child.starts > 1 for child in state.children):
        return "one child is started twice"
    return _wrong_inbox(state) or (_wrong_silence(state, rules) if at_rest(state, rules) else "")


def ended(state: State, rules: Rules) -> bool:
    """All is quiet, and well: whoever is not over waits for one that lives, and will hear of it."""
    return at_rest(state, rules) and not _wrong_silence(state, rules)


def at_rest(state: State, rules: Rules) -> bool:
    """Nothing is on its way, nobody has anything to do, and time will change nothing."""
    parent = state.parent
    timed = parent.naps or (rules.variant.timeout and parent.waits and parent.run == 1)
    busy = any(one.ready or one.owner for one in (parent, *state.children))
    return not (timed or busy or state.outbox or state.hands)


def _wrong_inbox(state: State) -> str:
    notices = [item for item in state.parent.inbox if item.kind == "ended"]
    if any(item.run != state.parent.run for item in notices):
        return "a notice for an older run has reached a newer one"
    if any(times > 1 for times in Counter((item.child, item.opening, item.asked) for item in notices).values()):
        return "one end is told twice"
    return ""


def _wrong_silence(state: State, rules: Rules) -> str:
    """What must not be so when all is quiet."""
    parent = state.parent
    if not all(state.child(id).starts for id in parent.started):
        return "a start that was recorded is lost"
    if parent.terminal:
        return _runs_on(state, rules)
    child = state.child(parent.child)
    if not child.status or child.terminal or parent.run not in child.followers:
        return "it waits for an end that nobody will tell it of"
    return ""


def _runs_on(state: State, rules: Rules) -> str:
    # One that an operator has reopened since is the operator's.
    running = any(one.status and not one.terminal and not one.freed for one in state.children)
    if running and rules.variant.own and rules.variant.policy == "cancel":
        return "a child runs on after its parent's end"
    return ""
