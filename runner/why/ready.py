"""It is ready, and no worker has it: why none takes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from runner.load import turns_per_minute
from runner.records import WorkerInfo
from runner.store import GRACE_MS
from runner.why.around import broker
from runner.why.codes import ReasonCode
from runner.why.facts import Facts
from runner.why.reason import Reason, command

_MINUTE_MS = 60_000

#: What workers say when they pass an execution over, by the code it means.
_SAID = (
    (re.compile(r"no workflow .* here$", re.DOTALL), ReasonCode.PASSED_OVER),
    (re.compile(r"does not replay its history: "), ReasonCode.HISTORY_MISMATCH),
    (re.compile(r"^a payload of execution .* cannot be opened here: ", re.DOTALL), ReasonCode.PAYLOAD_UNREADABLE),
    (re.compile(r"^it lost \d+ workers in a row"), ReasonCode.SUSPECT),
    (re.compile(r"^(a turn broke on worker|the store refused a commit) ?"), ReasonCode.TURN_BROKEN),
)


def ready(facts: Facts) -> Iterator[Reason]:
    """What keeps workers from it; where nothing does, that it is on its way."""
    reasons = [*_nobody(facts), *broker(facts), *_passed(facts)]
    if not reasons:
        reasons = [*_crowded(facts), *_backlog(facts)] or [*_lost(facts)]
    yield from reasons or (_on_its_way(facts),)


def _on_its_way(facts: Facts) -> Reason:
    return Reason(
        code=ReasonCode.READY,
        text="it is ready for a worker, and its hint is on its way to one",
        since=facts.standing.since,
        until=facts.standing.offered_at,
    )


# -- who could take it ----------------------------------------------------------------------------------


def _nobody(facts: Facts) -> Iterator[Reason]:
    if not facts.knows("workers"):
        return
    execution, live = facts.execution, facts.live
    listening = [one for one in live if execution.queue in one.queues]
    if not live:
        yield _no_worker(facts)
    elif not listening:
        yield _no_worker_for_queue(facts, live)
    elif not _able(facts):
        yield _stranger(facts, listening)


def _able(facts: Facts) -> list[WorkerInfo]:
    """Live workers that listen to its queue and know its workflow in its version."""
    execution = facts.execution
    return [
        one
        for one in facts.live
        if execution.queue in one.queues
        and any((name, version) == (execution.workflow, execution.version) for name, version, _ in one.workflows)
    ]


def _no_worker(facts: Facts) -> Reason:
    last = max(facts.fleet.workers, key=lambda one: one.seen_at, default=None)
    heard = "" if last is None else f"; the last that was heard of is {last.id!r}"
    return Reason(
        code=ReasonCode.NO_WORKER,
        text=f"no worker is alive{heard}",
        since=None if last is None else last.seen_at,
        cure=command("worker", "--queues", facts.execution.queue),
        data={"queue": facts.execution.queue},
    )


def _no_worker_for_queue(facts: Facts, live: Sequence[WorkerInfo]) -> Reason:
    served = sorted({queue for one in live for queue in one.queues})
    return Reason(
        code=ReasonCode.NO_WORKER_FOR_QUEUE,
        text=f"no live worker listens to its queue {facts.execution.queue!r}; they listen to {_list(served)}",
        since=facts.standing.since,
        cure=command("worker", "--queues", facts.execution.queue),
        data={"queue": facts.execution.queue, "served": served},
    )


def _stranger(facts: Facts, listening: Sequence[WorkerInfo]) -> Reason:
    execution = facts.execution
    versions: dict[int, list[str]] = {}
    for one in listening:
        for name, version, _ in one.workflows:
            if name == execution.workflow:
                versions.setdefault(version, []).append(one.id)
    none = f"none of the {len(listening)} live worker(s) of queue {execution.queue!r} knows"
    if not versions:
        code, text = ReasonCode.UNKNOWN_WORKFLOW, f"{none} workflow {execution.workflow!r}"
    else:
        code = ReasonCode.UNKNOWN_VERSION
        known = ", ".join(f"{version} ({', '.join(sorted(who))})" for version, who in sorted(versions.items()))
        text = f"{none} version {execution.version} of workflow {execution.workflow!r}; known: {known}"
    return Reason(
        code=code,
        text=text,
        until=facts.standing.offered_at,
        cure="deploy workers whose code has it",
        data={
            "workflow": execution.workflow,
            "version": execution.version,
            "versions": {str(version): sorted(who) for version, who in versions.items()},
        },
    )


# -- who did not want it --------------------------------------------------------------------------------

_CURES = {
    ReasonCode.HISTORY_MISMATCH: "deploy code that replays it (ctx.patched), or the build that recorded it",
    ReasonCode.PAYLOAD_UNREADABLE: "give the workers the key or the code that wrote it",
    ReasonCode.TURN_BROKEN: "look into the worker's log",
}


def _passed(facts: Facts) -> Iterator[Reason]:
    said = facts.execution.passed
    if said:
        code = next((code for words, code in _SAID if words.search(said)), ReasonCode.PASSED_OVER)
        yield Reason(
            code=code,
            text=f"a worker passed it over: {said}",
            until=facts.standing.offered_at,
            cure=_CURES.get(code, ""),
            data={"said": said},
        )


# -- who is before it -----------------------------------------------------------------------------------


def _crowded(facts: Facts) -> Iterator[Reason]:
    able = _able(facts)
    slots = sum(one.slots for one in able)
    if able and all(one.load.busy >= one.slots for one in able):
        yield Reason(
            code=ReasonCode.SLOTS_TAKEN,
            text=f"all {slots} slots of the {len(able)} worker(s) that could take it are taken",
            since=facts.standing.since,
            cure=command("worker", "--queues", facts.execution.queue),
            data={"slots": slots, "workers": [one.id for one in able]},
        )


def _backlog(facts: Facts) -> Iterator[Reason]:
    standing, queue = facts.standing, facts.execution.queue
    if not standing.ahead or standing.since is None:
        return
    rate = sum(turns_per_minute(one.load, queue) for one in facts.live)
    eta = facts.now + round(standing.ahead / rate * _MINUTE_MS) if rate else None
    pace = f"; about {rate:.0f} a minute are worked off" if rate else ""
    yield Reason(
        code=ReasonCode.BACKLOG,
        text=f"{standing.ahead} of the {standing.waiting} that wait in queue {queue!r} are before it{pace}",
        since=standing.since,
        until=eta,
        cure=command("worker", "--queues", queue),
        data={
            "queue": queue,
            "ahead": standing.ahead,
            "waiting": standing.waiting,
            "oldest": standing.oldest,
            "per_minute": round(rate, 1),
        },
    )


def _lost(facts: Facts) -> Iterator[Reason]:
    since = facts.standing.since
    if facts.asked and not facts.depth and since is not None and since + GRACE_MS <= facts.now:
        found = "is not there" if facts.depth is None else "is empty"
        yield Reason(
            code=ReasonCode.HINT_LOST,
            text=f"it is ready, and its queue at the broker {found}: its hint was lost, a scheduler sends it again",
            since=since,
            until=facts.standing.offered_at,
            data={"depth": facts.depth},
        )


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
