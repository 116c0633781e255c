"""A longer look than the tests take: ``python -m tests.model`` (about five minutes, 1 GB).

Prints states and transitions of each run, and the shortest way to whatever is wrong. With names of mechanisms
(``python -m tests.model FENCE TOMBSTONE``; those of ``Off`` in ``tests/model/rules.py``, for one execution, and in
``tests/model/family/rules.py``, for a parent and its child) it shows, within seconds, what happens without each of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from tests.model import protocol, rules
from tests.model.explore import Report
from tests.model.family import protocol as family_protocol
from tests.model.family import rules as family_rules
from tests.model.family.rules import Faults as FamilyFaults
from tests.model.family.rules import Variant as Family
from tests.model.rules import Faults, Variant

LONG = (
    (Variant(), Faults(kill=1, pause=1, reply=1)),
    (Variant(), Faults(kill=2, loss=1, reply=1, drain=1)),
    (Variant(timeout=False), Faults(pause=2, copy=1)),
    (Variant(cancel=True), Faults(kill=1, reply=1)),
    (Variant(cancel=True), Faults(pause=1)),
    (Variant(deadline=True), Faults(kill=1, pause=1)),
    (Variant(retry=True), Faults(kill=1, pause=1)),
    (Variant(cancel=True, deadline=True, retry=True), Faults(kill=1)),
)
LONG_FAMILY = (
    (Family(), FamilyFaults(kill=2, copy=2, cancel=1)),
    (Family(), FamilyFaults(copy=1, force=1, reopen=1)),
    (Family(stays=True), FamilyFaults(kill=1, copy=1, force=1, reopen=1)),
    (Family(timeout=True, stays=True), FamilyFaults(copy=1, force=1, reopen=1)),
    (Family(deadline=True), FamilyFaults(kill=1, copy=1, cancel_child=1, force=1)),
    (Family("leaves", stays=True), FamilyFaults(kill=2, copy=2)),
    (Family("hurries"), FamilyFaults(kill=1, copy=1)),
    (Family("hurries", stays=True), FamilyFaults(kill=1, copy=1, cancel=1)),
    (Family("hurries", stays=True), FamilyFaults(force=1, reopen=1)),
    (Family("continues", timeout=True), FamilyFaults(kill=1, copy=1)),
    (Family("continues", timeout=True), FamilyFaults(force=1, reopen=1)),
    (Family("follows"), FamilyFaults(copy=1, reopen=1, revive=1)),
    (Family("insists"), FamilyFaults(reopen=1, revive=1)),
    (Family("insists"), FamilyFaults(kill=1, cancel=1)),
)
#: What the names on the command line stand for; no name is that of two mechanisms.
MECHANISMS: dict[str, tuple[Any, Callable[[Any], Any], Callable[..., Report[Any]], bool]] = {
    **{off.name: (off, rules.shows, protocol.check, off in rules.HARMLESS) for off in rules.Off},
    **{
        off.name: (off, family_rules.shows, family_protocol.check, off in family_rules.HARMLESS)
        for off in family_rules.Off
        if off is not family_rules.Off.NOTHING
    },
}


def say(title: str, look: Callable[[], Report[Any]]) -> bool:
    began = time.monotonic()
    report = look()
    print(title)
    print(f"  {report.states:,} states, {report.transitions:,} transitions, {time.monotonic() - began:.1f} s")
    print(f"  {report.finding or 'nothing wrong'}", flush=True)
    return report.finding is None


def without(name: str) -> bool:
    """Whether what was found without a mechanism is what is to be expected."""
    off, shows, check, harmless = MECHANISMS[name]
    variant, faults = shows(off)
    return say(f"{off.value}: {variant}, {faults}", lambda: check(variant, faults, off)) == harmless


def long_look() -> list[bool]:
    one = [say(f"{variant}, {faults}", lambda v=variant, f=faults: protocol.check(v, f)) for variant, faults in LONG]
    two = [
        say(f"family: {variant}, {faults}", lambda v=variant, f=faults: family_protocol.check(v, f))
        for variant, faults in LONG_FAMILY
    ]
    return one + two


def main(names: list[str]) -> int:
    return 0 if all([without(name) for name in names] if names else long_look()) else 1


sys.exit(main(sys.argv[1:]))
