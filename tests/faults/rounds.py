"""A round ends when every fault of it is healed: then nothing may be wrong with the store, though it runs on.

`runner fsck` finds nothing, a leader's look finds nothing that nobody would wake, and no leader's metric says otherwise.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.request import urlopen

from runner import Client
from runner.core.wakefulness import Finding
from runner.errors import InfrastructureError
from runner.scheduler.unwakeable import Unwakeable
from runner.store import Store
from tests.faults.rig import LOOK_S, PATIENCE_S, Rig

T = TypeVar("T")

#: Seconds between the two looks that a finding takes.
REST_S = 0.5


class Rounds:
    """``due`` says when the next one ends; ``end`` checks, and writes what is wrong into the ledger."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._next = time.monotonic() + rig.setup.round_s

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._next

    async def end(self) -> None:
        rig = self._rig
        for finding in await answered(lambda: unsound(rig.client)):
            rig.wrote("unsound", subject=finding.subject, code=finding.code, said=finding.text)
        for id, code in (await answered(lambda: unwakeable(rig.client.store))).items():
            rig.wrote("unwakeable", execution=id, code=code, said="by the look of a leader")
        for scheduler, count in (await asyncio.to_thread(gauges, rig)).items():
            if count:
                rig.wrote("unwakeable", execution="", code="metric", said=f"{scheduler} says {count}")
        rig.seen["rounds"] += 1
        self._next = time.monotonic() + rig.setup.round_s


async def unsound(client: Client) -> list[Finding]:
    """What a check of the store finds, and finds again a moment later: what is just happening is none."""
    found = set((await client.fsck()).findings)
    if found:
        await asyncio.sleep(REST_S)
        found &= set((await client.fsck()).findings)
    return sorted(found, key=lambda one: (one.code, one.subject))


async def unwakeable(store: Store) -> Mapping[str, str]:
    """What a leader would find that went through all partitions now: codes by id."""
    look = Unwakeable(store, REST_S)
    found = await asyncio.gather(*(look.look_through(partition) for partition in range(store.partitions)))
    return {id: code for one in found for id, code in one.items()}


def gauges(rig: Rig) -> dict[str, int]:
    """The metric ``unwakeable_executions`` of every scheduler that works, by its name."""
    told: dict[str, int] = {}
    for member in rig.up("scheduler"):
        port = rig.told(member, "health.listening")["port"]
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                facts = json.load(answer)
        except OSError:
            continue  # it has just ended, or is not ready
        told[facts["scheduler"]] = facts["unwakeable_executions"]
    return told


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, as soon as the store gives one: it may have been struck a moment ago."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await ask()
            except InfrastructureError:
                await asyncio.sleep(LOOK_S)
