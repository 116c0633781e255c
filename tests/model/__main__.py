"""A longer look than the tests take: ``python -m tests.model`` (two to three minutes, 1 GB).

Prints states and transitions of each run, and the shortest way to whatever is wrong. With names of mechanisms
(``python -m tests.model FENCE REAP``; those of ``Off`` in ``tests/model/rules.py``) it shows, within seconds, what
happens without each of them.
"""

from __future__ import annotations

import sys
import time

from tests.model.protocol import check
from tests.model.rules import HARMLESS, Faults, Off, Variant, shows

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


def say(variant: Variant, faults: Faults, off: Off) -> bool:
    began = time.monotonic()
    report = check(variant, faults, off)
    print(f"{off.value}: {variant}, {faults}")
    print(f"  {report.states:,} states, {report.transitions:,} transitions, {time.monotonic() - began:.1f} s")
    print(f"  {report.finding or 'nothing wrong'}", flush=True)
    return report.finding is None


def main(names: list[str]) -> int:
    if names:
        expected = [say(*shows(off), off) == (off in HARMLESS) for off in (Off[name] for name in names)]
    else:
        expected = [say(variant, faults, Off.NOTHING) for variant, faults in LONG]
    return 0 if all(expected) else 1


sys.exit(main(sys.argv[1:]))
