"""Whether something will move an execution on, and whether the indexes say of it what its record says. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from runner.core.facts import Facts, ScheduleFacts, Stray, Unreadable, shown
from runner.records import Status

#: A ready entry is never pushed further into the future than this, in ms: the clock has gone back.
READY_WITHIN_MS = 600_000
#: Of a record that nobody can read.
UNREADABLE = "record_unreadable"
#: Findings of these codes mean that an execution stands still, and nobody would notice.
STANDING_STILL = frozenset(
    {"unwakeable", "owner_without_lease", "lease_far_away", "timer_late", "ready_far_away", "queue_unlisted", "unheard"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something is not as it must be. ``subject``: an execution's id, a schedule's or a key; ``text`` says what is wrong.

    ``repairable``: by a check that is asked to; ``cure`` says what to do where not. ``repaired``: it has been.
    """

    code: str
    subject: str
    text: str
    repairable: bool = True
    cure: str = ""
    repaired: bool = False


def check(facts: Facts, longest_lease_ms: int) -> Iterator[Finding]:
    """What is wrong with one execution, as far as its own partition knows."""
    yield from _indexes(facts)
    yield from _lengths(facts)
    if facts.status.terminal:
        yield from _ended(facts)
        return
    if facts.expires_at is not None:
        yield _finding(facts, "expires_alive", "it has not ended, and would be purged")
    if facts.owned:
        yield from _owned(facts, longest_lease_ms)
    else:
        yield from _free(facts)


def check_schedule(facts: ScheduleFacts) -> Iterator[Finding]:
    """A stirred schedule is looked at earlier than it says, never later."""
    if facts.due_at is not None and (facts.index_at is None or facts.index_at > facts.due_at):
        text = "no scheduler will look at it" if facts.index_at is None else "a scheduler will look at it too late"
        yield Finding(code="schedule_not_due", subject=facts.id, text=f"schedule {facts.id!r}: {text}")


def check_stray(stray: Stray) -> Finding:
    place = shown(stray.place)
    match stray.kind:
        case "data":
            text = f"{place}: data of an execution that is not there"
        case "entry":
            text = f"{place} has {shown(stray.id)!r}, of which there is no record that says so"
        case "fading":
            text = f"{place} will be gone when its time to live is over"
        case _:
            text = f"{place} is no key of this version of Runner: whoever wrote it may need it"
    foreign = stray.kind == "foreign"
    cure = "find out who wrote it; delete it if nobody needs it" if foreign else ""
    subject = shown(stray.id) or place
    return Finding(code=f"stray_{stray.kind}", subject=subject, text=text, repairable=not foreign, cure=cure)


def check_unreadable(found: Unreadable) -> Finding:
    """A record, or an index or another key that everybody in its partition needs."""
    if found.id:
        return Finding(
            code=UNREADABLE,
            subject=shown(found.id),
            text=f"execution {shown(found.id)!r}: its record ({shown(found.place)}) cannot be read: {shown(found.why)}",
            repairable=False,
            cure="use the version of Runner that wrote it, or put right what was changed by hand, or delete that; "
            "then `runner fsck --repair`",
        )
    return Finding(
        code="index_unreadable",
        subject=shown(found.place),
        text=f"{shown(found.place)} cannot be read: {shown(found.why)}",
        repairable=False,
        cure="rename it or delete it; `runner fsck --repair` then fills an index anew from the records",
    )


def check_parcel(kind: str, target: str, place: str) -> Finding:
    """What nobody can carry."""
    return Finding(
        code="parcel_unreadable",
        subject=target,
        text=f"outbox of partition {place}: {kind!r} for {target!r} cannot be read",
        repairable=False,
        cure="run a scheduler of the version that wrote it; delete it if none did",
    )


def _finding(facts: Facts, code: str, text: str) -> Finding:
    return Finding(code=code, subject=facts.id, text=f"execution {facts.id!r} ({facts.status}): {text}")


