"""The client for code without an event loop: the same calls, blocking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, Generic, Self, TypeVar, Unpack

from runner.app import App
from runner.client import Client
from runner.core.retry import Duration
from runner.handle import Handle, Outcome
from runner.records import Execution, Page, Status
from runner.signals import Signal
from runner.starts import StartOptions
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


class SyncClient:
    """``with SyncClient(app) as client:``. Safe to share between threads.

    Runs a Client on an event loop in a thread of its own; arguments, guarantees and errors are the Client's.
    """

    def __init__(self, app: App | str, store: str | None = None, broker: str | None = None) -> None:
        self._client = Client(app, store, broker)
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

    def start(
        self, workflow: Workflow[I, O] | str, input: I | None = None, **options: Unpack[StartOptions]
    ) -> SyncHandle[O]:
        """See ``Client.start``."""
        handle: Handle[O] = self.run(self._client.start(workflow, input, **options))  # type: ignore[arg-type]
        return SyncHandle(self, handle)

    def start_many(self, workflow: Workflow[I, O] | str, inputs: Iterable[I], **options: Any) -> list[SyncHandle[O]]:
        """See ``Client.start_many``."""
        handles: list[Handle[O]] = self.run(self._client.start_many(workflow, inputs, **options))
        return [SyncHandle(self, handle) for handle in handles]

    def start_and_wait(
        self,
        workflow: Workflow[I, O] | str,
        input: I | None = None,
        *,
        wait_timeout: Duration | None = None,
        **options: Unpack[StartOptions],
    ) -> Outcome[O]:
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
