"""The part of a store that checks and repairs it: everything it holds, page by page, and nothing that a check writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.core.facts import Look, Stray
from runner.records import AuditEntry, Status
from runner.transactions import Parcel, Wake


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """``done``: what was set right, empty when all was well."""

    done: tuple[str, ...] = ()
    wake: Wake | None = None
    rows: tuple[AuditEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """An execution as who waits for its end needs to know it. ``followed``: it will be told."""

    status: Status
    workflow: str
    followed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What the store cannot know of an execution by itself.

    ``wake``: make it ready, where nobody owns it; a spurious wake does no harm: it is claimed, replayed, suspended.
    ``lost``: children that are neither there nor on their way: they are known to have ended from now on. ``again``: what it
    was made to follow again, for its trail. ``lease_ms``: a lease that lasts for more than twice as long is cut to that.
    """

    lease_ms: int
    wake: bool = False
    lost: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


class Inspection(Protocol):
    def survey(self) -> AsyncIterator[Look]:
        """All executions, schedules and strays, some hundred a page. What is there from beginning to end is seen at least once.

        What cannot be read is told of in its place, and nothing else is passed over for it.
        """
        ...

    async def living(self, partition: int, cursor: str, limit: int) -> tuple[Look, str]:
        """A page of the executions of one partition that have not ended, and the cursor of the next; it begins and ends as "".

        What lives from beginning to end in one status is seen at least once. What cannot be read is told of in its place.
        """
        ...

    async def facts(self, ids: Sequence[str]) -> Look:
        """Those that are there, each as it is now; what cannot be read is told of in its place."""
        ...

    async def followed(self, target: str, waiter: str, run: int) -> Followed | None:
        """Whether ``waiter`` in its run ``run`` will hear of the end of ``target``; None when that is not there."""
        ...

    async def outbox(self, partition: int, after: str, limit: int) -> list[Parcel]:
        """A page of the outbox, oldest first, of what lies behind the place ``after`` ("": from the beginning)."""
        ...

    async def mend(self, id: str, repair: Repair) -> Mended:
        """One atomic change that makes indexes, timer, lease and retention agree with the record.

        An owner without a lease is none, without a crash. A row ``repaired`` (``done``) goes into the trail, where anything was.
        """
        ...

    async def sweep(self, strays: Iterable[Stray]) -> int:
        """Remove strays, each only if it still is one; those that fade are kept for good. Returns how many."""
        ...
