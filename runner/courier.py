"""The courier: takes what a change has put into the outbox to where it belongs, at once.

Nothing depends on it: what it could not apply stays in the outbox, and the scheduler sends it again. Every parcel is
applied idempotently, so that two couriers with the same one do no harm.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.broker import Broker
from runner.clock import boot_ms
from runner.errors import BrokerUnavailable, InfrastructureError, StoreUnavailable
from runner.failures import said
from runner.hooks import Hooks
from runner.log import Logger
from runner.messages import Emission
from runner.records import AuditEntry, Notice
from runner.store import Store
from runner.transactions import Deliver, Delivered, Follow, Outgoing, Parcel, Start, Started, Wake

log = Logger("runner.courier")

#: Parcels of one round; all starts among them travel in one question.
ROUND = 200
#: Of the other kinds, so many are under way at once.
AT_ONCE = 64
#: Parcels that one call sends beside those it was given; what they lead to beyond that stays in the outbox.
LIMIT = 1_000
#: Hints that were not confirmed after this long are left to their ready entries, in seconds.
PATIENCE_S = 10.0
#: An emit that the broker did not take leaves the others in the outbox for this long, in ms.
SILENCE_MS = 1_000

#: Has the hints of these wakes published soon; never waits.
Post = Callable[[Sequence[Wake]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What applying one parcel has brought about."""

    wakes: tuple[Wake, ...] = ()
    parcels: tuple[Parcel, ...] = ()
    rows: tuple[AuditEntry, ...] = ()


class _StillAway(BrokerUnavailable):
    """Not asked again: of a thousand events one has found it out, and said so."""


class _NotYet(InfrastructureError):
    """What has to come first is on its way."""


Applied = tuple[Parcel, Brought]


