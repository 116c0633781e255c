"""What the scenarios share: waiting for a status, deaths of workers, and proof that nothing is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from runner import App, Handle, RunnerError, Status, StoreUnavailable
from runner.store import Store
from runner.transactions import Commit, Committed
from runner.workers.turn import LeaseLost
from tests.integration.conftest import Fleet, Run

T = TypeVar("T")
#: Indexes of the store that are empty when everything has ended.
_RESTLESS = ("timers", "leases", "ready", "outbox")


async def until(fleet: Fleet, id: str, *statuses: Status) -> None:
    async with asyncio.timeout(30):
        while (execution := await fleet.client.execution(id)).status not in statuses:
            assert not execution.status.terminal, execution
            await asyncio.sleep(0.01)


async def happened(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def nothing_left(fleet: Fleet) -> None:
    """Soon every execution has ended, and nothing is on its way, waiting or owned."""
    try:
        async with asyncio.timeout(30):
            while await _living(fleet) or await _restless(fleet.store):
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"left: {await _living(fleet)}, {await _restless(fleet.store)}")


async def _living(fleet: Fleet) -> list[str]:
    pages = [await fleet.client.executions(status=status) for status in Status if not status.terminal]
    return [f"{one.id} is {one.status} ({one.passed})" for page in pages for one in page.executions]


async def _restless(store: Store) -> list[str]:
    looks = await asyncio.gather(*(store.next_due(partition) for partition in range(store.partitions)))
    return [name for look in looks for name in _RESTLESS if look.get(name) is not None]


# -- deaths ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Death:
    """A worker is gone at its ``commit``-th commit for an execution: ``before`` or ``after`` the store has it."""

    commit: int
    when: str

    def __str__(self) -> str:
        return f"{self.when}-{self.commit}"


class Deaths:
    """Commits of ``store``, counted by execution; some are the last that a turn does.

    What is left is what a killed worker leaves: the turn is gone, its lease runs out, nothing is handed back.
    """

    def __init__(self, store: Store) -> None:
        self.commits: Counter[str] = Counter()
        self.died: set[str] = set()
        self.planned: dict[str, Death] = {}
        self._commit = store.commit
        store.commit = self._counted  # type: ignore[method-assign]

    async def _counted(self, commit: Commit) -> Committed | None:
        self.commits[commit.id] += 1
        death = self.planned.get(commit.id)
        if death is None or commit.id in self.died or death.commit != self.commits[commit.id]:
            return await self._commit(commit)
        self.died.add(commit.id)
        if death.when == "after":
            await self._commit(commit)
        raise LeaseLost


@dataclass(frozen=True)
class Life:
    """How one execution went."""

    id: str
    outcome: Any
    status: Status
    recorded: tuple[tuple[str, str, str], ...]  # id, kind, outcome
    died: bool


Drive = Callable[[Fleet, Handle[Any]], Awaitable[None]]


async def undisturbed(_fleet: Fleet, _handle: Handle[Any]) -> None:
    """Nothing reaches the execution from outside."""


async def live_through_all_deaths(
    run: Run, app: App, workflow: str, input: Any = None, *, drive: Drive = undisturbed
) -> Mapping[str, Life]:
    """One life without a death ("calm"), and one with a death before and after each of its commits, all at once."""
    async with run(app, lease_s=1.0) as fleet:
        deaths = Deaths(fleet.store)
        calm = await _life(fleet, deaths, workflow, input, "calm", drive)
        plans = [Death(number, when) for number in range(1, deaths.commits["calm"] + 1) for when in ("before", "after")]
        deaths.planned = {str(plan): plan for plan in plans}
        others = await asyncio.gather(*(_life(fleet, deaths, workflow, input, str(plan), drive) for plan in plans))
        # Which results travel in one commit is a matter of moments, so that the last ones may not come.
        assert 2 * len(deaths.died) >= len(plans), "the deaths did not happen"
        await nothing_left(fleet)
    return {life.id: life for life in (calm, *others)}


async def _life(fleet: Fleet, deaths: Deaths, workflow: str, input: Any, id: str, drive: Drive) -> Life:
    handle = await fleet.client.start(workflow, input, id=id)
    await drive(fleet, handle)
    outcome = await outcome_of(handle)
    history = await fleet.client.history(id)
    recorded = tuple((entry.id, entry.kind, entry.outcome) for entry in history.entries)
    return Life(id, outcome, history.execution.status, recorded, id in deaths.died)


async def outcome_of(handle: Handle[Any]) -> Any:
    """The result, or the name of the error instead."""
    try:
        return await answered(lambda: handle.result(timeout=40))
    except RunnerError as error:
        return type(error).__name__


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """A machine that is busy with other things may keep a server from answering in time: that is asked again."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.1)
