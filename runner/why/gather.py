"""Finding the facts, in a bounded number of questions. What cannot be asked is left out, and said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import TypeVar

from runner.app import App
from runner.broker import Broker
from runner.clock import boot_ms
from runner.errors import InfrastructureError, PayloadError, StoreUnavailable
from runner.fleet import workers_of
from runner.records import Execution, History, Leadership, WorkerInfo
from runner.store import Store
from runner.why.explain import explained, unreadable
from runner.why.facts import Declared, Facts, Fleet, Other
from runner.why.reason import STUCK, Why

T = TypeVar("T")

#: So many of the executions that are waited for are read, and of so many that have not ended it is asked why.
MAX_OTHERS, MAX_WHYS = 20, 3
#: A broker that has not answered after this long is told of as away, in seconds.
BROKER_S = 5.0
#: What was found is of several moments: what fits together only so badly that nothing seems to wake it is looked at again.
MAX_LOOKS = 3


#: What comes of a record, or of what belongs to it, that was not written by ours; and a store that is away.
_UNREADABLE = (InfrastructureError, PayloadError, ValueError)


class _Unasked:
    """In the place of an execution that could not be looked at."""


_UNASKED = _Unasked()


class Asking:
    """One question why: who is there is asked once, and each queue at the broker. ``broker`` None: it is not asked.

    ``in_one``: the store is a file, of a process that is worker and scheduler: then that one is the cure.
    """

    def __init__(self, app: App, store: Store, broker: Broker | None, *, in_one: bool = False) -> None:
        self._app = app
        self._store = store
        self._broker = broker
        self._in_one = in_one
        self._away: dict[str, str] = {}
        self._depths: dict[str, asyncio.Task[int | None]] = {}

    async def why(self, execution_id: str) -> Why | None:
        """None for no such execution. Raises StoreUnavailable."""
        workers: tuple[list[WorkerInfo], Leadership | None] = await asyncio.gather(
            self._optional("workers", workers_of(self._store), []),
            self._optional("leader", self._store.leader(), None),
        )
        fleet = Fleet(workers=tuple(workers[0]), leader=workers[1])
        return await self._why(execution_id, fleet, deep=True)

    async def _why(self, execution_id: str, fleet: Fleet, *, deep: bool) -> Why | None:
        for look in range(MAX_LOOKS):
            try:
                facts = await self._facts(execution_id, fleet, deep=deep)
            except StoreUnavailable:
                raise
            except _UNREADABLE as error:
                return unreadable(execution_id, str(error), await self._store.now())
            if facts is None:
                return None
            why = explained(facts)
            if why.reasons[0].code not in STUCK or look == MAX_LOOKS - 1:
                return why
        return None

    async def _facts(self, execution_id: str, fleet: Fleet, *, deep: bool) -> Facts | None:
        asked_at = boot_ms()
        history = await self._store.read(execution_id)
        latency_ms = boot_ms() - asked_at
        if history is None:
            return None
        execution = history.execution
        standing, trail, children, others, schedule, depth = await asyncio.gather(
            self._store.standing(execution_id, execution.queue),
            self._optional("audit trail", self._store.audit(execution_id), ()),
            self._optional("children", self._store.children(execution_id), ()),
            self._others(history, fleet, deep=deep),
            self._schedule(execution),
            self._depth(execution),
        )
        return Facts(
            history=history,
            standing=standing,
            fleet=replace(fleet, away=dict(self._away)),
            trail=trail,
            children=frozenset(link.execution_id for link in children),
            others=others,
            asked=self._broker is not None and "broker" not in self._away,
            depth=depth,
            declared=self._declared(execution),
            schedule=schedule,
            latency_ms=latency_ms,
            in_one=self._in_one,
        )

    def _declared(self, execution: Execution) -> Declared | None:
        workflow = self._app.find(execution.workflow, execution.version)
        if workflow is None:
            return None
        signals = None if workflow.signals is None else frozenset(workflow.signals)
        return Declared(signals=signals, max_attempts=workflow.max_attempts)

    # -- what it waits for ------------------------------------------------------------------------

    async def _others(self, history: History, fleet: Fleet, *, deep: bool) -> Mapping[str, Other]:
        """The first of the executions that it waits for; of some that have not ended also why."""
        names = dict.fromkeys(wait.name for wait in history.waits if wait.kind == "ended")
        ids = list(names)[:MAX_OTHERS] if not history.execution.status.terminal else []
        asked = [self._optional(f"execution {id!r}", self._store.record(id), _UNASKED) for id in ids]
        found = dict(zip(ids, await asyncio.gather(*asked), strict=True))
        records = {id: one for id, one in found.items() if not isinstance(one, _Unasked)}
        live = [id for id, one in records.items() if one is not None and not one.status.terminal]
        whys = {id: await self._why(id, fleet, deep=False) for id in live[:MAX_WHYS]} if deep else {}
        return {id: Other(execution=one, why=whys.get(id)) for id, one in records.items()}

    async def _schedule(self, execution: Execution) -> str:
        """Its schedule's id: as its parent; where its schedule does not care for its end, in its own id."""
        if execution.parent.startswith("@"):
            return execution.parent[1:]
        name = execution.id.rpartition("@")[0]
        if not name:
            return ""
        found = await self._optional("schedule", self._store.schedule(name), None)
        return "" if found is None or found.workflow != execution.workflow else name

    # -- the broker, and whoever else may be away -------------------------------------------------

    async def _depth(self, execution: Execution) -> int | None:
        """Hints in its queue; asked only of what has not ended."""
        if self._broker is None or execution.status.terminal or "broker" in self._away:
            return None
        if execution.queue not in self._depths:
            asking = asyncio.wait_for(self._broker.depth(execution.queue), BROKER_S)
            self._depths[execution.queue] = asyncio.ensure_future(self._optional("broker", asking, None))
        return await self._depths[execution.queue]

    async def _optional(self, source: str, asked: Awaitable[T], instead: T) -> T:
        try:
            return await asked
        except (*_UNREADABLE, TimeoutError) as error:
            self._away[source] = str(error) or f"no answer within {BROKER_S:g} s"
            return instead