class Courier:
    """One a process is enough. ``post``: who publishes the hints (by default the courier, before it returns)."""

    def __init__(self, store: Store, broker: Broker, hooks: Hooks | None = None, *, post: Post | None = None) -> None:
        self._store = store
        self._broker = broker
        self._hooks = hooks or Hooks()
        self._post = post
        self._places = asyncio.Semaphore(AT_ONCE)
        self._silent_until = 0  # boot time

    async def send(self, parcels: Iterable[Parcel]) -> int:
        """Apply the parcels and all that they lead to; remove what was applied from the outbox.

        Returns how many could not be applied: they stay, and hold up no other. Raises nothing but cancellation.
        """
        waiting = deque(parcels)
        left, refused = len(waiting) + LIMIT, 0
        while waiting and left > 0:
            batch = [waiting.popleft() for _ in range(min(len(waiting), ROUND, left))]
            applied = await self._apply(batch)
            left -= len(batch)
            refused += len(batch) - len(applied)
            waiting.extend(further for _, brought in applied for further in brought.parcels)
            await self._settle(applied)
        return refused

    async def _apply(self, parcels: Sequence[Parcel]) -> list[Applied]:
        starts = [parcel for parcel in parcels if parcel.outgoing.kind == "start"]
        others = [parcel for parcel in parcels if parcel.outgoing.kind != "start"]
        carrying = asyncio.gather(*(self._carry(parcel) for parcel in others))
        started, carried = await asyncio.gather(self._start(starts), carrying)
        outcomes = zip((*starts, *others), (*started, *carried), strict=True)
        return [(parcel, brought) for parcel, brought in outcomes if brought is not None]

    async def _settle(self, applied: Sequence[Applied]) -> None:
        self._hooks.fire([row for _, brought in applied for row in brought.rows])
        wakes = [wake for _, brought in applied for wake in brought.wakes]
        await asyncio.gather(self._remove([parcel for parcel, _ in applied]), self._publish(wakes))

    # -- applying ---------------------------------------------------------------------------------

    async def _start(self, parcels: Sequence[Parcel]) -> Sequence[Brought | None]:
        """All of them in one question; when the store stumbles over one, each in a question of its own."""
        if not parcels:
            return ()
        try:
            starts = [Start.unpack(parcel.outgoing.payload) for parcel in parcels]
            answers = await self._store.start(starts)
        except Exception as error:  # noqa: BLE001 - what is wrong with one parcel must not stop the others
            if len(parcels) == 1 or isinstance(error, StoreUnavailable):
                for parcel in parcels:
                    _log_refused(parcel, error)
                return [None] * len(parcels)
            singly = await asyncio.gather(*(self._start([parcel]) for parcel in parcels))
            return [brought for alone in singly for brought in alone]
        asked = zip(parcels, starts, answers, strict=True)
        return await asyncio.gather(*(self._started(parcel, start, answer) for parcel, start, answer in asked))

    async def _started(self, parcel: Parcel, start: Start, answer: Started) -> Brought | None:
        brought = _brought(answer)
        if not _conflicts(start, answer):
            return brought
        told = await self._caught(parcel, self._deliver(_conflict(start, parcel.outgoing)))
        return None if told is None else _joined(brought, told)

    async def _carry(self, parcel: Parcel) -> Brought | None:
        async with self._places:
            return await self._caught(parcel, self._carried(parcel.outgoing))

    async def _caught(self, parcel: Parcel, applying: Coroutine[Any, Any, Brought]) -> Brought | None:
        try:
            return await applying
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this parcel alone
            _log_refused(parcel, error)
            return None

    async def _carried(self, outgoing: Outgoing) -> Brought:
        match outgoing.kind:
            case "ended" if outgoing.target.startswith("@"):
                return await self._stir(outgoing.target.removeprefix("@"))
            case "signal" | "cancel" | "ended" | "reopened":
                return await self._deliver(_delivery(outgoing))
            case "follow":
                return await self._follow(Follow.unpack(outgoing.payload))
            case "emit":
                return await self._emit(Emission.unpack(outgoing.payload))
            case kind:
                raise ValueError(f"parcels of kind {kind!r} are not known here: was it written by a newer version?")

    async def _deliver(self, deliver: Deliver) -> Brought:
        return _brought(await self._store.deliver(deliver))

    async def _follow(self, follow: Follow) -> Brought:
        """A follow may overtake the start of the waiter's own child, which an older run put into the outbox.

        So what is not there is looked for among the children whose end the waiter has not heard of. One that was
        started, has ended and was purged is not among them for ever: its notice takes it off. Raises _NotYet.
        """
        parcels = await self._store.follow(replace(follow, expected=True))
        if parcels is None:
            children = await self._store.children(follow.waiter)
            if any(child.execution_id == follow.target and not child.ended for child in children):
                raise _NotYet(f"child {follow.target!r} of {follow.waiter!r} is still to be started")
            parcels = await self._store.follow(follow)
        return Brought(parcels=parcels or ())

    async def _stir(self, schedule: str) -> Brought:
        """An execution of it has ended: a tick may wait for that."""
        await self._store.stir_schedule(schedule)
        return Brought()

    async def _emit(self, emission: Emission) -> Brought:
        if boot_ms() < self._silent_until:
            raise _StillAway("the broker did not answer a moment ago")
        try:
            await self._broker.emit(emission)
        except BrokerUnavailable:
            self._silent_until = boot_ms() + SILENCE_MS
            raise
        return Brought()

    # -- afterwards -------------------------------------------------------------------------------

    async def _remove(self, parcels: Sequence[Parcel]) -> None:
        places: dict[int, list[str]] = {}
        for parcel in parcels:
            places.setdefault(parcel.partition, []).append(parcel.place)
        removals = (self._store.relayed(partition, some) for partition, some in places.items())
        for outcome in await asyncio.gather(*removals, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.warning("outbox.not_cleared", error=_words(outcome))

    async def _publish(self, wakes: Sequence[Wake]) -> None:
        if not wakes:
            return
        if self._post is not None:
            self._post(wakes)
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._broker.publish_many([(wake.queue, wake.hint) for wake in wakes])
        except Exception as error:  # noqa: BLE001 - their ready entries have them
            log.warning("hint.left_to_outbox", hints=len(wakes), error=_words(error))


def _brought(answer: Started | Delivered) -> Brought:
    return Brought(wakes=(answer.wake,) if answer.wake else (), parcels=answer.parcels, rows=answer.rows)


def _joined(one: Brought, other: Brought) -> Brought:
    return Brought(
        wakes=(*one.wakes, *other.wakes), parcels=(*one.parcels, *other.parcels), rows=(*one.rows, *other.rows)
    )


def _delivery(outgoing: Outgoing) -> Deliver:
    return Deliver(
        id=outgoing.target,
        request=outgoing.request,
        kind=outgoing.kind,
        name=outgoing.name,
        payload=outgoing.payload,
        run=outgoing.run,
        tombstone=outgoing.kind == "cancel",
    )


def _conflicts(start: Start, answer: Started) -> bool:
    """The id is somebody else's: it was started with another input."""
    return bool(start.parent) and not answer.new and answer.digest != start.digest


def _conflict(start: Start, outgoing: Outgoing) -> Deliver:
    """What tells the parent: it would wait for a child that is none of its own."""
    notice = Notice(execution_id=start.id, status="conflict", workflow=start.workflow, key=start.key)
    return Deliver(
        id=start.parent,
        request=f"conflict:{start.id}:{outgoing.request}",
        kind="ended",
        name=start.id,
        payload=notice.pack(),
        run=start.parent_run,
    )


def _log_refused(parcel: Parcel, error: Exception) -> None:
    outgoing = parcel.outgoing
    known = {"kind": outgoing.kind, "target": outgoing.target, "request": outgoing.request, "error": _words(error)}
    if isinstance(error, _StillAway | _NotYet):
        log.debug("outbox.refused", **known)
    elif isinstance(error, InfrastructureError):
        log.warning("outbox.refused", **known)
    else:  # a defect: it comes up again and again, until somebody mends it
        log.error("outbox.refused", exc_info=error, **known)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {said(error)}"
