"""Waiting for an execution to end: told by the store, with a look of one's own behind it."""

from __future__ import annotations

import asyncio

from runner.errors import UnknownExecution, WaitTimeout
from runner.persistence import until_answered
from runner.records import Execution
from runner.store import Store, Subscription

#: A notification can be lost, so whoever waits looks for itself this often, in seconds.
SAFETY_POLL_S = 5.0


async def until_ended(store: Store, execution: Execution, timeout_s: float | None) -> Execution:
    """The record of the execution when it has ended.

    Raises WaitTimeout after ``timeout_s`` seconds, and UnknownExecution when it was purged meanwhile.
    """
    if execution.status.terminal:
        return execution
    endings = await store.subscribe(f"ended/{execution.id}")
    try:
        async with asyncio.timeout(timeout_s):
            return await _watched(store, execution.id, endings)
    except TimeoutError:
        raise WaitTimeout(
            f"execution {execution.id!r} of {execution.workflow!r} is still under way after {timeout_s} s",
            execution_id=execution.id,
            workflow=execution.workflow,
            attempt=execution.attempt,
            key=execution.key,
        ) from None
    finally:
        await endings.close()


async def _watched(store: Store, execution_id: str, endings: Subscription) -> Execution:
    while True:
        # Read after subscribing, so that an end in between is not missed.
        execution = await until_answered(lambda: store.record(execution_id))
        if execution is None:
            raise UnknownExecution(f"execution {execution_id!r} is gone: it ended, and its retention passed meanwhile")
        if execution.status.terminal:
            return execution
        await endings.next(SAFETY_POLL_S)
