"""What ``start`` gives back: a handle on one execution, typed by its workflow's result."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runner.detail import AuditLine, Detail
from runner.records import Execution, Status
from runner.signals import Signal
from runner.why import Why

if TYPE_CHECKING:
    from runner.client import Client
    from runner.core.retry import Duration

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T_co]):
    """The id of an execution, and what it returned."""

    execution_id: str
    data: T_co


class Handle(Generic[T_co]):
    """One execution, as a client sees it. Holds no connection and no state."""

    def __init__(self, client: Client, execution_id: str, output_type: Any) -> None:
        self.id = execution_id
        self._client = client
        self._output_type = output_type

    async def result(self, timeout: Duration | None = None) -> T_co:
        """What the workflow returned. See ``Client.wait`` for the errors."""
        result: T_co = await self._client.outcome_of(self.id, self._output_type, timeout)
        return result

    async def status(self) -> Status:
        """Where it is now. Raises UnknownExecution."""
        return (await self._client.execution(self.id)).status

    async def signal(self, signal: Signal[T] | str, payload: T, *, dedup_id: str | None = None) -> bool:
        """See ``Client.signal``."""
        return await self._client.signal(self.id, signal, payload, dedup_id=dedup_id)

    async def cancel(self, reason: str | None = None) -> bool:
        """See ``Client.cancel``."""
        return await self._client.cancel(self.id, reason)

    async def execution(self) -> Execution:
        """Its record as it is now. Raises UnknownExecution."""
        return await self._client.execution(self.id)

    async def detail(self) -> Detail:
        """All there is to know of it. Raises UnknownExecution."""
        return await self._client.operator.detail(self.id)

    async def why(self) -> Why:
        """What it waits for, and what is wrong if something is. See ``Client.why``."""
        return await self._client.why(self.id)

    def watch(self) -> AsyncIterator[AuditLine]:
        """What happens to it, until it has ended. See ``Client.watch``."""
        return self._client.watch(self.id)

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"
