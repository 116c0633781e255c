"""What the model keeps of one execution, and what happens to it there.

Time is cut down to what can be told without a clock: a moment has passed (PAST), lies far ahead
(AHEAD), or there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from runner.errors import StoreConflict
from runner.records import Entry, Notice
from runner.transactions import (
    Action,
    Commit,
    Complete,
    ContinueAsNew,
    Fail,
    FailCompensation,
    Operate,
    RetryAttempt,
    Start,
    Suspend,
)

PAST, AHEAD = "past", "ahead"
Moment = str | None
TERMINAL = {"completed", "failed", "compensation_failed", "cancelled"}


def earlier(*moments: Moment) -> Moment:
    return PAST if PAST in moments else AHEAD if AHEAD in moments else None


def moment(after_ms: int | None) -> Moment:
    return None if after_ms is None else PAST if after_ms <= 0 else AHEAD


@dataclass
class Kept:
    """One execution."""

    asked: Start
    status: str = "pending"
    run: int = 1
    attempt: int = 1
    crashes: int = 0
    seq: int = 0
    input: bytes = b""
    claimed: bool = False
    ready: bool = False
    timer: Moment = None
    lease: Moment = None
    expiry: Moment = None
    deadline: Moment = None
    nonce: str = ""
    last_nonce: str = ""
    broken: tuple[str, bool] = ("", False)  # of the last turn that broke: its nonce, and whether it was one too many
    worker: str = ""
    memory: tuple[str, int, tuple[Any, ...]] = ("", 0, ())  # of the last commit: nonce, count, answer
    result: bytes | None = None
    error: bytes | None = None
    cause: str = ""
    reason: str = ""
    passed: str = ""
    passes: int = 0  # since the last entry or end
    cancel: int | None = None  # where it lies, if it is still there
    outstanding: int = 0
    rollback: bool = False
    escaped: tuple[str, ...] = ()
    openings: int = 0
    stuck: bool = False
    journal: dict[str, Entry] = field(default_factory=dict)
    waits: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    inbox: list[tuple[str, str, bytes]] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)  # with the wake each caused
    children: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # policy, run, phase: odd when it has ended
    followers: set[tuple[str, int]] = field(default_factory=set)
    attributes: dict[str, str] = field(default_factory=dict)
    trail: list[Any] = field(default_factory=list)

    @classmethod
    def begun(cls, asked: Start) -> Kept:
        deadline = None if asked.timeout_ms is None else moment(asked.timeout_ms + asked.delay_ms)
        kept = cls(asked, input=asked.input, deadline=deadline, attributes=dict(asked.attributes))
        kept.journal = {one.id: one for one in asked.entries}
        if asked.parent:
            kept.followers.add((asked.parent, asked.parent_run))
        if asked.delay_ms:
            kept.timer = AHEAD
        else:
            kept.make_ready()
        return kept

    @property
    def over(self) -> bool:
        return self.status in TERMINAL

    @property
    def cancelled(self) -> bool:
        return self.cancel is not None or self.status == "cancelling"

    def wake(self) -> tuple[Any, ...]:
        return self.asked.id, self.asked.queue, self.asked.workflow, self.asked.version, self.seq

    def notice(self) -> Notice:
        return Notice(
            execution_id=self.asked.id,
            status=self.status,
            workflow=self.asked.workflow,
            attempt=self.attempt,
            key=self.asked.key,
            cause=self.cause,
            reason=self.reason,
            result=self.result,
            error=self.error,
        )

    # -- being ready, being owned ---------------------------------------------------------------

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

    def receive(self, kind: str, name: str, payload: bytes) -> None:
        self.inbox.append((kind, name, payload))
        if kind == "cancel":
            self.cancel, self.reason = len(self.inbox) - 1, name
            if not self.claimed:
                return self.end("cancelled")
            self.status = "cancelling"
        if not (self.nonce or self.ready or self.status in ("pending", "retrying")):
            self.make_ready()
        return None

    # -- commits ----------------------------------------------------------------------------------

    def remembers(self, asked: Commit) -> bool:
        """The same commit was taken before; it is answered while its lease lives, or when it gave that back."""
        same = self.memory[:2] == (asked.nonce, asked.count)
        return same and (self.memory[2][0] or self.nonce == asked.nonce)

    def has_later(self, asked: Commit) -> bool:
        return self.memory[0] == asked.nonce and self.memory[1] >= asked.count

    def write(self, asked: Commit) -> dict[str, Moment]:
        """All but the end; the deadlines of the waits that were to be opened."""
        journal = dict(self.journal)
        for entry in asked.entries:
            if journal.setdefault(entry.id, entry) != entry:
                raise StoreConflict
        self.journal = journal
        if asked.entries:
            self.crashes = self.passes = 0
        for child, policy in asked.children:
            self.children[child] = (policy, self.run, self.children.get(child, ("", 0, 0))[2])
        self.attributes |= dict(asked.attributes)
        self.outstanding = asked.outstanding
        self.lease = moment(asked.lease_ms)
        return self.open_and_close(asked)

    def open_and_close(self, asked: Commit) -> dict[str, Moment]:
        for entry in asked.entries:
            self.waits.pop(entry.id, None)
        for one in asked.opens:
            if one.id not in self.waits or one.replace:
                self.waits[one.id] = (one.kind, one.name, moment(one.after_ms), one.attempts, one.details)
        deadlines: dict[str, Moment] = {one.id: self.waits[one.id][2] for one in asked.opens}
        for id in asked.closes:
            self.waits.pop(id, None)
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
        if isinstance(asked.end, Fail | FailCompensation | RetryAttempt):
            self.error = asked.end.error
        if isinstance(asked.end, Fail):
            self.escaped = asked.end.escaped
        if isinstance(asked.end, FailCompensation):
            self.end("compensation_failed")
        elif self.deadline == PAST:
            self.time_out()
        elif isinstance(asked.end, ContinueAsNew):
            self.continue_as_new(asked.end, asked.seen)
        elif isinstance(asked.end, Suspend):
            self.suspend()
        elif self.status == "cancelling" and not (isinstance(asked.end, Complete) and self.unaware(asked)):
            self.end("cancelled")
        else:
            self.leave(asked)

    def unaware(self, asked: Commit) -> bool:
        """The turn has not seen the cancel."""
        return self.cancel is not None and self.cancel >= asked.seen

    def suspend(self) -> None:
        self.give_back()
        self.passes = 0
        self.status = "cancelling" if self.status == "cancelling" else "sleeping"
        self.timer = earlier(self.deadline, *[wait[2] for wait in self.waits.values()])

    def leave(self, asked: Commit) -> None:
        """An end as it was asked for: nothing else has come in between."""
        match asked.end:
            case Complete(result=result):
                self.result, self.error = result, None
                self.end("completed")
            case Fail():
                self.end("failed")
            case RetryAttempt(after_ms=after_ms, drop=drop):
                self.give_back()
                self.status, self.attempt, self.passes = "retrying", self.attempt + 1, 0
                self.timer, self.waits = earlier(moment(after_ms), self.deadline), {}
                self.journal = {id: entry for id, entry in self.journal.items() if id not in drop}
            case _:
                self.end("cancelled")

    def continue_as_new(self, end: ContinueAsNew, seen: int) -> None:
        kept = [
            place
            for place, (kind, _, _) in enumerate(self.inbox)
            if kind != "ended" and (place >= seen or place in end.keep)
        ]
        self.cancel = kept.index(self.cancel) if self.cancel in kept else None
        self.inbox = [self.inbox[place] for place in kept]
        self.run, self.attempt, self.passes, self.outstanding, self.input = self.run + 1, 1, 0, 0, end.input
        self.journal, self.waits = {}, {}
        self.children = {id: link for id, link in self.children.items() if not link[2] % 2}
        self.hand_over()

    def mark_ended(self, child: str, openings: int) -> None:
        if child in self.children:
            policy, run, phase = self.children[child]
            self.children[child] = (policy, run, max(phase, 2 * openings + 1))
            if run < self.run and phase <= 2 * openings + 1:
                del self.children[child]

    def mark_reopened(self, child: str, openings: int, run: int, policy: str) -> None:
        if policy and run < self.run:
            self.children.setdefault(child, (policy, run, 0))
        if child in self.children:
            policy, run, phase = self.children[child]
            self.children[child] = (policy, run, max(phase, 2 * openings))

    def cancels(self, child: str) -> bool:
        """Its end is to be this child's end."""
        policy, _, phase = self.children.get(child, ("", 0, 0))
        return policy == "cancel" and phase % 2 == 0

    # -- ends ---------------------------------------------------------------------------------------

    def time_out(self) -> None:
        cancelling = self.status == "cancelling"
        self.end("cancelled" if cancelling else "failed", "" if cancelling else "timed_out")
        self.stuck = self.outstanding > 0

    def end(self, status: str, cause: str = "") -> None:
        self.give_back()
        self.status, self.cause = status, cause
        self.ready, self.timer, self.passed, self.passes, self.waits = False, None, "", 0, {}
        self.expiry = moment(self.asked.retention_ms)
        self.stuck = status == "compensation_failed" or (status == "failed" and self.outstanding > 0)

    # -- operators ------------------------------------------------------------------------------------

    def allows(self, action: Action) -> bool:
        match action:
            case Action.RETRY:
                return self.status == "failed"
            case Action.ROLLBACK:
                return self.over and self.status != "completed" and self.outstanding > 0
            case Action.RECORD:
                return not self.over or self.status == "failed"
            case Action.FORK:
                return True
            case _:
                return not self.over

    def suffer(self, asked: Operate) -> None:
        """What an operator does to it."""
        match asked.action:
            case Action.RETRY | Action.ROLLBACK:
                self.reopen(rollback=asked.action is Action.ROLLBACK, drop=asked.drop)
            case Action.RECORD:
                assert asked.entry is not None
                gone = set(asked.drop) - {asked.entry.id}
                self.journal = {id: entry for id, entry in self.journal.items() if id not in gone}
                self.record(asked.entry)
            case Action.HURRY:
                hit = [id for id in asked.hurry if id in self.waits]
                for id in hit:
                    kind, name, _, *more = self.waits[id]
                    self.waits[id] = (kind, name, PAST, *more)
                if hit or self.status == "retrying":
                    self.rouse()
            case Action.FORCE_FAIL:
                self.error = asked.error
                self.end("failed", "forced")

    def reopen(self, *, rollback: bool, drop: tuple[str, ...]) -> None:
        self.status, self.cause, self.error, self.escaped = "pending", "", None, ()
        self.attempt, self.crashes, self.openings, self.rollback = 1, 0, self.openings + 1, rollback
        self.expiry, self.stuck = None, False
        self.deadline = None if rollback else moment(self.asked.timeout_ms)
        self.journal = {id: entry for id, entry in self.journal.items() if id not in drop}
        self.make_ready()

    def record(self, entry: Entry) -> None:
        known = self.journal.get(entry.id)
        number = known.number if known else max([one.number for one in self.journal.values()], default=0) + 1
        self.journal[entry.id] = replace(entry, number=number)
        self.waits.pop(entry.id, None)
        if self.over:
            self.escaped = tuple(id for id in self.escaped if id != entry.id)
        else:
            self.rouse()

    def rouse(self) -> None:
        """Ready, whoever owns it."""
        if self.nonce:
            self.hand_over()
        elif not self.ready:
            self.make_ready()

    # -- reading ------------------------------------------------------------------------------------

    def seen(self) -> dict[str, Any]:
        """All that a reader is shown, times cut down."""
        return {
            "status": self.status,
            "run": self.run,
            "attempt": self.attempt,
            "crashes": self.crashes,
            "seq": self.seq,
            "worker": self.worker,
            "input": self.input,
            "result": self.result,
            "error": self.error,
            "cause": self.cause,
            "reason": self.reason,
            "passed": self.passed,
            "started": self.claimed,
            "ended": self.over,
            "lease": self.lease,
            "deadline": self.deadline,
            "parent": (self.asked.parent, self.asked.parent_run),
            "attributes": dict(self.attributes),
            "outstanding": self.outstanding,
            "rollback": self.rollback,
            "escaped": self.escaped,
            "openings": self.openings,
            "entries": sorted(self.journal.values(), key=lambda entry: (entry.number, entry.id)),
            "waits": dict(self.waits),
            "inbox": list(self.inbox),
        }
