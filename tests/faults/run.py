"""A run: produce, strike, heal, drain and check."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.e2e import ledger
from tests.faults.checker import Final, Finding, check
from tests.faults.faults import FAULTS, Fault
from tests.faults.finals import (
    Clocks,
    Rolling,
    Trails,
    all_executions,
    audits,
    finals,
    is_over,
    keys_left,
    left_over,
    until_purged,
)
from tests.faults.plan import Strike
from tests.faults.questions import Questions
from tests.faults.recovery import recoveries
from tests.faults.rig import LOOK_S, PATIENCE_S, NobodyLeft, Rig
from tests.faults.rounds import Rounds
from tests.faults.vitals import Trend, Vitals

#: What processes say when a fault has reached them.
CONSEQUENCES = (
    *("lease.reaped", "lease.lost", "lease.renewal_failed", "store.unavailable", "hint.left_to_outbox"),
    *("hints.republished", "hint.orphaned", "broker.consumer_lost", "leader.elected", "reaping.paused"),
    *("store.rewound", "execution.unwakeable"),
)


#: Where ended executions are kept for less than this, they are read as they end.
KEPT_SHORT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run. ``seen``: how often each fault struck, and each of its consequences was seen.

    ``recoveries``: seconds from the kill of a worker to the next claim of what it held, shortest first.
    """

    findings: list[Finding]
    lines: list[ledger.Line]
    seen: Counter[str]
    recoveries: list[float]
    trends: list[Trend]
    seconds: float


async def run(
    rig: Rig,
    strikes: Sequence[Strike],
    *,
    faults: Mapping[str, Fault] = FAULTS,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """One run of a fresh rig; ``on_progress`` is told how many starts were acknowledged."""
    begun = time.monotonic()
    vitals = Vitals(rig)
    async with running(rig.tend()):
        await rig.begin()
        clocks = await Clocks.compare(rig.client.store)
        rolling = Rolling(rig.client, clocks, rig.system.ledger)
        rig.launch_producers()
        rounds, questions = Rounds(rig), Questions(rig.client, rig.setup.seed, rig.wrote, rig.seen)
        beside = [rolling.keep_up()] if rig.setup.kept_s < KEPT_SHORT_S else []
        async with running(vitals.watch(), questions.keep_asking(), *beside):
            await strike(rig, strikes, rounds, faults, on_progress)
            await rig.heal()
            await drain(rig)
        await questions.ask_last()
        await rounds.end()
        await told_losses(rig)
        ended, trails = await collected(rig, rolling, clocks)
        left = await left_behind(rig)
    lines = ledger.read(rig.system.ledger)
    return Outcome(
        findings=check(lines, ended, left),
        lines=lines,
        seen=seen(rig, lines),
        recoveries=recoveries(lines, trails, clocks.ahead_s),
        trends=vitals.trends(),
        seconds=time.monotonic() - begun,
    )


async def collected(rig: Rig, rolling: Rolling, before: Clocks) -> tuple[list[Final], Trails]:
    """How every execution ended, and the trails of those that the store still has."""
    after = await Clocks.compare(rig.client.store)
    # Were one of the clocks set meanwhile, an end is taken to be later rather than earlier than it was.
    clocks = max(before, after, key=lambda one: one.ahead_s)
    there = await all_executions(rig.client)
    ended = {one.id: one for one in await finals(rig.client, there, clocks)}
    return list((rolling.finals | ended).values()), await audits(rig.client, ended)


async def left_behind(rig: Rig) -> Counter[str]:
    """What is still to be done, and where the store forgets early, what it has not forgotten."""
    left = await left_over(rig.client.store)
    if rig.setup.kept_s < KEPT_SHORT_S:
        await until_purged(rig.client, rig.setup.kept_s + PATIENCE_S)
        left |= await asyncio.to_thread(keys_left, rig.redis.url, rig.system.namespace)
    return left


@asynccontextmanager
async def running(*beside: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """These go on beside the block and end with it; one that fails ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in beside]
        yield
        for task in tasks:
            task.cancel()


async def told_losses(rig: Rig) -> None:
    """Redis had a sync for every write: the hints tell of no loss but those that were made up."""
    found = await rig.client.store.losses()
    forged = {"rewound": rig.seen["hints.ahead"], "orphaned": rig.seen["hints.unknown"]}
    rig.wrote("losses", rewound=found.rewound, orphaned=found.orphaned, forged=forged)
    rig.seen["losses.told"] += found.rewound + found.orphaned


async def strike(
    rig: Rig,
    strikes: Sequence[Strike],
    rounds: Rounds,
    faults: Mapping[str, Fault],
    on_progress: Callable[[int], None],
) -> None:
    """Each in its moment, until all is produced and every fault is over; none while a round waits to end, and ends."""
    waiting, under_way = list(strikes), set[asyncio.Task[None]]()
    async with asyncio.TaskGroup() as striking:
        while waiting or not rig.produced():
            rig.progress.look()
            started = len(rig.progress.started)
            on_progress(started)
            if rounds.due and not under_way:
                await rounds.end()
            while waiting and not rounds.due and (waiting[0].after <= started or rig.produced()):
                one = waiting.pop(0)
                task = striking.create_task(hit(rig, one, faults[one.fault]), name=f"{one}")
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(LOOK_S)


async def hit(rig: Rig, one: Strike, fault: Fault) -> None:
    rig.wrote("fault", fault=one.fault, place=one.place, size=round(one.size, 3))
    try:
        await fault(rig, one)
    except NobodyLeft:
        return
    rig.seen[one.fault] += 1
    rig.wrote("healed", fault=one.fault, place=one.place)


async def drain(rig: Rig) -> None:
    """Wait until all has ended and nothing is left to do, or until nothing happens any more."""
    before: tuple[object, ...] = ()
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < PATIENCE_S:
        left, over = await left_over(rig.client.store), await is_over(rig.client)
        if over and not left:
            return
        rig.progress.look()
        now = (sorted(left.items()), over, rig.progress.counts["called"])
        if now != before:
            before, quiet_since = now, time.monotonic()
        await asyncio.sleep(LOOK_S * 4)


def seen(rig: Rig, lines: Sequence[ledger.Line]) -> Counter[str]:
    """What the faults did: from the ledger, the proxies and the logs."""
    seen = Counter(rig.seen)
    calls = Counter((line["execution"], line["step"]) for line in lines if line["kind"] == "called")
    seen["executions"] = len({line["execution"] for line in lines if line["kind"] == "started"})
    seen["calls"] = sum(calls.values())
    seen["calls.again"] = seen["calls"] - len(calls)
    seen["tasks.most"] = max((line["tasks"] for line in lines if line["kind"] == "called"), default=0)
    for way in rig.ways.values():
        seen["replies.lost"] += way.lost
        seen["connections.broken"] += way.broken
    for event in CONSEQUENCES:
        seen[event] = rig.system.said(f'"{event}"')
    return seen
