"""Looking through a namespace, key by key: what stands where, and what belongs to nothing.

One SCAN goes over the server's keys; what each page of it names is looked at by scripts, each execution as it is at one moment.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from runner.core.facts import Facts, Look, ScheduleFacts, Stray, Unreadable, joined, shown
from runner.errors import PayloadError
from runner.records import Schedule, Status
from runner.store.keys import Keys
from runner.store.redis import stored, timetable
from runner.store.redis.connection import Reply
from runner.store.redis.failures import WrongType
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
                yield replace(look, share=share)
        if cursor == "0":
            break
    yield await _timetable(pipeline, keys)


async def facts(pipeline: Pipeline, keys: Keys, ids: Iterable[str]) -> Look:
    """See ``Inspection.facts``."""
    homes: dict[str, list[str]] = {}
    for id in ids:
        homes.setdefault(keys.home(id), []).append(id)
    asked = [(prefix, chunk) for prefix, some in homes.items() for chunk in _chunks(some)]
    return joined(await asyncio.gather(*(_facts_of(pipeline, prefix, chunk) for prefix, chunk in asked)))


async def _facts_of(pipeline: Pipeline, prefix: str, ids: Iterable[str]) -> Look:
    """Of one partition."""
    now, replies = await pipeline.run(scripts().facts, prefix, *ids)
    found = [_facts_or_not(now, prefix, one) for one in replies]
    return Look(
        facts=tuple(one for one in found if isinstance(one, Facts)),
        unreadable=tuple(one for one in found if isinstance(one, Unreadable)),
    )


async def living(pipeline: Pipeline, keys: Keys, partition: int, cursor: str, limit: int) -> tuple[Look, str]:
    """See ``Inspection.living``; the cursor is a status, by its place among them, and a cursor into its listing."""
    place, _, inner = (cursor or "0:0").partition(":")
    index = f"{keys.prefix(partition)}by:status:{_LIVING[int(place)]}"
    behind = f"{int(place) + 1}:0" if int(place) + 1 < len(_LIVING) else ""
    try:
        reply, flat = await pipeline.command("ZSCAN", index, inner, "COUNT", limit)
    except WrongType:
        return Look(unreadable=(_no_index(index),)), behind
    # An id that is no text is nobody's: of it tells who looks for strays.
    found = await facts(pipeline, keys, (id for id in map(_text, flat[::2]) if _is_clean(id)))
    return found, f"{place}:{reply.decode()}" if reply != b"0" else behind


async def sweep(pipeline: Pipeline, keys: Keys, strays: Iterable[Stray]) -> int:
    """See ``Inspection.sweep``."""
    asked = [
        pipeline.run(scripts().sweep, _prefix(keys, one), one.kind, one.place, _bytes(one.id))
        for one in strays
        if _swept(one)
    ]
    asked += [
        pipeline.run(scripts().drop_schedule, keys.wide, _bytes(one.id), 0)
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
        text = _text(key)
        head, _, name = text.partition("}:")
        prefix = f"{head}}}:"
        if prefix in prefixes and _is_clean(name):
            names.setdefault(prefix, []).append(name)
        else:  # ours are texts
            names.setdefault("", []).append(shown(text))
    for prefix, some in names.items():
        yield prefix, prefixes.get(prefix, WIDE), some


async def _partition(pipeline: Pipeline, prefix: str, partition: int, names: Sequence[str]) -> AsyncIterator[Look]:
    records = [name[2:] for name in names if name.startswith("x:")] if partition != WIDE else []
    for chunk in _chunks(records):
        yield await _facts_of(pipeline, prefix, chunk)
    yield Look(strays=await _stray_keys(pipeline, prefix, partition, names))
    for name in names:
        if partition != WIDE and _ENTRIES.fullmatch(name):
            try:
                async for strays in _stray_entries(pipeline, prefix, partition, name):
                    yield Look(strays=strays)
            except WrongType:
                yield Look(unreadable=(_no_index(f"{prefix}{name}"),))


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
            yield tuple(Stray(kind="entry", place=index, id=_text(one), partition=partition) for one in astray)
        if cursor == "0":
            return


def _chunks(some: Sequence[T]) -> Iterator[Sequence[T]]:
    return (some[at : at + PAGE] for at in range(0, len(some), PAGE))


# -- schedules --------------------------------------------------------------------------------------


async def _timetable(pipeline: Pipeline, keys: Keys) -> Look:
    """A schedule that is in no order of ids cannot be listed either: it counts as one that nobody looks at."""
    try:
        blobs, due, listed = await asyncio.gather(
            pipeline.command("HGETALL", f"{keys.wide}schedules"),
            pipeline.command("ZRANGE", f"{keys.wide}schedules:due", 0, -1, "WITHSCORES"),
            pipeline.command("ZRANGE", f"{keys.wide}schedules:ids", 0, -1),
        )
    except WrongType:
        return Look(unreadable=(_no_index(f"{keys.wide}schedules*"),), share=1.0)
    read = {_text(id): _schedule(keys, _text(id), blob) for id, blob in stored.pairs(blobs)}
    kept = {id: one.due_at for id, one in read.items() if isinstance(one, Schedule)}
    moments = {_text(id): int(float(at)) for id, at in stored.pairs(due)}
    ids = {_text(id) for id in listed}
    return Look(
        schedules=tuple(
            ScheduleFacts(id=id, due_at=due_at, index_at=moments.get(id) if id in ids else None)
            for id, due_at in kept.items()
        ),
        strays=tuple(_nobodys(read, moments, ids)),
        unreadable=tuple(one for one in read.values() if isinstance(one, Unreadable)),
        share=1.0,
    )


def _nobodys(kept: Iterable[str], due: Iterable[str], listed: Iterable[str]) -> Iterator[Stray]:
    """Entries of schedules that are not there."""
    places = [("schedules:due", id) for id in due] + [("schedules:ids", id) for id in listed]
    return (Stray(kind="entry", place=place, id=id, partition=WIDE) for place, id in places if id not in set(kept))


def _schedule(keys: Keys, id: str, blob: bytes) -> Schedule | Unreadable:
    try:
        (schedule,) = timetable.page([blob])
    except (PayloadError, ValueError, TypeError, IndexError) as error:
        return Unreadable(id="", place=f"{keys.wide}schedules, field {shown(id)}", why=str(error))
    return schedule


# -- replies ----------------------------------------------------------------------------------------


def _facts_or_not(now: int, prefix: str, reply: Reply) -> Facts | Unreadable:
    if isinstance(reply[0], bytes):
        id, why, place = map(_text, reply)
        own = place[1:] == f":{id}"
        return Unreadable(id=id, place=f"{prefix}{place}", why=why) if own else _no_index(f"{prefix}{place}")
    try:
        return _facts(now, reply)
    except (PayloadError, ValueError, TypeError) as error:
        id = _text(reply[0][0])
        return Unreadable(id=id, place=f"{prefix}x:{id}", why=str(error))


def _no_index(key: str) -> Unreadable:
    """Whoever comes across it says the same, so that it is found once."""
    return Unreadable(id="", place=key, why="it is something else than it must be")


def _facts(now: int, reply: Reply) -> Facts:
    about, missing, surplus, fading, waits, children = reply
    id, status, run, owned, claimed, deadline, timeout_ms, lease, ready, listed, timer, expiry, news, *lengths = about
    entries, recorded, cancel, inbox = lengths
    return Facts(
        id=id.decode(),
        status=Status(status.decode()),
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
        entries=entries,
        recorded=recorded,
        arrived=None if cancel is None else cancel + 1,
        inbox=inbox,
    )


def _number(reply: Reply) -> int | None:
    return None if reply is None else int(float(reply))


def _words(reply: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(sorted(one.decode() for one in reply))


# -- names --------------------------------------------------------------------------------------------


def _text(name: bytes) -> str:
    """What is no text can be told of as well, and be given back as it was: see ``_bytes``."""
    return name.decode(errors="surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _is_clean(name: str) -> bool:
    return name.isascii() or shown(name) == name
