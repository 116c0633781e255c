"""Listings: one index per partition is read, newest first, as far as the page needs; the page is their merge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Self

from runner.core.facts import shown
from runner.errors import PayloadError, UsageError
from runner.records import Execution, Filter, Page
from runner.store.keys import Keys
from runner.store.redis import stored
from runner.store.redis.connection import Reply
from runner.store.redis.failures import WrongType
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
    unreadable: dict[str, str] = {}
    place = None if filter.cursor is None else Place.parse(filter.cursor)
    more = True
    while more and len(found) <= filter.limit:
        wanted = filter.limit + 1 - len(found)
        places = await _next_places(pipeline, keys, filter, place, wanted, unreadable)
        read = await asyncio.gather(*(_read(pipeline, keys, at.id, filter) for at in places))
        unreadable |= {shown(at.id): one for at, one in zip(places, read, strict=True) if isinstance(one, str)}
        found += [(at, one) for at, one in zip(places, read, strict=True) if isinstance(one, Execution)]
        more = len(places) == wanted
        place = places[-1] if places else place
    told = found[: filter.limit]
    cursor = str(told[-1][0]) if told and len(found) > len(told) else None
    return Page(executions=tuple(one for _, one in told), cursor=cursor, unreadable=unreadable)


async def record(pipeline: Pipeline, keys: Keys, id: str) -> Execution | None:
    lease_until, flat = await pipeline.run(scripts().record, keys.home(id), id)
    return stored.execution(id, lease_until, flat) if flat else None


async def _next_places(
    pipeline: Pipeline, keys: Keys, filter: Filter, place: Place | None, limit: int, unreadable: dict[str, str]
) -> list[Place]:
    """Behind ``place``, or the first ones; newest first. What is no index is left out, and said."""
    words = _words(filter, place, limit)

    async def one(prefix: str) -> Reply:
        try:
            return await pipeline.run(scripts().list, prefix, *words)
        except WrongType as error:
            unreadable[f"{prefix}{words[0]}"] = error.said
            return ()

    partitions = await asyncio.gather(*(one(keys.prefix(p)) for p in range(keys.partitions)))
    return list(islice(merge(*map(_places, partitions), reverse=True), limit))


async def _read(pipeline: Pipeline, keys: Keys, id: str, filter: Filter) -> Execution | str | None:
    """One that fits; None for what was purged or has moved on since the index was read; else why it cannot be read."""
    if shown(id) != id:
        return "it is no text, and so no id"
    try:
        return _fitting(id, await pipeline.run(scripts().record, keys.home(id), id), filter)
    except (PayloadError, WrongType) as error:
        return str(error)


def _words(filter: Filter, place: Place | None, limit: int) -> tuple[str, int, str, str, bytes]:
    newest = "+inf" if filter.created_before is None else f"{filter.created_before - 1}"
    oldest = "-inf" if filter.created_after is None else f"{filter.created_after}"
    if place is None:
        return _index(filter), limit, newest, oldest, b""
    return _index(filter), limit, str(place.created_at), oldest, place.id.encode(errors="surrogateescape")


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
    return (Place(int(float(at)), id.decode(errors="surrogateescape")) for id, at in stored.pairs(flat))


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
