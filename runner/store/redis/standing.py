"""Where executions stand: one script in the execution's own partition, then one in each for its queue."""

from __future__ import annotations

import asyncio

from runner.records import Leadership
from runner.store.keys import Keys
from runner.store.redis.connection import Reply
from runner.store.redis.pipeline import Pipeline
from runner.store.redis.scripts import scripts
from runner.store.standing import Standing


class RedisStandings:
    """``runner.store.standing.Standings``, of a RedisStore."""

    _keys: Keys
    _pipeline: Pipeline

    async def standing(self, id: str, queue: str) -> Standing:
        own = await self._pipeline.run(scripts().standing, self._keys.home(id), id, queue)
        since, offered_at, timer_at, outbox_at = (None if one is None else int(one) for one in own)
        lines = await self._lines(queue, since)
        ready, waiting, ahead = (sum(int(line[at]) for line in lines) for at in range(3))
        return Standing(
            since=since,
            ahead=ahead,
            waiting=waiting,
            oldest=min((int(line[3]) for line in lines if line[3] is not None), default=None),
            ready=ready,
            offered_at=offered_at,
            timer_at=timer_at,
            outbox_at=outbox_at,
        )

    async def leader(self) -> Leadership | None:
        reply = await self._pipeline.run(scripts().leader, self._keys.wide)
        return reply and Leadership(leading=False, leader=reply[0].decode(), expires_in_ms=reply[1])

    async def _lines(self, queue: str, since: int | None) -> list[Reply]:
        """The partitions' answers, asked in one write."""
        before = "+inf" if since is None else since
        prefixes = map(self._keys.prefix, range(self._keys.partitions))
        return await asyncio.gather(*(self._pipeline.run(scripts().line, one, queue, before) for one in prefixes))
