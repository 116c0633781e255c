"""The client for code without an event loop: the same calls, blocking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from datetime import datetime
from typing import Any, Generic, Self, TypeVar, Unpack, overload

from runner.app import App
from runner.client import Client
from runner.core.retry import Duration
from runner.describe import Flow
from runner.detail import AuditLine, Detail, StepLine
from runner.fsck import FsckReport
from runner.handle import Handle, Outcome
from runner.operator import Operator
from runner.records import Execution, History, Page, Schedule, Status
from runner.recovery import Report
from runner.schedules import ScheduleOptions
from runner.signals import Signal
from runner.starts import StartOptions
from runner.store.vitals import Durability
from runner.tree import Tree
from runner.why import Why
from runner.workflow import Workflow

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output


class SyncHandle(Generic[T_co]):
    """A Handle whose calls block."""

    def __init__(self, client: SyncClient, handle: Handle[T_co]) -> None:
        self._client = client
        self._handle = handle
        self.id = handle.id

    def result(self, timeout: Duration | None = None) -> T_co:
        return self._client.run(self._handle.result(timeout))

    def status(self) -> Status:
        return self._client.run(self._handle.status())

    def signal(self, signal: Signal[T] | str, payload: T, *, dedup_id: str | None = None) -> bool:
        return self._client.run(self._handle.signal(signal, payload, dedup_id=dedup_id))

    def cancel(self, reason: str | None = None) -> bool:
        return self._client.run(self._handle.cancel(reason))

    def execution(self) -> Execution:
        return self._client.run(self._handle.execution())

    def detail(self) -> Detail:
        return self._client.run(self._handle.detail())

    def why(self) -> Why:
        return self._client.run(self._handle.why())

    def watch(self) -> Iterator[AuditLine]:
        return self._client.watch(self.id)


class SyncOperator:
    """An Operator whose calls block; see there for what they do, and which errors they raise."""

    def __init__(self, client: SyncClient, operator: Operator) -> None:
        self._client = client
        self._operator = operator

    def detail(self, execution_id: str) -> Detail:
        return self._client.run(self._operator.detail(execution_id))

    def stuck(self, limit: int = 20, cursor: str | None = None) -> Page:
        return self._client.run(self._operator.stuck(limit, cursor))

    def retry(self, execution_id: str, *, actor: str) -> Status:
        return self._client.run(self._operator.retry(execution_id, actor=actor))

    def skip_step(self, execution_id: str, step: str, *, value: Any = None, actor: str) -> Status:
        return self._client.run(self._operator.skip_step(execution_id, step, value=value, actor=actor))

    def edit_step(self, execution_id: str, step: str, value: Any, *, actor: str) -> Status:
        return self._client.run(self._operator.edit_step(execution_id, step, value, actor=actor))

    def force_fail(self, execution_id: str, reason: str, *, actor: str) -> Status:
        return self._client.run(self._operator.force_fail(execution_id, reason, actor=actor))

    def retry_rollback(self, execution_id: str, *, actor: str) -> Status:
        return self._client.run(self._operator.retry_rollback(execution_id, actor=actor))

    def fork(self, execution_id: str, from_step: str, *, new_id: str | None = None, actor: str) -> SyncHandle[Any]:
        handle = self._client.run(self._operator.fork(execution_id, from_step, new_id=new_id, actor=actor))
        return SyncHandle(self._client, handle)


class SyncClient:
    """``with SyncClient(app) as client:``. Safe to share between threads.

    Runs a Client on an event loop in a thread of its own; arguments, guarantees and errors are the Client's.
    """

    def __init__(
        self,
        app: App | str,
        store: str | None = None,
        broker: str | None = None,
        *,
        durability: Durability | None = None,
        allow_eviction: str | None = None,
    ) -> None:
        self._client = Client(app, store, broker, durability=durability, allow_eviction=allow_eviction)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="runner-client", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self._client.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.run(self._client.close())
        finally:
            self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine of the client underneath."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @overload
    def start(
        self, workflow: Workflow[None, O], input: None = None, **options: Unpack[StartOptions]
    ) -> SyncHandle[O]: ...
    @overload
    def start(self, workflow: Workflow[I, O], input: I, **options: Unpack[StartOptions]) -> SyncHandle[O]: ...
    @overload
    def start(self, workflow: str, input: Any = None, **options: Unpack[StartOptions]) -> SyncHandle[Any]: ...
    def start(self, workflow: Any, input: Any = None, **options: Unpack[StartOptions]) -> SyncHandle[Any]:
        """See ``Client.start``."""
        handle: Handle[Any] = self.run(self._client.start(workflow, input, **options))
        return SyncHandle(self, handle)

    @overload
    def schedule(
        self, workflow: Workflow[None, O], input: None = None, **options: Unpack[StartOptions]
    ) -> SyncHandle[O]: ...
    @overload
    def schedule(self, workflow: Workflow[I, O], input: I, **options: Unpack[StartOptions]) -> SyncHandle[O]: ...
    @overload
    def schedule(self, workflow: str, input: Any = None, **options: Unpack[StartOptions]) -> SyncHandle[Any]: ...
    def schedule(self, workflow: Any, input: Any = None, **options: Unpack[StartOptions]) -> SyncHandle[Any]:
        """See ``Client.schedule``."""
        handle: Handle[Any] = self.run(self._client.schedule(workflow, input, **options))
        return SyncHandle(self, handle)

    def start_many(self, workflow: Workflow[I, O] | str, inputs: Iterable[I], **options: Any) -> list[SyncHandle[O]]:
        """See ``Client.start_many``."""
        handles: list[Handle[O]] = self.run(self._client.start_many(workflow, inputs, **options))
        return [SyncHandle(self, handle) for handle in handles]

    @overload
    def start_and_wait(
        self,
        workflow: Workflow[None, O],
        input: None = None,
        *,
        wait_timeout: Duration | None = None,
        **options: Unpack[StartOptions],
    ) -> Outcome[O]: ...
    @overload
    def start_and_wait(
        self,
        workflow: Workflow[I, O],
        input: I,
        *,
        wait_timeout: Duration | None = None,
        **options: Unpack[StartOptions],
    ) -> Outcome[O]: ...
    @overload
    def start_and_wait(
        self,
        workflow: str,
        input: Any = None,
        *,
        wait_timeout: Duration | None = None,
        **options: Unpack[StartOptions],
    ) -> Outcome[Any]: ...
    def start_and_wait(
        self,
        workflow: Any,
        input: Any = None,
        *,
        wait_timeout: Duration | None = None,
        **options: Unpack[StartOptions],
    ) -> Outcome[Any]:
        """See ``Client.start_and_wait``."""
        return self.run(self._client.start_and_wait(workflow, input, wait_timeout=wait_timeout, **options))

    def handle(self, execution_id: str, workflow: Workflow[Any, O] | str | None = None) -> SyncHandle[O]:
        return SyncHandle(self, self._client.handle(execution_id, workflow))

    def wait(self, execution_id: str, timeout: Duration | None = None) -> Any:
        """See ``Client.wait``."""
        return self.run(self._client.wait(execution_id, timeout))

    def signal(self, execution_id: str, signal: Signal[T] | str, payload: T, *, dedup_id: str | None = None) -> bool:
        """See ``Client.signal``."""
        return self.run(self._client.signal(execution_id, signal, payload, dedup_id=dedup_id))

    def cancel(self, execution_id: str, reason: str | None = None) -> bool:
        """See ``Client.cancel``."""
        return self.run(self._client.cancel(execution_id, reason))

    def execution(self, execution_id: str) -> Execution:
        """See ``Client.execution``."""
        return self.run(self._client.execution(execution_id))

    def executions(self, **filters: Any) -> Page:
        """See ``Client.executions``."""
        return self.run(self._client.executions(**filters))

    def history(self, execution_id: str) -> History:
        """See ``Client.history``."""
        return self.run(self._client.history(execution_id))

    def steps(self, execution_id: str) -> tuple[StepLine, ...]:
        """See ``Client.steps``."""
        return self.run(self._client.steps(execution_id))

    def audit(self, execution_id: str) -> tuple[AuditLine, ...]:
        """See ``Client.audit``."""
        return self.run(self._client.audit(execution_id))

    def tree(self, execution_id: str) -> Tree:
        """See ``Client.tree``."""
        return self.run(self._client.tree(execution_id))

    def watch(self, execution_id: str) -> Iterator[AuditLine]:
        """See ``Client.watch``."""
        lines = self._client.watch(execution_id)
        while (line := self.run(_next(lines))) is not None:
            yield line

    @overload
    def ensure_schedule(
        self, workflow: Workflow[None, Any], input: None = None, *, id: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    def ensure_schedule(
        self, workflow: Workflow[I, Any], input: I, *, id: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    def ensure_schedule(
        self, workflow: str, input: Any = None, *, id: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    def ensure_schedule(
        self, workflow: Any, input: Any = None, *, id: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """See ``Client.ensure_schedule``."""
        return self.run(self._client.ensure_schedule(workflow, input, id=id, **options))

    def update_schedule(self, id: str, **changes: Any) -> Schedule:
        """See ``Client.update_schedule``."""
        return self.run(self._client.update_schedule(id, **changes))

    def pause_schedule(self, id: str, note: str = "") -> Schedule:
        """See ``Client.pause_schedule``."""
        return self.run(self._client.pause_schedule(id, note))

    def resume_schedule(self, id: str) -> Schedule:
        """See ``Client.resume_schedule``."""
        return self.run(self._client.resume_schedule(id))

    def remove_schedule(self, id: str) -> bool:
        """See ``Client.remove_schedule``."""
        return self.run(self._client.remove_schedule(id))

    def trigger_schedule(self, id: str) -> SyncHandle[Any]:
        """See ``Client.trigger_schedule``."""
        return SyncHandle(self, self.run(self._client.trigger_schedule(id)))

    def backfill_schedule(self, id: str, start: datetime, end: datetime, **options: Any) -> list[SyncHandle[Any]]:
        """See ``Client.backfill_schedule``."""
        handles = self.run(self._client.backfill_schedule(id, start, end, **options))
        return [SyncHandle(self, handle) for handle in handles]

    def get_schedule(self, id: str) -> Schedule:
        """See ``Client.get_schedule``."""
        return self.run(self._client.get_schedule(id))

    def list_schedules(self, *, limit: int = 100, after: str = "") -> list[Schedule]:
        """See ``Client.list_schedules``."""
        return self.run(self._client.list_schedules(limit=limit, after=after))

    def next_fires(self, id: str, count: int = 5) -> list[datetime]:
        """See ``Client.next_fires``."""
        return self.run(self._client.next_fires(id, count))

    def describe(self, workflow: Workflow[I, O] | str, input: I | None = None) -> Flow:
        """See ``Client.describe``."""
        return self.run(self._client.describe(workflow, input))

    def why(self, execution_id: str) -> Why:
        """See ``Client.why``."""
        return self.run(self._client.why(execution_id))

    def recover(self, *, most: int = 1_000) -> Report:
        """See ``Client.recover``."""
        return self.run(self._client.recover(most=most))

    def fsck(self, repair: bool = False, *, most: int = 1_000) -> FsckReport:
        """See ``Client.fsck``."""
        return self.run(self._client.fsck(repair, most=most))

    @property
    def operator(self) -> SyncOperator:
        """See ``Client.operator``."""
        return SyncOperator(self, self._client.operator)


async def _next(lines: AsyncIterator[T]) -> T | None:
    return await anext(lines, None)
