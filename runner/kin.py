"""Waits for the ends of other executions, and children: does what is waited for live, and will it be heard of?

The two are in partitions of their own and change apart, and what goes between them lies in an outbox for a while. So each is
looked at in an order in which nothing can slip past unseen, twice, and who waits is looked at once more behind that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from runner.core.facts import Facts
from runner.core.wakefulness import Finding
from runner.errors import PayloadError
from runner.records import Status
from runner.store import Store, partition_of
from runner.transactions import Follow, Outgoing, Parcel, Start

_PARCELS = 200
_WAITING = frozenset({Status.SLEEPING, Status.CANCELLING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lonely:
    """``unheard``: it waits for the ends of these, and would hear of none. ``lost``: children that it takes for alive, which
    are neither there nor on their way.
    """

    unheard: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.unheard or self.lost)

    def both(self, other: Lonely) -> Lonely:
        """What was so at both looks."""
        return Lonely(
            unheard=tuple(one for one in self.unheard if one in other.unheard),
            lost=tuple(one for one in self.lost if one in other.lost),
        )

    def findings(self, facts: Facts) -> Iterator[Finding]:
        who = f"execution {facts.id!r} ({facts.status})"
        for target in self.unheard:
            text = f"{who}: it waits for the end of {target!r}, and would not hear of it"
            yield Finding(code="unheard", subject=facts.id, text=text)
        for child in self.lost:
            text = f"{who}: its child {child!r} is neither there nor on its way"
            yield Finding(code="child_lost", subject=facts.id, text=text)


NOBODY = Lonely()


class Kin:
    """``children``: also look whether children that are taken for alive are there, which costs a question for each."""

    def __init__(self, store: Store, *, children: bool = True) -> None:
        self._store = store
        self._children = children

    async def lonely(self, facts: Iterable[Facts]) -> Mapping[str, Lonely]:
        """Of executions as they were a moment ago: what they wait for in vain, by id. A change meanwhile is none."""
        suspects = {one.id: (one, found) for one in facts if (found := await self._look(one))}
        lonely: dict[str, Lonely] = {}
        for now in (await self._store.facts(tuple(suspects))).facts if suspects else ():
            before, found = suspects[now.id]
            both = _still(before, now, found.both(await self._look(now)))
            after = (await self._store.facts([now.id])).facts if both else ()
            if after and (left := _still(now, after[0], both)):
                lonely[now.id] = left
        return lonely

    async def _look(self, facts: Facts) -> Lonely:
        if facts.status.terminal:
            return NOBODY
        unheard = [target for target in _waits_for(facts) if not await self._will_hear(facts, target)]
        children = facts.children if self._children else ()
        lost = [child for child in children if not await self._is_to_be(facts, child)]
        return Lonely(unheard=tuple(unheard), lost=tuple(lost))

    async def _will_hear(self, facts: Facts, target: str) -> bool:
        """The question is on its way, or noted down while the target lives, or its answer is on its way."""
        try:
            found = await self._store.followed(target, facts.id, facts.run)
        except PayloadError:  # what cannot be read is a finding of its own; nobody can ask it anything
            return True
        if found is not None and found.followed and not found.status.terminal:
            return True
        # A question about a child that is taken for alive waits for it to come: see ``Courier``.
        lost = found is None and target in facts.children
        kinds = ("start",) if lost else ("start", "follow")
        return await self._asked(facts, target, *kinds) or await self._answered(facts, target)

    async def _is_to_be(self, facts: Facts, child: str) -> bool:
        """It is there, or its start is on its way, or the news of its end; a question about it brings nothing to life."""
        try:
            if await self._store.followed(child, facts.id, facts.run) is not None:
                return True
        except PayloadError:
            return True
        return await self._asked(facts, child, "start") or await self._answered(facts, child)

    async def _asked(self, facts: Facts, target: str, *kinds: str) -> bool:
        """Whether it has sent one of these there, and that is on its way."""
        return await self._holds(
            facts.id, lambda going: going.kind in kinds and going.target == target and _sender(going) == facts.id
        )

    async def _answered(self, facts: Facts, target: str) -> bool:
        return await self._holds(
            target, lambda going: (going.kind, going.target, going.name) == ("ended", facts.id, target)
        )

    async def _holds(self, id: str, wanted: Callable[[Outgoing], bool]) -> bool:
        """Whether such a parcel is in the outbox of this execution's partition."""
        async for parcel in parcels_of(self._store, partition_of(id, self._store.partitions)):
            if wanted(parcel.outgoing):
                return True
        return False


async def parcels_of(store: Store, partition: int) -> AsyncIterator[Parcel]:
    """A partition's outbox, page by page."""
    page = await store.outbox(partition, "", _PARCELS)
    while page:
        for parcel in page:
            yield parcel
        page = await store.outbox(partition, page[-1].place, _PARCELS)


def _waits_for(facts: Facts) -> tuple[str, ...]:
    """What it waits for, while nothing moves it."""
    if facts.status not in _WAITING or facts.owned or facts.ready_at is not None or facts.news:
        return ()
    return tuple(sorted({wait.name for wait in facts.waits if wait.kind == "ended"}))


def _still(before: Facts, after: Facts, both: Lonely) -> Lonely:
    """What is left of it when nothing has happened between two looks."""
    same = _waits_for(after) and (before.run, before.waits) == (after.run, after.waits)
    return Lonely(unheard=both.unheard if same else (), lost=tuple(one for one in both.lost if one in after.children))


def _sender(going: Outgoing) -> str:
    """Who starts a child or asks for an end."""
    try:
        match going.kind:
            case "start":
                return Start.unpack(going.payload).parent
            case "follow":
                return Follow.unpack(going.payload).waiter
            case _:
                return ""
    except Exception:  # noqa: BLE001 - msgpack raises many kinds for bytes that it did not write
        return ""
