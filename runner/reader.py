"""The reader: everything a client can look at. It changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from runner.app import App
from runner.attributes import Attribute, attribute_texts
from runner.detail import AuditLine, StepLine, audit_lines, steps_of
from runner.durations import to_moment_ms
from runner.errors import UnknownExecution, UsageError
from runner.ids import check_id
from runner.records import (
    Cause,
    Execution,
    Filter,
    History,
    Page,
    Status,
)
from runner.store import Store
from runner.tree import Tree, tree_of
from runner.watching import watch

#: Executions on one page of a listing, at most.
MAX_PAGE = 1_000


class Reader:
    """The looking half of a Client."""

    app: App
    store: Store

    async def execution(self, execution_id: str) -> Execution:
        """The record of an execution as it is now. Raises UnknownExecution."""
        execution = await self.store.record(check_id(execution_id))
        if execution is None:
            raise self.unknown(execution_id)
        return execution

    async def history(self, execution_id: str) -> History:
        """The record with its journal, waits and inbox. Raises UnknownExecution."""
        history = await self.store.read(check_id(execution_id))
        if history is None:
            raise self.unknown(execution_id)
        return history

    async def executions(
        self,
        *,
        status: Status | str | None = None,
        workflow: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        attributes: Mapping[str, Attribute] | None = None,
        stuck: bool = False,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Page:
        """One page of executions, newest first; ``cursor`` of a page leads to the next.

        All conditions hold together. ``attributes``: those that have all of these, equal in type and value.
        ``stuck``: those that need an operator, for what they had done is not undone. What cannot be read is left out, and
        named in the page's ``unreadable``.
        """
        return await self.store.executions(
            Filter(
                status=_status(status),
                workflow=workflow,
                created_after=_moment(created_after, "created_after"),
                created_before=_moment(created_before, "created_before"),
                attributes=attribute_texts(attributes),
                stuck=stuck,
                limit=_limit(limit),
                cursor=cursor,
            )
        )

    async def steps(self, execution_id: str) -> tuple[StepLine, ...]:
        """What became of its steps: the recorded ones in their order, then those under way. Raises UnknownExecution."""
        return steps_of(await self.history(execution_id))

    async def audit(self, execution_id: str) -> tuple[AuditLine, ...]:
        """The audit trail, oldest first: the last thousand lines of all runs. Raises UnknownExecution."""
        trail = await self.store.audit(check_id(execution_id))
        if not trail:
            await self.execution(execution_id)
        return audit_lines(trail)

    async def tree(self, execution_id: str) -> Tree:
        """The execution with its children, and theirs: of its present run, and of older ones what has not ended.

        At most a thousand executions. Raises UnknownExecution.
        """
        return await tree_of(self.store, await self.execution(execution_id))

    def watch(self, execution_id: str) -> AsyncIterator[AuditLine]:
        """What happens to the execution, line by line of its audit trail, from its beginning until it has ended.

        Of an execution that keeps no trail: its changes of status, from now on. Outages of the store are waited out.
        Raises UnknownExecution.
        """
        return watch(self.store, check_id(execution_id), missing=self.unknown)

    def unknown(self, execution_id: str) -> UnknownExecution:
        return UnknownExecution(
            f"namespace {self.app.name!r} has no execution {execution_id!r} (it may be past its retention)"
        )


def _limit(limit: object) -> int:
    if isinstance(limit, int) and 1 <= limit <= MAX_PAGE:
        return limit
    raise UsageError(f"limit={limit!r}: a number from 1 to {MAX_PAGE}")


def _status(status: Status | str | None) -> Status | None:
    try:
        return None if status is None else Status(status)
    except ValueError:
        raise UsageError(f"status {status!r}: {no_status(str(status))}") from None


def no_status(word: str) -> str:
    """What to give instead of a word that is no status."""
    known = f"one of {', '.join(Status)}"
    if word not in [cause.value for cause in Cause if cause]:
        return known
    return f"{known}; {word} is a cause of failed ones: list those, and look at their `cause`"


def _moment(moment: datetime | None, what: str) -> int | None:
    return None if moment is None else to_moment_ms(moment, what=what)
