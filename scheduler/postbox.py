"""Hints on their way to the broker: whoever puts them in goes on at once, and one sick queue holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice

from runner.log import Logger
from runner.scheduler.patience import ended
from runner.scheduler.publisher import Publisher
from runner.transactions import Wake

log = Logger("runner.scheduler")

#: Hints of one queue that may wait here; what comes on top stays a ready entry, and comes up again.
ROOM = 10_000
#: Hints published together.
BATCH = 500
#: A batch that was not confirmed after this long is left to its ready entries.
PATIENCE_S = 30.0


class Postbox:
    """At most one task and ROOM hints a queue; nothing here is needed for correctness, so all of it may be lost."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        # By execution and seq: a hint that still waits here when its entry is looked at again is not sent twice.
        self._waiting: dict[str, dict[tuple[str, int], Wake]] = {}
        self._posting: dict[str, asyncio.Task[None]] = {}

    def put(self, wakes: Sequence[Wake]) -> None:
        """Have these published soon; never waits."""
        left = [wake for wake in wakes if not self._take(wake)]
        if left:
            log.warning("hint.left_to_outbox", hints=len(left), error="the broker does not keep up")
        for queue in self._waiting.keys() - self._posting.keys():
            self._posting[queue] = asyncio.create_task(self._post(queue), name=f"publish to {queue}")

    async def close(self) -> None:
        """Forget what was not published. The postbox may be used again."""
        self._waiting.clear()
        posting = list(self._posting.values())
        self._posting.clear()
        await ended(*posting)

    def _take(self, wake: Wake) -> bool:
        waiting = self._waiting.setdefault(wake.queue, {})
        if len(waiting) >= ROOM:
            return False
        waiting[wake.id, wake.seq] = wake
        return True

    async def _post(self, queue: str) -> None:
        try:
            while waiting := self._waiting.get(queue):
                keys = list(islice(waiting, BATCH))
                await self._send([waiting.pop(key) for key in keys])
        finally:
            if self._posting.get(queue) is asyncio.current_task():
                del self._posting[queue]
                self._waiting.pop(queue, None)

    async def _send(self, wakes: Sequence[Wake]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._publisher.publish(wakes)
        except TimeoutError:
            log.warning("hint.left_to_outbox", hints=len(wakes), error=f"no answer in {PATIENCE_S} s")
        except Exception:
            # One batch that fails in whatever way must not end the publishing.
            log.exception("hint.left_to_outbox", hints=len(wakes))
