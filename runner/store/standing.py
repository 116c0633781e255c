"""Where an execution stands in its queue, and who leads: what the answer to "why does it not go on?" rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from runner.records import Leadership


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An execution in its queue. Moments are the store's, in ms.

    The *line* of a queue is what is ready in it and was not passed over since; its order is that in which executions
    became ready, which is nearly that of their hints at the broker.
    """

    since: int | None  # when it became ready; None when it is not in the line
    ahead: int  # in the line, before it (all of the line when it is not in it)
    waiting: int  # in the line
    oldest: int | None  # when the first of the line became ready
    ready: int  # in the queue, those that were passed over among them
    offered_at: int | None = None  # of a ready one: when a scheduler offers it again, if nobody has claimed it by then
    timer_at: int | None = None  # when its timer makes it ready, or ends it by its own deadline
    outbox_at: int | None = None  # since when the oldest entry waits in the outbox of its partition


class Standings(Protocol):
    """Nothing here writes."""

    async def standing(self, id: str, queue: str) -> Standing:
        """Where the execution ``id`` stands in ``queue``, its own; also when there is no such execution.

        Two round trips, whatever the queue holds. The figures of the partitions are of slightly different moments.
        """
        ...

    async def leader(self) -> Leadership | None:
        """Which scheduler leads (``leading`` is False: it is not the asker), without taking the seat; None for nobody."""
        ...
