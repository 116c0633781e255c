"""Listings: one index per partition is read, newest first, as far as the page needs; the page is their merge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Self

from runner.errors import UsageError
from runner.records import Execution, Filter, Page
from runner.store.keys import Keys
from runner.store.redis import decode
from runner.store.redis.connection import Reply
from runner.store.redis.pipeline import Pipeline
from runner.store.redis.scripts import scripts


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an execution stands in a listing: the greatest comes first."""

    created_at: int
    id: str

    def __str__(self) -> str:
        return f"{self.created_at}:{self.id}"

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """Raises UsageError for what is no cursor."""
        created_at, colon, id = cursor.partition(":")
        if not colon or not created_at.isdecimal():
            raise UsageError(f"{cursor!r} is no cursor of a listing: pass the one that came with the last page")
        return cls(int(created_at), id)


async def executions(pipeline: Pipeline, keys: Keys, filter: Filter) -> Page:
    """One page in two round trips, whatever lies before or behind it."""
    words = _words(filter)
    partitions = await asyncio.gather(
        *(pipeline.run(scripts().list, keys.prefix(p), *words) for p in range(keys.partitions))
    )
    places = list(islice(merge(*map(_places, partitions), reverse=True), filter.limit + 1))
    shown = places[: filter.limit]
    found = await asyncio.gather(*(record(pipeline, keys, place.id) for place in shown))
    return Page(
        # Read a moment after the index: what was purged or moved on since is not what was asked for.
        executions=tuple(one for one in found if one and _fits(one, filter)),
        cursor=str(shown[-1]) if len(places) > len(shown) and shown else None,
    )


async def record(pipeline: Pipeline, keys: Keys, id: str) -> Execution | None:
    lease_until, fields = await pipeline.run(scripts().record, keys.home(id), id)
    return decode.execution(id, lease_until, fields) if fields else None


def _words(filter: Filter) -> tuple[str, int, str, str, str]:
    place = Place.parse(filter.cursor) if filter.cursor is not None else None
    newest = "+inf" if filter.created_before is None else f"{filter.created_before - 1}"
    oldest = "-inf" if filter.created_after is None else f"{filter.created_after}"
    if place is None:
        return _index(filter), filter.limit + 1, newest, oldest, ""
    return _index(filter), filter.limit + 1, str(place.created_at), oldest, place.id


def _index(filter: Filter) -> str:
    match filter.status, filter.workflow:
        case None, None:
            return "by:all"
        case None, workflow:
            return f"by:workflow:{workflow}"
        case status, None:
            return f"by:status:{status}"
        case status, workflow:
            return f"by:both:{status}:{workflow}"


def _places(flat: Reply) -> Iterable[Place]:
    return (Place(int(created_at), id.decode()) for id, created_at in decode.pairs(flat))


def _fits(execution: Execution, filter: Filter) -> bool:
    return filter.status is None or execution.status is filter.status
