"""Listings: one index per partition is read, newest first, as far as the page needs; the page is their merge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Self

from runner.errors import UsageError
from runner.records import Execution, Filter, Page
from runner.store.keys import Keys
from runner.store.redis import stored
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
    """One page in two round trips, whatever lies before or behind it; more where conditions beside the index leave gaps."""
    found: list[tuple[Place, Execution]] = []
    place = None if filter.cursor is None else Place.parse(filter.cursor)
    more = True
    while more and len(found) <= filter.limit:
        wanted = filter.limit + 1 - len(found)
        places = await _next_places(pipeline, keys, filter, place, wanted)
        read = await asyncio.gather(*(pipeline.run(scripts().record, keys.home(one.id), one.id) for one in places))
        # Read a moment after the index: what was purged or moved on since is not what was asked for.
        found += [(at, one) for at, reply in zip(places, read, strict=True) if (one := _fitting(at.id, reply, filter))]
        more = len(places) == wanted
        place = places[-1] if places else place
    shown = found[: filter.limit]
    cursor = str(shown[-1][0]) if shown and len(found) > len(shown) else None
    return Page(executions=tuple(one for _, one in shown), cursor=cursor)


async def record(pipeline: Pipeline, keys: Keys, id: str) -> Execution | None:
    lease_until, flat = await pipeline.run(scripts().record, keys.home(id), id)
    return stored.execution(id, lease_until, flat) if flat else None


async def _next_places(pipeline: Pipeline, keys: Keys, filter: Filter, place: Place | None, limit: int) -> list[Place]:
    """Behind ``place``, or the first ones; newest first."""
    words = _words(filter, place, limit)
    partitions = await asyncio.gather(
        *(pipeline.run(scripts().list, keys.prefix(p), *words) for p in range(keys.partitions))
    )
    return list(islice(merge(*map(_places, partitions), reverse=True), limit))


def _words(filter: Filter, place: Place | None, limit: int) -> tuple[str, int, str, str, str]:
    newest = "+inf" if filter.created_before is None else f"{filter.created_before - 1}"
    oldest = "-inf" if filter.created_after is None else f"{filter.created_after}"
    if place is None:
        return _index(filter), limit, newest, oldest, ""
    return _index(filter), limit, str(place.created_at), oldest, place.id


def _index(filter: Filter) -> str:
    """The one that is read: the narrowest there is. The other conditions are compared."""
    if filter.stuck:
        return "by:stuck"
    if filter.attributes:
        name, text = filter.attributes[0]
        return f"by:attr:{name}:{text}"
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
    return (Place(int(created_at), id.decode()) for id, created_at in stored.pairs(flat))


def _fitting(id: str, reply: Reply, filter: Filter) -> Execution | None:
    lease_until, flat = reply
    fields = dict(stored.pairs(flat))
    return stored.execution(id, lease_until, flat) if fields and _fits(fields, filter) else None


def _fits(fields: Mapping[bytes, bytes], filter: Filter) -> bool:
    """Everything is compared as text: ``1``, ``1.0`` and ``true`` are three values of an attribute."""
    wanted = [(f"@{name}", text) for name, text in filter.attributes]
    wanted += [("status", filter.status)] if filter.status else []
    wanted += [("workflow", filter.workflow)] if filter.workflow is not None else []
    return all(fields.get(name.encode()) == text.encode() for name, text in wanted)
