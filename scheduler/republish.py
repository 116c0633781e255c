"""Whether an overdue ready entry means a lost hint: judged so that a backlog does not breed copies."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

from runner.transactions import Wake

#: A queue that holds at least this share of its ready entries is busy, not broken.
BACKLOG_SHARE = 0.5
#: Looks at one entry after which its hint is sent again whatever the queue holds; then after twice as many.
PATIENCE = 4
#: Entries whose looks are counted; past that the oldest are forgotten, and wait as long again.
REMEMBERED = 100_000


class Backlog:
    """What the leader knows of the queues: how many entries are ready in all, and how often each was looked at."""

    def __init__(self) -> None:
        self._ready: dict[int, Mapping[str, int]] = {}  # by partition
        self._looks: OrderedDict[str, int] = OrderedDict()

    def heard(self, partition: int, ready: Mapping[str, int]) -> None:
        """A partition has said how many entries it has ready, by queue."""
        self._ready[partition] = ready

    def lost(self, wakes: Sequence[Wake], depths: Mapping[str, int | None]) -> list[Wake]:
        """Of overdue wakes those whose hints were lost, judged by what their queues hold.

        An empty or missing queue has lost all its hints; one with far fewer hints than there are ready
        entries, some. In a queue with a backlog nobody can tell a lost hint from one on its way, so an entry
        that has been looked at again and again is sent again, less and less often.
        """
        ready = sum((Counter(counts) for counts in self._ready.values()), Counter[str]())
        return [
            wake for wake in wakes if _has_lost(depths.get(wake.queue), ready[wake.queue]) or self._overlooked(wake)
        ]

    def _overlooked(self, wake: Wake) -> bool:
        looks = self._looks.pop(wake.id, 0) + 1
        self._looks[wake.id] = looks
        if len(self._looks) > REMEMBERED:
            self._looks.popitem(last=False)
        return looks >= PATIENCE and looks & (looks - 1) == 0


def _has_lost(depth: int | None, ready: int) -> bool:
    return depth is None or depth < BACKLOG_SHARE * ready
