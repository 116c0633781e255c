"""The check of a whole store: has every execution something that moves it on, and do the indexes say what the records say?

One execution is looked at as it is at one moment. What spans partitions cannot be: that is looked at twice, and a change in
between is no finding. Repairs are single atomic changes, so that both can be done while everything runs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from runner.broker import Broker
from runner.core.facts import Facts, Look
from runner.core.wakefulness import Finding, check, check_parcel, check_schedule, check_stray, check_unreadable
from runner.courier import Courier
from runner.errors import BrokerUnavailable, RunnerError, StoreUnavailable
from runner.fleet import workers_of
from runner.hooks import Hooks
from runner.kin import NOBODY, Kin, Lonely, parcels_of
from runner.log import Logger
from runner.store import Store
from runner.store.inspection import Mended, Repair
from runner.transactions import Follow, Parcel, Start

log = Logger("runner.fsck")

#: A dead worker's lease may have been longer than any that is known: it is not absurd below twice this, in ms.
LEAST_LEASE_MS = 60_000
_KINDS = frozenset({"start", "signal", "cancel", "ended", "reopened", "follow", "emit"})

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FsckReport:
    """``executions``: how many were looked at. ``findings``: the first of them; ``counts``: all, by code. ``left``: how many
    of all are still so: all of them where nothing was to be repaired. ``repaired``: how many executions, schedules and strays
    were set right: one execution may have several findings.
    """

    executions: int
    findings: tuple[Finding, ...]
    counts: dict[str, int]
    repaired: int
    left: int

    @property
    def clean(self) -> bool:
        return not self.counts


@dataclass(slots=True)
class Fsck:
    """One check. ``most``: so many findings are kept."""

    store: Store
    broker: Broker
    courier: Courier
    hooks: Hooks
    repair: bool
    most: int
    executions: int = 0
    repaired: int = 0
    left: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    counts: Counter[str] = field(default_factory=Counter[str])
    _seen: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])

    async def run(self, progress: Progress) -> FsckReport:
        lease_ms = await longest_lease_ms(self.store)
        async for look in self.store.survey():
            await self._look(look, lease_ms)
            progress(look.share)
        for partition in range(self.store.partitions):
            await self._outbox(partition)
        return FsckReport(
            executions=self.executions,
            findings=tuple(self.findings),
            counts=dict(self.counts),
            repaired=self.repaired,
            left=self.left,
        )

    async def _look(self, look: Look, lease_ms: int) -> None:
        self.executions += len(look.facts) + sum(1 for one in look.unreadable if one.id)
        self._found(map(check_unreadable, look.unreadable))
        lonely = await Kin(self.store).lonely(look.facts)
        for facts in look.facts:
            await self._execution(facts, lonely.get(facts.id, NOBODY), lease_ms)
        self._found(map(check_stray, look.strays))
        if self.repair and look.strays:
            self.repaired += await self.store.sweep(look.strays)
        for schedule in look.schedules:
            late = tuple(check_schedule(schedule))
            self._found(late)
            if self.repair and late:
                await self._rewrite(schedule.id)

    async def _execution(self, facts: Facts, alone: Lonely, lease_ms: int) -> None:
        found = tuple(check(facts, lease_ms))
        left: frozenset[str] = frozenset()
        if self.repair and (alone or any(one.repairable for one in found)):
            wake = any(one.code == "unwakeable" for one in found)
            left = await self._mended(facts, wake, alone, lease_ms)
        self._found((*found, *alone.findings(facts)), left)

    def _found(self, findings: Iterable[Finding], left: frozenset[str] = frozenset()) -> None:
        """Each once: a survey may come across a key a second time. ``left``: codes of those that could not be set right."""
        for one in findings:
            mark = (one.code, one.subject, one.text)
            if mark not in self._seen:
                self._seen.add(mark)
                told = replace(one, repaired=self.repair and one.repairable and one.code not in left)
                self.counts[one.code] += 1
                self.left += not told.repaired
                self.findings += [told] if len(self.findings) < self.most else []

    # -- repairs ----------------------------------------------------------------------------------

    async def _mended(self, facts: Facts, wake: bool, alone: Lonely, lease_ms: int) -> frozenset[str]:
        """Codes of what is still wrong with it: damage that hinders one repair must not hinder the others."""
        left: set[str] = set()
        try:
            await self._mend(facts, wake, alone, lease_ms)
        except StoreUnavailable:
            raise
        except RunnerError as error:
            log.error("execution.not_repaired", execution_id=facts.id, error=str(error))
            left |= {one.code for one in alone.findings(facts)}
        look = await self.store.facts([facts.id])
        return frozenset(left | {one.code for now in look.facts for one in check(now, lease_ms)})

    async def _mend(self, facts: Facts, wake: bool, alone: Lonely, lease_ms: int) -> None:
        parcels = await follow_again(self.store, facts, alone.unheard)
        asked = Repair(lease_ms=lease_ms, wake=wake, lost=alone.lost, again=alone.unheard)
        mended = await self.store.mend(facts.id, asked)
        if mended.done:
            self.repaired += 1
            log.warning("execution.repaired", execution_id=facts.id, done=mended.done)
        await asyncio.gather(self._announce(mended), self.courier.send(parcels))

    async def _announce(self, mended: Mended) -> None:
        self.hooks.fire(mended.rows)
        if mended.wake is None:
            return
        try:
            await self.broker.publish_many([(mended.wake.queue, mended.wake.hint)])
        except BrokerUnavailable as error:
            log.warning("hint.left_to_outbox", hints=1, error=str(error))

    async def _rewrite(self, id: str) -> None:
        """The same schedule in its next revision: that puts it into every index anew."""
        schedule = await self.store.schedule(id)
        if schedule is not None:
            (done,) = await self.store.put_schedules([replace(schedule, revision=schedule.revision + 1)])
            self.repaired += done

    # -- the outbox -------------------------------------------------------------------------------

    async def _outbox(self, partition: int) -> None:
        """What nobody can carry stays there for ever: it needs whoever wrote it."""
        async for parcel in parcels_of(self.store, partition):
            if not _can_be_carried(parcel):
                self._found(
                    [check_parcel(parcel.outgoing.kind, parcel.outgoing.target, f"{partition}, {parcel.place}")]
                )


async def fsck(
    store: Store, broker: Broker, courier: Courier, hooks: Hooks, *, repair: bool, most: int, progress: Progress
) -> FsckReport:
    """Check everything, and set right what can be."""
    return await Fsck(store, broker, courier, hooks, repair, most).run(progress)


async def longest_lease_ms(store: Store) -> int:
    """Of the workers that are alive, and not less than is usual."""
    return max([LEAST_LEASE_MS, *(one.lease_ms for one in await workers_of(store))])


async def follow_again(store: Store, facts: Facts, targets: Sequence[str]) -> list[Parcel]:
    """Have an execution hear of these ends, or that there is nobody; under requests that no notice has had yet.

    Of whatever workflow they are: what it takes them for is not recorded, and a guess would be answered with a ``mismatch``
    that it takes for another wait's, should the target come to life meanwhile.
    """
    parcels: list[Parcel] = []
    for target in targets:
        request = f"fsck:{secrets.token_hex(8)}"
        asked = Follow(target=target, waiter=facts.id, run=facts.run, workflow="", request=request)
        parcels += await store.follow(asked) or ()
    return parcels


def _can_be_carried(parcel: Parcel) -> bool:
    try:
        match parcel.outgoing.kind:
            case "start":
                Start.unpack(parcel.outgoing.payload)
            case "follow":
                Follow.unpack(parcel.outgoing.payload)
            case kind:
                return kind in _KINDS
    except Exception:  # noqa: BLE001 - msgpack raises many kinds for bytes that it did not write
        return False
    return True
