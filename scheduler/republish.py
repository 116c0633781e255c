"""Whether an overdue ready entry means a lost hint: judged so that a backlog does not breed copies."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

from runner.scheduler.publisher import Depth, NoDepth
from runner.transactions import Wake

#: An overdue entry comes up again after this long, in ms.
BACKOFF_MS = 5_000
#: A queue that holds at least this share of its ready entries is busy, not broken.
BACKLOG_SHARE = 0.5
#: Looks at one entry after which its hint is sent again whatever the queue holds; then after twice as many.
PATIENCE = 4
#: Entries whose looks are counted; past that the oldest are forgotten, and wait as long again.
REMEMBERED = 100_000


class Backlog:
    """What the leader knows of the queues: how many entries are ready in all, and how often each was looked at."""

    def __init__(self) -> None:
        self._ready: dict[int, tuple[int, Mapping[str, int]]] = {}  # by partition: when it was heard, and what
        self._looks: OrderedDict[tuple[str, int], int] = OrderedDict()

    def heard(self, partition: int, ready: Mapping[str, int], now: int) -> None:
        """A partition has said how many entries it has ready, by queue, at this time of the store's."""
        self._ready[partition] = (now, ready)

    def forget(self, partition: int) -> None:
        """A partition has nothing ready any more."""
        self._ready.pop(partition, None)

    def lost(self, wakes: Sequence[Wake], depths: Mapping[str, Depth], now: int) -> list[Wake]:
        """Of overdue wakes those whose hints were lost, judged by what their queues hold.

        An empty or missing queue has lost all its hints; one with far fewer hints than there are ready
        entries, some. In a queue with a backlog nobody can tell a lost hint from one on its way, nor in one
        that the broker says nothing about, so an entry that has been looked at again and again is sent again,
        less and less often.
        """
        ready = self._sum(now)
        return [wake for wake in wakes if _has_lost(depths[wake.queue], ready[wake.queue]) or self._overlooked(wake)]

    def _sum(self, now: int) -> Counter[str]:
        """All partitions together. What was heard long ago is over: whoever still had a backlog would be overdue."""
        self._ready = {p: heard for p, heard in self._ready.items() if now - heard[0] <= 2 * BACKOFF_MS}
        return sum((Counter(counts) for _, counts in self._ready.values()), Counter[str]())

    def _overlooked(self, wake: Wake) -> bool:
        key = (wake.id, wake.seq)
        looks = self._looks.pop(key, 0) + 1
        self._looks[key] = looks
        if len(self._looks) > REMEMBERED:
            self._looks.popitem(last=False)
        return looks >= PATIENCE and looks & (looks - 1) == 0


def _has_lost(depth: Depth, ready: int) -> bool:
    match depth:
        case NoDepth.MISSING:
            return True
        case NoDepth.UNTOLD:
            return False
        case _:
            return depth < BACKLOG_SHARE * ready
