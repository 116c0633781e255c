"""Which member of a union a plain value belongs to.

The payload does not say: a dataclass is stored as a map of its fields, whatever its name. So the
member is chosen whose object is stored in exactly these bytes; when there is none (a field was
added or dropped since), the one whose fields differ least. The first of equals wins. Two members
with the same fields cannot be told apart; ``roundtrip`` then refuses the second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.codec.lower import Lowering
from runner.codec.misfit import Misfit
from runner.codec.rules import Memo, Rule
from runner.codec.wire import pack

_FAR = 1_000_000


def one_rule_of(rules: Sequence[Rule], said: str) -> Rule:
    """``said``: the union as messages call it."""
    passes = frozenset[type]().union(*(rule.passes for rule in rules))
    literal = any(rule.literal for rule in rules)

    def apply(value: Any, memo: Memo) -> Any:
        if not literal and type(value) in passes:
            return value
        # Remembered, for unions within unions would be tried over and over, twice as often on every level.
        place = (id(value), id(rules))
        if place not in memo:
            memo[place] = _choose(rules, value, memo)
        if memo[place] is _NONE:
            raise Misfit(f"fits none of {said}")
        return memo[place]

    return Rule(apply, frozenset() if literal else passes, literal)


_NONE = object()


def _choose(rules: Sequence[Rule], value: Any, memo: Memo) -> Any:
    best, nearest = _NONE, _FAR + 1
    stored = pack(Lowering().value(value))
    for rule in rules:
        try:
            found = rule.apply(value, memo)
            distance = _distance(value, stored, found)
        except Misfit:
            continue
        if distance < nearest:
            best, nearest = found, distance
        if distance == 0:
            break
    return best


def _distance(value: Any, stored: bytes, found: Any) -> int:
    plain = Lowering().value(found)
    if pack(plain) == stored:
        return 0
    if type(value) is type(plain) is dict:
        return 1 + len(value.keys() ^ plain.keys())
    return _FAR