def _indexes(facts: Facts) -> Iterator[Finding]:
    for place in facts.missing:
        yield _finding(facts, "index_missing", f"it is not in {place}")
    for place in facts.surplus:
        yield _finding(facts, "index_surplus", f"it is in {place}")
    for place in facts.fading:
        yield _finding(facts, "fading", f"{place} will be gone when its time to live is over")


def _lengths(facts: Facts) -> Iterator[Finding]:
    """What a record says of its journal and its inbox. Nobody but a backup has what was taken from them."""
    missing = facts.entries - facts.recorded
    if missing > 0:
        text = (
            f"{missing} of the {facts.entries} entries of its journal are gone: what they recorded would be done again"
        )
        yield _damage(facts, "journal_incomplete", text)
    lost = (facts.arrived or 0) - facts.inbox
    if lost > 0:
        text = f"{lost} of the {facts.arrived} items of its inbox are gone: signals, ends, or its cancel"
        yield _damage(facts, "inbox_incomplete", text)


def _damage(facts: Facts, code: str, text: str) -> Finding:
    cure = "take them from a backup"
    if not facts.status.terminal:
        end = shlex.join(("runner", "executions", "force-fail", facts.id, "--reason", "REASON"))
        cure += f", or end it before it goes on: `{end}`"
    return replace(_finding(facts, code, text), repairable=False, cure=cure)


def _ended(facts: Facts) -> Iterator[Finding]:
    if facts.owned or facts.lease_until is not None:
        yield _finding(facts, "ended_owned", "it has ended, and still has an owner")
    if facts.ready_at is not None or facts.timer_at is not None:
        yield _finding(facts, "ended_ready", "it has ended, and is still ready or on a timer")
    if facts.waits:
        yield _finding(facts, "ended_waiting", "it has ended, and still waits")
    if facts.expires_at is None:
        yield _finding(facts, "never_purged", "it has ended, and would be kept for ever")


def _owned(facts: Facts, longest_lease_ms: int) -> Iterator[Finding]:
    if facts.lease_until is None:
        yield _finding(facts, "owner_without_lease", "it has an owner whose lease nobody watches")
    elif facts.lease_until > facts.now + 2 * longest_lease_ms:
        yield _finding(
            facts, "lease_far_away", f"its lease lasts for {facts.lease_until - facts.now} ms: the clock went back"
        )
    if facts.ready_at is not None or facts.timer_at is not None:
        yield _finding(facts, "owned_ready", "it has an owner, and is ready or on a timer as well")


def _free(facts: Facts) -> Iterator[Finding]:
    if facts.lease_until is not None:
        yield _finding(facts, "lease_without_owner", "it has a lease and no owner")
    if facts.ready_at is not None and not facts.listed:
        yield _finding(facts, "queue_unlisted", "it is ready in a queue that nobody looks through")
    if facts.ready_at is not None and facts.ready_at > facts.now + READY_WITHIN_MS:
        yield _finding(facts, "ready_far_away", "nobody will look whether its hint was lost: the clock went back")
    earliest = facts.earliest
    if earliest is not None and (facts.timer_at is None or facts.timer_at > earliest):
        yield _finding(facts, "timer_late", "it has a deadline, and no timer that comes in time")
    if not is_wakeable(facts):
        yield _finding(facts, "unwakeable", "nothing would ever wake it")


def is_wakeable(facts: Facts) -> bool:
    """Nobody owns it: is there a hint, a time, or somebody outside who moves it on? A deadline alone only ends it."""
    if facts.ready_at is not None:
        return True
    match facts.status:
        case Status.PENDING:
            return not facts.claimed and _begins(facts)
        case Status.RETRYING:
            return facts.timer_at is not None
        case Status.SLEEPING | Status.CANCELLING:
            timed = facts.timer_at is not None or facts.earliest is not None
            return not facts.news and (timed or any(wait.kind in ("signal", "ended") for wait in facts.waits))
        case _:
            return False


def _begins(facts: Facts) -> bool:
    """A start that is put off has its timer at its time, which lies before its deadline."""
    if facts.timer_at is None or facts.deadline is None:
        return facts.timer_at is not None
    return facts.timer_at <= facts.deadline - (facts.timeout_ms or 0)
