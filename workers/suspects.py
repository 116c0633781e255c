"""Executions that may be killing their workers: a process runs one of them at a time.

When a process dies, everything that ran in it has lost a worker, and nobody can tell whose doing it was. So whoever lost
two in a row is a suspect; suspects never share a process, and each gets on or goes down without the others. What is
harmless records an entry and is no suspect any more: from its next turn on, for what it does in this one has not been seen
to its end. So one with a long turn keeps other suspects waiting, or has them run in other processes; everybody else runs.

Who is a suspect is known with the claim. Those that were claimed together are given back, all but one, before that one
begins: it may end the process at once, and they would have lost one more worker in which they never ran.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from runner.records import Execution

#: So many workers lost in a row make a suspect: one can be chance.
SUSPECT = 2
#: So long a suspect waits at most for what was claimed together with it.
SETTLE_S = 5.0
#: Why a suspect was passed over.
ALONE = f"it lost {SUSPECT} workers in a row or more, and may not share a process with another one that did"


class Suspects:
    """At most one is here; for a moment twice, when its lease was lost and taken again."""

    def __init__(self) -> None:
        self._here: list[str] = []  # its id, for each of its turns
        self._undecided: set[asyncio.Event] = set()

    def claiming(self) -> asyncio.Event:
        """Something is being claimed: told from now on to whoever has to be alone, until it is ``decided``."""
        claim = asyncio.Event()
        self._undecided.add(claim)
        return claim

    def decided(self, claim: asyncio.Event) -> None:
        """It is here to stay, or was given back. Idempotent."""
        self._undecided.discard(claim)
        claim.set()

    async def alone(self, execution: Execution) -> None:
        """Wait, where this is a suspect, until nothing is undecided that is so now."""
        if execution.crashes >= SUSPECT:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    for claim in tuple(self._undecided):
                        await claim.wait()

    def admit(self, execution: Execution) -> bool:
        """False for a suspect while another one is here."""
        if execution.crashes < SUSPECT:
            return True
        if any(id != execution.id for id in self._here):
            return False
        self._here.append(execution.id)
        return True

    def leave(self, execution: Execution) -> None:
        """A turn of it is over."""
        if execution.id in self._here:
            self._here.remove(execution.id)
