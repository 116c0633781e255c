"""The store as a dict: the same semantics, said as plainly as possible, to compare the real ones with.

Time is cut down to what can be told without a clock: a moment has passed (PAST), lies far ahead
(AHEAD), or there is none. Answers are plain tuples and dicts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runner.errors import StoreConflict
from runner.records import Entry
from runner.store import MAX_CRASHES
from runner.transactions import (
    Commit,
    Complete,
    Deliver,
    Fail,
    RetryAttempt,
    Start,
    Suspend,
)

PAST, AHEAD = "past", "ahead"
#: What passing over makes of the n-th time in a row, in ms.
DELAYS = (1_000, 2_000, 4_000, 8_000, 16_000, 30_000)
Moment = str | None
TERMINAL = {"completed", "failed", "cancelled"}


def earlier(*moments: Moment) -> Moment:
    return PAST if PAST in moments else AHEAD if AHEAD in moments else None


def moment(after_ms: int | None) -> Moment:
    return None if after_ms is None else PAST if after_ms <= 0 else AHEAD


@dataclass
class Model:
    executions: dict[str, Kept] = field(default_factory=dict)
    outbox: list[str] = field(default_factory=list)  # request ids

    # -- arrivals ---------------------------------------------------------------------------------

    def start(self, asked: Start) -> Any:
        kept = self.executions.get(asked.id)
        if kept is None:
            kept = self.executions[asked.id] = Kept(asked)
            if asked.delay_ms:
                kept.timer = AHEAD
            else:
                kept.make_ready()
        waiting = kept.status == "pending" and not kept.claimed and kept.ready
        return kept.asked.request == asked.request, kept.asked.digest, kept.wake() if waiting else None

    def deliver(self, asked: Deliver) -> Any:
        kept = self.executions.get(asked.id)
        if kept is None:
            return "unknown", None
        if asked.request in kept.requests:
            woke = kept.requests[asked.request]
            return "delivered", kept.wake() if woke == kept.seq and kept.ready else None
        if kept.status in TERMINAL:
            return "terminal", None
        if asked.kind == "cancel" and kept.cancel is not None:
            return "delivered", None
        kept.requests[asked.request] = 0
        kept.inbox.append((asked.kind, asked.name, asked.payload))
        if asked.kind == "cancel":
            kept.cancel, kept.reason = len(kept.inbox) - 1, asked.name
            if not kept.claimed:
                kept.end("cancelled")
                return "delivered", None
            kept.status = "cancelling"
        if kept.nonce or kept.ready or kept.status in ("pending", "retrying"):
            return "delivered", None
        kept.make_ready()
        kept.requests[asked.request] = kept.seq
        return "delivered", kept.wake()

    # -- turns ------------------------------------------------------------------------------------

    def claim(self, id: str, nonce: str, worker: str, lease: Moment) -> Any:
        kept = self.executions.get(id)
        if kept is None:
            return "unknown"
        if kept.status in TERMINAL:
            return "terminal"
        if kept.nonce:
            if kept.nonce != nonce:
                return "owned"
            kept.lease = lease
            return self.read(id)
        if kept.deadline == PAST:
            kept.time_out()
            return "terminal"
        if not kept.ready or nonce == kept.last_nonce:
            return "idle"
        kept.ready, kept.timer, kept.passed, kept.claimed = False, None, "", True
        kept.nonce, kept.worker, kept.lease = nonce, worker, lease
        if kept.status != "cancelling":
            kept.status = "running"
        return self.read(id)

    def commit(self, asked: Commit) -> Any:
        kept = self.executions.get(asked.id)
        if kept is None:
            return None
        if kept.remembers(asked):
            if kept.nonce == asked.nonce:
                kept.lease = moment(asked.lease_ms)
            return *kept.memory[2], kept.inbox[asked.seen :]
        if kept.nonce != asked.nonce or kept.has_later(asked):
            return None
        deadlines = kept.write(asked)
        self.outbox += [one.request for one in asked.outgoing]
        if isinstance(asked.end, Fail | RetryAttempt) and not kept.refuses(asked):
            kept.error = asked.end.error
        released = asked.end is not None and not kept.refuses(asked)
        if released:
            kept.take(asked)
        kept.memory = (asked.nonce, asked.count, (released, kept.status, deadlines))
        return released, kept.status, deadlines, kept.inbox[asked.seen :]

    def renew(self, id: str, nonce: str, lease: Moment) -> Any:
        kept = self.executions.get(id)
        if kept is None:
            return False, 0
        if kept.nonce == nonce:
            kept.lease = lease
        return kept.nonce == nonce, len(kept.inbox)

    def release(self, id: str, nonce: str) -> Any:
        kept = self.executions.get(id)
        if kept is None or kept.nonce != nonce:
            return None
        kept.hand_over()
        return kept.wake()

    def pass_over(self, id: str, reason: str) -> int | None:
        """The delay it makes, when no other ready execution hides it."""
        kept = self.executions.get(id)
        if kept is None or not kept.ready:
            return None
        kept.passed, kept.passes = reason, kept.passes + 1
        return DELAYS[min(kept.passes, len(DELAYS)) - 1] if self.only_ready(id) else None

    def only_ready(self, id: str) -> bool:
        return [one.asked.id for one in self.executions.values() if one.ready] == [id]

    def rush(self) -> Any:
        return sorted(kept.wake() for kept in self.executions.values() if kept.ready and kept.passed)

    # -- time -------------------------------------------------------------------------------------

    def due(self) -> Any:
        woken = []
        for kept in self.executions.values():
            if kept.timer == PAST:
                if kept.deadline == PAST:
                    kept.time_out()
                else:
                    kept.make_ready()
                    woken.append(kept.wake())
        return sorted(woken)

    def reap(self, alive: list[str]) -> Any:
        woken = []
        for kept in self.executions.values():
            if kept.lease == PAST:
                crash = kept.worker not in alive
                kept.crashes += crash
                if crash and kept.crashes >= MAX_CRASHES:
                    kept.end("failed", "poisoned")
                else:
                    kept.hand_over()
                    woken.append(kept.wake())
        return sorted(woken)

    def purge(self) -> int:
        gone = [id for id, kept in self.executions.items() if kept.expiry == PAST]
        for id in gone:
            del self.executions[id]
        return len(gone)

    # -- reading ----------------------------------------------------------------------------------

    def read(self, id: str) -> Any:
        kept = self.executions.get(id)
        return None if kept is None else kept.seen()

    def indexes(self) -> dict[str, Moment]:
        """What each time index says about its earliest entry, and the outbox about its own."""
        kept = self.executions.values()
        return {
            "timers": earlier(*[one.timer for one in kept]),
            "leases": earlier(*[one.lease for one in kept]),
            "ready": AHEAD if any(one.ready for one in kept) else None,
            "expiry": earlier(*[one.expiry for one in kept]),
            "outbox": PAST if self.outbox else None,
        }


@dataclass
class Kept:
    """What is kept of one execution."""

    asked: Start
    status: str = "pending"
    attempt: int = 1
    crashes: int = 0
    seq: int = 0
    claimed: bool = False
    ready: bool = False
    timer: Moment = None
    lease: Moment = None
    expiry: Moment = None
    nonce: str = ""
    last_nonce: str = ""
    worker: str = ""
    memory: tuple[str, int, tuple[Any, ...]] = ("", 0, ())  # of the last commit: nonce, count, answer
    result: bytes | None = None
    error: bytes | None = None
    cause: str = ""
    reason: str = ""
    passed: str = ""
    passes: int = 0  # since the last entry or end
    cancel: int | None = None
    journal: dict[str, Entry] = field(default_factory=dict)
    waits: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    inbox: list[tuple[str, str, bytes]] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)  # with the wake each caused

    @property
    def deadline(self) -> Moment:
        if self.asked.timeout_ms is None:
            return None
        return moment(self.asked.timeout_ms + self.asked.delay_ms)

    def wake(self) -> tuple[Any, ...]:
        return self.asked.id, self.asked.queue, self.asked.workflow, self.asked.version, self.seq

    def make_ready(self) -> None:
        self.ready, self.seq, self.timer = True, self.seq + 1, self.deadline

    def give_back(self) -> None:
        if self.nonce:
            self.last_nonce = self.nonce
        self.nonce, self.worker, self.lease = "", "", None

    def hand_over(self) -> None:
        """Owned no more, and ready for the next."""
        self.give_back()
        if self.status != "cancelling":
            self.status = "pending"
        self.make_ready()

    def remembers(self, asked: Commit) -> bool:
        """The same commit was taken before; it is answered while its lease lives, or when it gave that back."""
        same = self.memory[:2] == (asked.nonce, asked.count)
        return same and (self.memory[2][0] or self.nonce == asked.nonce)

    def has_later(self, asked: Commit) -> bool:
        return self.memory[0] == asked.nonce and self.memory[1] >= asked.count

    def write(self, asked: Commit) -> dict[str, Moment]:
        """Entries and waits; the deadlines of those that were to be opened."""
        journal = dict(self.journal)
        for entry in asked.entries:
            if journal.setdefault(entry.id, entry) != entry:
                raise StoreConflict
        self.journal = journal
        if asked.entries:
            self.crashes = self.passes = 0
        for entry in asked.entries:
            self.waits.pop(entry.id, None)
        for one in asked.opens:
            if one.id not in self.waits or one.replace:
                self.waits[one.id] = (one.kind, one.name, moment(one.after_ms), one.attempts)
        deadlines = {one.id: self.waits[one.id][2] for one in asked.opens}
        for id in asked.closes:
            self.waits.pop(id, None)
        self.lease = moment(asked.lease_ms)
        return deadlines

    def refuses(self, asked: Commit) -> bool:
        """True when the turn must go on, whatever it wanted."""
        if self.deadline == PAST:
            return False
        match asked.end:
            case Suspend():
                return len(self.inbox) > asked.seen or PAST in [wait[2] for wait in self.waits.values()]
            case RetryAttempt():
                return self.cancel is not None and self.cancel >= asked.seen
            case _:
                return False

    def take(self, asked: Commit) -> None:
        """What an end makes of it that is not refused."""
        seen_cancel = self.cancel is not None and self.cancel < asked.seen
        match asked.end:
            case _ if self.deadline == PAST:
                self.time_out()
            case Suspend():
                self.give_back()
                self.passes = 0
                self.status = "sleeping" if self.cancel is None else "cancelling"
                self.timer = earlier(self.deadline, *[wait[2] for wait in self.waits.values()])
            case Complete(result=result) if not seen_cancel:
                self.result, self.error = result, None
                self.end("completed")
            case Fail() if self.cancel is None:
                self.end("failed")
            case RetryAttempt(after_ms=after_ms, drop=drop) if self.cancel is None:
                self.give_back()
                self.status, self.attempt, self.passes = "retrying", self.attempt + 1, 0
                self.timer, self.waits = earlier(moment(after_ms), self.deadline), {}
                self.journal = {id: entry for id, entry in self.journal.items() if id not in drop}
            case _:
                self.end("cancelled")

    def time_out(self) -> None:
        if self.status == "cancelling":
            self.end("cancelled")
        else:
            self.end("failed", "timed_out")

    def end(self, status: str, cause: str = "") -> None:
        self.give_back()
        self.status, self.cause = status, cause
        self.ready, self.timer, self.passed, self.waits = False, None, "", {}
        self.expiry = moment(self.asked.retention_ms)

    def seen(self) -> dict[str, Any]:
        """All that a reader is shown, times cut down."""
        return {
            "status": self.status,
            "attempt": self.attempt,
            "crashes": self.crashes,
            "seq": self.seq,
            "worker": self.worker,
            "input": self.asked.input,
            "result": self.result,
            "error": self.error,
            "cause": self.cause,
            "reason": self.reason,
            "passed": self.passed,
            "started": self.claimed,
            "ended": self.status in TERMINAL,
            "lease": self.lease,
            "deadline": self.deadline,
            "entries": sorted(self.journal.values(), key=lambda entry: entry.number),
            "waits": dict(self.waits),
            "inbox": list(self.inbox),
        }
