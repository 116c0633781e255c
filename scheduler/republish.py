"""Whether an overdue ready entry means a lost hint: a pure choice, so that a backlog does not breed copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.transactions import Wake

#: A queue that holds at least this share of its ready entries is busy, not broken.
BACKLOG_SHARE = 0.5


def lost(wakes: Sequence[Wake], depths: Mapping[str, int | None], ready: Mapping[str, int]) -> list[Wake]:
    """The wakes whose hints were lost, judged by what their queues hold.

    A queue with far fewer hints than there are ready entries has lost some; an empty or a missing one has
    lost all. Otherwise the workers are behind, and the hints are still on their way.
    """
    return [wake for wake in wakes if _has_lost(depths.get(wake.queue), ready.get(wake.queue, 0))]


def _has_lost(depth: int | None, ready: int) -> bool:
    return depth is None or depth < BACKLOG_SHARE * ready
