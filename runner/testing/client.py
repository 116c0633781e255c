"""The client of a test: whoever waits for a result makes time pass."""

from __future__ import annotations

import asyncio
from typing import Any

from runner.app import App
from runner.client import Client
from runner.core.retry import Duration
from runner.durations import to_ms
from runner.errors import WaitTimeout
from runner.records import Execution, History
from runner.testing.broker import KitBroker
from runner.testing.clock import SkipClock
from runner.testing.endings import Stuck, why_stuck
from runner.testing.pace import Pace
from runner.testing.store import KitStore


class KitClient(Client):
    """As any client. ``patience_s``: real seconds that others in the test have to do what an execution waits for."""

    def __init__(
        self, app: App, store: KitStore, broker: KitBroker, pace: Pace, clock: SkipClock, *, patience_s: float
    ) -> None:
        super().__init__(app, store, broker)
        self._kit = store
        self._pace = pace
        self._clock = clock
        self._patience_s = patience_s

    async def outcome_of(self, execution_id: str, output_type: Any, timeout: Duration | None) -> Any:
        """As ever, by the test's clock: ``timeout`` is the time that may be skipped meanwhile."""
        limit = None if timeout is None else self._clock() + to_ms(timeout, what="timeout")
        execution = await self._until_ended(execution_id, limit)
        if not execution.status.terminal:
            raise WaitTimeout(
                f"execution {execution_id!r} of {execution.workflow!r} is still under way after {timeout}",
                execution_id=execution_id,
                workflow=execution.workflow,
                attempt=execution.attempt,
                key=execution.key,
            )
        return await super().outcome_of(execution_id, output_type, None)

    async def _until_ended(self, execution_id: str, limit_ms: int | None) -> Execution:
        """Its record when it has ended, or when ``limit_ms`` has come."""
        while True:
            self._kit.stirred.clear()
            await self._pace.settle()
            execution = await self.execution(execution_id)
            if execution.status.terminal:
                return execution
            if execution.passed:
                raise Stuck(why_stuck(await self.history(execution_id)))
            if await self._pace.skip(limit_ms):
                continue
            if limit_ms is not None:
                await self._pace.advance(limit_ms - self._clock())
                return await self.execution(execution_id)
            await self._patiently(await self.history(execution_id))

    async def at_rest(self, execution_id: str) -> History:
        """What the store holds of it when everything that is ready has been worked off."""
        await self._pace.settle()
        return await self.history(execution_id)

    async def _patiently(self, history: History) -> None:
        """Somebody else in the test may be about to do what it waits for."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._kit.stirred.wait()
        except TimeoutError:
            raise Stuck(why_stuck(history)) from None
