"""Looking through a namespace, key by key: what stands where, and what belongs to nothing.

One SCAN goes over the server's keys; what each page of it names is looked at by scripts, each execution as it is at one moment.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TypeVar

from runner.core.facts import Facts, Look, ScheduleFacts, Stray
from runner.records import Status
from runner.store.keys import Keys
from runner.store.redis import stored, timetable
from runner.store.redis.connection import Reply
from runner.store.redis.pipeline import Pipeline
from runner.store.redis.scripts import scripts

T = TypeVar("T")

#: Keys and entries of one question: a script must not hold up everybody else.
PAGE = 100
#: Strays of what belongs to no partition.
WIDE = -1
_DATA = frozenset("jwidcsa")
_ENTRIES = re.compile(r"leases|timers|expiry|(ready|line|by|passed):.*", re.DOTALL)
_PLAIN = frozenset({"outbox", "queues", "lost", "lost:rewound", "lost:orphaned", "gone"})
_WIDE = frozenset({"meta", "leader", "schedules", "schedules:ids", "schedules:due", "workers"})
_LIVING = tuple(status for status in Status if not status.terminal)


async def survey(pipeline: Pipeline, keys: Keys) -> AsyncIterator[Look]:
    """See ``Inspection.survey``."""
    total, seen, cursor = max(await pipeline.command("DBSIZE"), 1), 0, "0"
    pattern = f"{keys.wide[:-2]}[:}}]*"
    while True:
        reply, found = await pipeline.command("SCAN", cursor, "MATCH", pattern, "COUNT", 5 * PAGE)
        cursor, seen = reply.decode(), seen + 5 * PAGE
        share = min(seen / total, 0.99)
        for prefix, partition, names in _by_prefix(keys, found):
            async for look in _partition(pipeline, prefix, partition, names):
                yield Look(facts=look.facts, strays=look.strays, share=share)
        if cursor == "0":
            break
    yield await _timetable(pipeline, keys)


async def facts(pipeline: Pipeline, keys: Keys, ids: Iterable[str]) -> tuple[Facts, ...]:
    """See ``Inspection.facts``."""
    homes: dict[str, list[str]] = {}
    for id in ids:
        homes.setdefault(keys.home(id), []).append(id)
    asked = [(prefix, chunk) for prefix, some in homes.items() for chunk in _chunks(some)]
    replies = await asyncio.gather(*(pipeline.run(scripts().facts, prefix, *chunk) for prefix, chunk in asked))
    return tuple(_facts(now, one) for now, found in replies for one in found)


async def living(
    pipeline: Pipeline, keys: Keys, partition: int, cursor: str, limit: int
) -> tuple[tuple[Facts, ...], str]:
    """See ``Inspection.living``; the cursor is a status, by its place among them, and a cursor into its listing."""
    place, _, inner = (cursor or "0:0").partition(":")
    index = f"{keys.prefix(partition)}by:status:{_LIVING[int(place)]}"
    reply, flat = await pipeline.command("ZSCAN", index, inner, "COUNT", limit)
    found = await facts(pipeline, keys, (id.decode() for id in flat[::2]))
    if reply != b"0":
        return found, f"{place}:{reply.decode()}"
    return found, f"{int(place) + 1}:0" if int(place) + 1 < len(_LIVING) else ""


async def sweep(pipeline: Pipeline, keys: Keys, strays: Iterable[Stray]) -> int:
    """See ``Inspection.sweep``."""
    asked = [
        pipeline.run(scripts().sweep, _prefix(keys, one), one.kind, one.place, one.id) for one in strays if _swept(one)
    ]
    asked += [
        pipeline.run(scripts().drop_schedule, keys.wide, one.id, 0)
        for one in strays
        if one.kind == "entry" and one.partition == WIDE
    ]
    return sum(await asyncio.gather(*asked))


def _swept(stray: Stray) -> bool:
    return stray.kind in ("data", "fading") or (stray.kind == "entry" and stray.partition != WIDE)


def _prefix(keys: Keys, stray: Stray) -> str:
    return keys.wide if stray.partition == WIDE else keys.prefix(stray.partition)


# -- a page of keys ---------------------------------------------------------------------------------


def _by_prefix(keys: Keys, found: Sequence[bytes]) -> Iterator[tuple[str, int, list[str]]]:
    """The names behind each prefix; what is in no partition that there is comes under ``WIDE``."""
    prefixes = {keys.prefix(partition): partition for partition in range(keys.partitions)} | {keys.wide: WIDE}
    names: dict[str, list[str]] = {}
    for key in found:
        text = key.decode(errors="surrogateescape")
        head, _, name = text.partition("}:")
        prefix = f"{head}}}:"
        if prefix in prefixes:
            names.setdefault(prefix, []).append(name)
        else:
            names.setdefault("", []).append(text)
    for prefix, some in names.items():
        yield prefix, prefixes.get(prefix, WIDE), some


async def _partition(pipeline: Pipeline, prefix: str, partition: int, names: Sequence[str]) -> AsyncIterator[Look]:
    records = [name[2:] for name in names if name.startswith("x:")] if partition != WIDE else []
    for chunk in _chunks(records):
        now, found = await pipeline.run(scripts().facts, prefix, *chunk)
        yield Look(facts=tuple(_facts(now, one) for one in found))
    yield Look(strays=await _stray_keys(pipeline, prefix, partition, names))
    for name in names:
        if partition != WIDE and _ENTRIES.fullmatch(name):
            async for strays in _stray_entries(pipeline, prefix, partition, name):
                yield Look(strays=strays)


async def _stray_keys(pipeline: Pipeline, prefix: str, partition: int, names: Sequence[str]) -> tuple[Stray, ...]:
    foreign = [name for name in names if not (prefix and _is_known(name, partition))]
    data = [name for name in names if partition != WIDE and name[:1] in _DATA and name[1:2] == ":"]
    lasting = [name for name in names if name not in foreign and _must_last(name)]
    orphans = [orphan for chunk in _chunks(data) for orphan in await pipeline.run(scripts().astray, prefix, "", *chunk)]
    times = await asyncio.gather(*(pipeline.command("PTTL", f"{prefix}{name}") for name in lasting))
    return (
        *(Stray(kind="foreign", place=f"{prefix}{name}") for name in foreign),
        *(Stray(kind="data", place=one.decode(), id=one.decode()[2:], partition=partition) for one in orphans),
        *(
            Stray(kind="fading", place=name, partition=partition)
            for name, left in zip(lasting, times, strict=True)
            if left >= 0
        ),
    )


def _is_known(name: str, partition: int) -> bool:
    if partition == WIDE:
        return name in _WIDE
    of_execution = name[1:2] == ":" and name[0] in _DATA | {"x", "t"}
    return of_execution or name in _PLAIN or _ENTRIES.fullmatch(name) is not None


def _must_last(name: str) -> bool:
    """An execution's own keys are looked at with it; tombstones, the leader's seat and the memory of purges are not to last."""
    return name[1:2] != ":" and name not in ("leader", "gone")


async def _stray_entries(
    pipeline: Pipeline, prefix: str, partition: int, index: str
) -> AsyncIterator[tuple[Stray, ...]]:
    cursor = "0"
    while True:
        reply, flat = await pipeline.command("ZSCAN", f"{prefix}{index}", cursor, "COUNT", PAGE)
        cursor = reply.decode()
        for chunk in _chunks(flat[::2]):
            astray = await pipeline.run(scripts().astray, prefix, index, *chunk)
            yield tuple(Stray(kind="entry", place=index, id=one.decode(), partition=partition) for one in astray)
        if cursor == "0":
            return


def _chunks(some: Sequence[T]) -> Iterator[Sequence[T]]:
    return (some[at : at + PAGE] for at in range(0, len(some), PAGE))


# -- schedules --------------------------------------------------------------------------------------


async def _timetable(pipeline: Pipeline, keys: Keys) -> Look:
    """A schedule that is in no order of ids cannot be listed either: it counts as one that nobody looks at."""
    blobs, due, listed = await asyncio.gather(
        pipeline.command("HGETALL", f"{keys.wide}schedules"),
        pipeline.command("ZRANGE", f"{keys.wide}schedules:due", 0, -1, "WITHSCORES"),
        pipeline.command("ZRANGE", f"{keys.wide}schedules:ids", 0, -1),
    )
    kept = {one.id: one.due_at for one in timetable.page(blobs[1::2])}
    moments = {id.decode(): int(float(at)) for id, at in stored.pairs(due)}
    ids = {id.decode() for id in listed}
    places = [("schedules:due", id) for id in moments] + [("schedules:ids", id) for id in ids]
    return Look(
        schedules=tuple(
            ScheduleFacts(id=id, due_at=due_at, index_at=moments.get(id) if id in ids else None)
            for id, due_at in kept.items()
        ),
        strays=tuple(Stray(kind="entry", place=place, id=id, partition=WIDE) for place, id in places if id not in kept),
        share=1.0,
    )


# -- replies ----------------------------------------------------------------------------------------


def _status(id: bytes, status: bytes) -> Status:
    try:
        return Status(status.decode())
    except ValueError as error:
        raise stored.unreadable(id.decode(), error) from error


def _facts(now: int, reply: Reply) -> Facts:
    about, missing, surplus, fading, waits, children = reply
    id, status, run, owned, claimed, deadline, timeout_ms, lease, ready, listed, timer, expiry, news = about
    return Facts(
        id=id.decode(),
        status=_status(id, status),
        now=now,
        run=run,
        owned=bool(owned),
        claimed=bool(claimed),
        deadline=_number(deadline),
        timeout_ms=_number(timeout_ms),
        news=bool(news),
        waits=tuple(stored.wait(wait.decode(), blob) for wait, blob in stored.pairs(waits)),
        lease_until=_number(lease),
        ready_at=_number(ready),
        listed=bool(listed),
        timer_at=_number(timer),
        expires_at=_number(expiry),
        missing=_words(missing),
        surplus=_words(surplus),
        fading=_words(fading),
        children=_words(children),
    )


def _number(reply: Reply) -> int | None:
    return None if reply is None else int(float(reply))


def _words(reply: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(sorted(one.decode() for one in reply))
