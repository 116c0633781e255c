"""The mechanisms, each with what it looks like when it is off, and the tests that must notice.

`make mutations` switches off one after the other, in a copy of the tree, and runs its tests there.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.faults.mutations.alive import ALIVE
from tests.faults.mutations.ending import ENDING
from tests.faults.mutations.mutation import ROOT, Mutation
from tests.faults.mutations.owning import OWNING
from tests.faults.mutations.waking import WAKING

__all__ = ["MUTATIONS", "ROOT", "Mutation", "named", "table"]

#: In the order of the promises; last, what keeps a process from being alive for everybody but its work.
MUTATIONS = (*OWNING, *WAKING, *ENDING, *ALIVE)


def named(words: Iterable[str]) -> list[Mutation]:
    """Those whose names have one of these words in them; all of them without words."""
    wanted = list(words)
    return [one for one in MUTATIONS if not wanted or any(word in one.name for word in wanted)]


def table() -> str:
    """What docs/faults.md shows."""
    rows = ["| promise | mechanism | switched off in | noticed by |", "|---|---|---|---|"]
    for one in MUTATIONS:
        tests = ", ".join(dict.fromkeys(f"`{path}::{name}`" for path, name in one.functions()))
        rows.append(f"| {one.promise} | {one.name}: {one.mechanism} | [{one.file}](../{one.file}) | {tests} |")
    return "\n".join(rows)
