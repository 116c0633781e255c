"""Hints for workflows that this worker does not know: whether one that does had better be offered them at once."""

from __future__ import annotations

from collections import OrderedDict

from runner.clock import boot_ms
from runner.errors import StoreUnavailable
from runner.fleet import workers_of
from runner.messages import Hint
from runner.store import Store

#: So often a worker puts the hint of one execution back at once; then it waits for the store's backoff.
AT_ONCE = 3
#: Executions that are remembered, the latest.
ROOM = 10_000
#: What live workers know is asked again after this long, in ms.
ASKED_MS = 1_000


class Strangers:
    """In a fleet with two releases every other hint meets a worker of the wrong one.

    To wait out a backoff each time would make new workflows slow for nothing, and to put hints back for ever would keep
    the fleet busy with them while those who know the workflow are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._served: frozenset[tuple[str, int, str]] = frozenset()
        self._asked_at: int | None = None
        self._returned: OrderedDict[str, int] = OrderedDict()

    async def offer_at_once(self, hint: Hint, queue: str) -> bool:
        """True when the hint should go back into its queue now: a live worker knows what it is for."""
        if (hint.workflow, hint.version, queue) not in await self._served_now():
            return False
        times = self._returned.pop(hint.execution_id, 0)
        if times == AT_ONCE:
            return False
        self._returned[hint.execution_id] = times + 1
        if len(self._returned) > ROOM:
            self._returned.popitem(last=False)
        return True

    async def _served_now(self) -> frozenset[tuple[str, int, str]]:
        if self._asked_at is None or boot_ms() - self._asked_at > ASKED_MS:
            self._asked_at = boot_ms()
            try:
                workers = await workers_of(self._store)
            except StoreUnavailable:  # then what was known a moment ago is as good as anything
                return self._served
            self._served = frozenset(one for worker in workers for one in worker.workflows)
        return self._served
