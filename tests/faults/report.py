"""What a run has shown, for people: findings with their story, figures as a table."""

from __future__ import annotations

from tests.faults.checker import tell
from tests.faults.run import Outcome

#: Findings that are listed; one bug has many.
LISTED = 20


def story(outcome: Outcome) -> str:
    """The findings, and the ledger of the first one that is about an execution, in the order of time."""
    said = [f"{len(outcome.findings)} findings"]
    said += [f"{one.kind:<14} {one.execution}  {one.said}" for one in outcome.findings[:LISTED]]
    first = next((one for one in outcome.findings if one.execution), None)
    if first is not None:
        said.append(f"the ledger of {first.execution}:")
        tell(outcome.lines, first, said.append)
    return "\n".join(said)
