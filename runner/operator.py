"""The operator: what a person does to an execution that needs one. Everything is refused by name, or audited."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runner.app import WEEK_MS
from runner.codec import encode
from runner.detail import Detail, detail_of
from runner.errors import ConflictingStart, StoreConflict, UnknownExecution, UsageError
from runner.handle import Handle
from runner.ids import check_id, new_id
from runner.records import History, Page, Status
from runner.remedies import (
    Remedy,
    edit_of,
    force_fail_of,
    fork_of,
    forked,
    request_of,
    retry_of,
    rollback_of,
    skip_of,
)
from runner.transactions import Verdict

if TYPE_CHECKING:
    from runner.client import Client

#: Looks at an execution that is never as it was a moment ago, before the action is given up.
MAX_LOOKS = 10


class Operator:
    """``client.operator``. ``actor`` says who did it, and is kept in the execution's audit trail.

    Each action raises UnknownExecution, a named refusal that says what can be done instead, StoreUnavailable (it may
    have happened: look), or StoreConflict when the execution changes faster than it can be looked at.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    # -- looking ----------------------------------------------------------------------------------

    async def detail(self, execution_id: str) -> Detail:
        """All there is to know of an execution. Raises UnknownExecution."""
        history, children, trail = await asyncio.gather(
            self._client.history(execution_id),
            self._client.store.children(execution_id),
            self._client.store.audit(execution_id),
        )
        return detail_of(history, children, trail)

    async def stuck(self, limit: int = 20, cursor: str | None = None) -> Page:
        """Executions that need an operator, newest first: what they had done is not undone."""
        return await self._client.executions(stuck=True, limit=limit, cursor=cursor)

    # -- acting -----------------------------------------------------------------------------------

    async def retry(self, execution_id: str, *, actor: str) -> Status:
        """Try a failed execution again, without the failure that ended it; or end the pauses before retries of a live one.

        All other recorded results stay. Returns the status it has then. Raises NotRetryable.
        """
        return await self._act(execution_id, actor, retry_of)

    async def skip_step(self, execution_id: str, step: str, *, value: Any = None, actor: str) -> Status:
        """Give a step that failed, or is under way, ``value`` for its result, without running it.

        A failed execution stays failed until ``retry``. Raises UnknownStep, AlreadyEnded, PayloadError.
        """
        payload = encode(value, what=f"value of step {step!r}")
        return await self._act(execution_id, actor, lambda history: skip_of(history, step, payload))

    async def edit_step(self, execution_id: str, step: str, value: Any, *, actor: str) -> Status:
        """Put ``value`` in the place of what a step recorded. What the workflow made of it is not undone.

        Raises UnknownStep, AlreadyEnded, PayloadError.
        """
        payload = encode(value, what=f"value of step {step!r}")
        return await self._act(execution_id, actor, lambda history: edit_of(history, step, payload))

    async def force_fail(self, execution_id: str, reason: str, *, actor: str) -> Status:
        """End a live execution as failed, whoever owns it. Waiters and its parent are told; nothing is undone.

        Raises AlreadyEnded.
        """
        return await self._act(execution_id, actor, lambda history: force_fail_of(history, reason))

    async def retry_rollback(self, execution_id: str, *, actor: str) -> Status:
        """Run the outstanding compensations of an ended execution, and nothing else. Raises NotRetryable."""
        return await self._act(execution_id, actor, rollback_of)

    async def fork(self, execution_id: str, from_step: str, *, new_id: str | None = None, actor: str) -> Handle[Any]:
        """Start a new execution with everything behind it that was recorded before ``from_step``, which it runs anew.

        Workflow, version, queue and input are the origin's, which is left as it is. Raises UnknownStep, and
        ConflictingStart when ``new_id`` is taken.
        """
        check_actor(actor)
        client = self._client
        history = await client.history(execution_id)
        workflow = client.app.find(history.execution.workflow, history.execution.version)
        start = fork_of(
            history,
            from_step,
            new_id=_fresh_id(new_id),
            request=secrets.token_hex(16),
            retention_ms=WEEK_MS if workflow is None else workflow.retention_ms,
        )
        (started,) = await client.store.start([start])
        if not started.new:
            raise ConflictingStart(f"id {start.id!r} is taken: give the fork another", execution_id=start.id)
        await client.announce(started)
        await self._act(execution_id, actor, lambda _: forked(from_step, start.id))
        return client.handle(start.id, workflow)

    async def _act(self, execution_id: str, actor: str, decide: Callable[[History], Remedy]) -> Status:
        """Look, decide, have it done; look again while the execution is not as it was looked at."""
        check_actor(actor)
        request = secrets.token_hex(16)
        for _ in range(MAX_LOOKS):
            history = await self._client.history(execution_id)
            remedy = decide(history)
            operated = await self._client.store.operate(request_of(remedy, history, actor=actor, request=request))
            match operated.verdict:
                case Verdict.DONE:
                    await self._client.announce(operated)
                    return operated.status or history.execution.status
                case Verdict.UNKNOWN:
                    raise UnknownExecution(f"execution {execution_id!r} is gone: its retention passed meanwhile")
                case Verdict.CHANGED | Verdict.REFUSED:
                    continue
        raise StoreConflict(
            f"execution {execution_id!r} changed at each of {MAX_LOOKS} looks; nothing was done: try again"
        )


def check_actor(actor: object) -> str:
    """Returns ``actor``. Raises UsageError for none: an action that nobody did cannot be audited."""
    if isinstance(actor, str) and actor.strip():
        return actor
    raise UsageError("actor: say who does this; it is kept in the audit trail")


def _fresh_id(given: str | None) -> str:
    return new_id() if given is None else check_id(given, what="id of the fork")
