"""The embedded store, telling each change of an execution's status to whoever watches ``runner dev``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from runner.records import (
    Execution,
    Filter,
    History,
    Status,
)
from runner.store.crashes import GIVE_UP, BrokenOff, CrashLimit
from runner.store.sqlite import SqliteStore
from runner.transactions import (
    Commit,
    Committed,
    Deliver,
    Delivered,
    Operate,
    Operated,
    Refusal,
    Start,
    Started,
    Wake,
    Woken,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """``before`` is None for an execution that is new, or was there when the process began."""

    id: str
    workflow: str
    before: Status | None
    status: Status
    at: int


@dataclass(frozen=True, slots=True)
class _Seen:
    workflow: str
    status: Status
    deadline: int | None


class ObservedStore(SqliteStore):
    """A SqliteStore that tells what the calls on it did to each execution. It costs a read per start and end."""

    def __init__(self, path: str, *, namespace: str, told: Callable[[Change], None]) -> None:
        super().__init__(path, namespace=namespace)
        self._told = told
        self._seen: dict[str, _Seen] = {}  # what has not ended

    async def open(self) -> None:
        """Also tells what goes on from before."""
        await super().open()
        for status in Status:
            if not status.terminal:
                await self._look_at_all(Filter(status=status, limit=200))

    async def start(self, starts: Sequence[Start]) -> list[Started]:
        answers = await super().start(starts)
        await self._look_at(start.id for start, answer in zip(starts, answers, strict=True) if answer.new)
        return answers

    async def claim(self, id: str, nonce: str, worker: str, lease_ms: int, hinted: int = 0) -> History | Refusal:
        claimed = await super().claim(id, nonce, worker, lease_ms, hinted)
        if isinstance(claimed, History):
            self._saw(claimed.execution, claimed.now)
        elif claimed is Refusal.TERMINAL:
            await self._look_at([id])
        return claimed

    async def commit(self, commit: Commit) -> Committed | None:
        committed = await super().commit(commit)
        if committed is not None and committed.released:
            await self._look_at([commit.id])
        return committed

    async def release(self, id: str, nonce: str) -> Wake | None:
        wake = await super().release(id, nonce)
        await self._look_at([id])
        return wake

    async def deliver(self, deliver: Deliver) -> Delivered:
        delivered = await super().deliver(deliver)
        if deliver.kind == "cancel":
            await self._look_at([deliver.id])
        return delivered

    async def operate(self, operate: Operate) -> Operated:
        operated = await super().operate(operate)
        await self._look_at([operate.id])
        return operated

    async def due(self, partition: int, limit: int) -> Woken:
        woken = await super().due(partition, limit)
        await self._look_at_ended(woken.now)
        return woken

    async def break_off(self, id: str, nonce: str, crashes: CrashLimit) -> BrokenOff:
        woken = await super().break_off(id, nonce, crashes)
        await self._look_at([id])
        return woken

    async def reap(self, partition: int, limit: int, alive: Iterable[str], crashes: CrashLimit = GIVE_UP) -> Woken:
        woken = await super().reap(partition, limit, alive, crashes)
        await self._look_at(wake.id for wake in woken.wakes)
        return woken

    # -- telling ----------------------------------------------------------------------------------

    async def _look_at_all(self, filter: Filter) -> None:
        page = await self.executions(filter)
        now = await self.now()
        for execution in page.executions:
            self._saw(execution, now)

    async def _look_at_ended(self, now: int) -> None:
        """Executions that time has ended: nobody names them, but their deadlines are known."""
        over = [id for id, seen in self._seen.items() if seen.deadline is not None and seen.deadline <= now]
        await self._look_at(over)

    async def _look_at(self, ids: Iterable[str]) -> None:
        for id in tuple(ids):
            execution = await self.record(id)
            if execution is not None:
                self._saw(execution, execution.ended_at or await self.now())

    def _saw(self, execution: Execution, now: int) -> None:
        before = self._seen.get(execution.id)
        if before is not None and before.status is execution.status:
            return
        if execution.status.terminal:
            if self._seen.pop(execution.id, None) is None:
                return  # told already
        else:
            self._seen[execution.id] = _Seen(execution.workflow, execution.status, execution.deadline)
        self._told(
            Change(
                id=execution.id,
                workflow=execution.workflow,
                before=None if before is None else before.status,
                status=execution.status,
                at=now,
            )
        )
