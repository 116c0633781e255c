"""Asks why executions do not go on, all the time, as somebody would who is on call; an answer there must always be."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from runner import Client
from runner.errors import InfrastructureError, UnknownExecution
from runner.why import Why, assert_explained
from tests.faults.finals import OPEN

#: Seconds between two questions.
EVERY_S = 0.3
#: Of so many executions in a state one is asked about; and of so many in the end.
AMONG = 20


class Questions:
    """``wrote``: a line of the ledger for every execution that nobody could explain. ``seen`` counts the first reasons."""

    def __init__(self, client: Client, seed: int, wrote: Callable[..., None], seen: Counter[str]) -> None:
        self._client = client
        self._chance = random.Random(f"{seed} why")
        self._wrote = wrote
        self._seen = seen

    async def keep_asking(self) -> None:
        """One execution of each state in its turn, until cancelled. An outage of the store is no answer, and no fault."""
        while True:
            for status in OPEN:
                with suppress(InfrastructureError):
                    found = (await self._client.executions(status=status, limit=AMONG)).executions
                    if found:
                        await self._ask(self._chance.choice(found).id)
                await asyncio.sleep(EVERY_S)

    async def ask_last(self) -> None:
        """In the end, of some in every state that there is. Raises StoreUnavailable."""
        for status in (*OPEN, None):
            for one in (await self._client.executions(status=status, limit=AMONG)).executions:
                await self._ask(one.id)

    async def _ask(self, id: str) -> None:
        with suppress(UnknownExecution):  # purged meanwhile
            self._judge(await self._client.why(id))

    def _judge(self, why: Why) -> None:
        self._seen[f"why.{why.codes[0]}"] += 1
        try:
            assert_explained(why)
        except AssertionError as error:
            self._wrote("unexplained", execution=why.execution_id, said=str(error))
