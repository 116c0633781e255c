"""The journal as one turn sees it: what is recorded, what waits, what came in, and what is not written yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from runner.core.commands import Decision, Opened, Sleep, Step, WaitForEnd, WaitForSignal
from runner.core.decide import Event, events
from runner.core.limits import MAX_BYTES, MAX_ENTRIES
from runner.core.places import show
from runner.records import (
    Entry,
    History,
    InboxItem,
    Try,
    Wait,
)
from runner.step import Pulse, StepState
from runner.transactions import Committed, Follow, Open, Outgoing

#: So many times that a run may record that is being cancelled or undone: each of its steps has a compensation, and more.
WAY_OUT = 3


class TurnJournal:
    """Numbers entries under the lease and keeps account of what the store does not know yet."""

    def __init__(self, history: History) -> None:
        self.entries = history.entries
        self.unwritten: list[Entry] = []
        self.written_now: list[Entry] = []  # by this turn, those unwritten among them
        self.names = {wait.id: wait.name for wait in history.waits}  # what waits wait for, by id: for the audit trail
        self.outgoing: list[Outgoing] = []  # with the next commit
        self.children: list[tuple[str, str]] = []  # … which starts them
        self.rolled_back = any(entry.kind == "rollback" for entry in history.entries)
        self.unread = _unread(history)  # by index, in order of arrival
        self.seen = len(history.inbox)
        self.deadlines: dict[str, int | None] = {}  # of the waits, other than steps, that the store knows
        self.steps: dict[str, Wait] = {}  # what is known of steps without a result, by step id …
        self._new_steps: dict[str, Open] = {}  # … and what the store has not heard of that
        self._since: dict[str, int] = {}  # when those were opened
        execution = history.execution
        self._me = (execution.id, execution.run, f"{self.reopenings}.{execution.attempt}")
        # A child's notice that came while we were over was not kept: who is opened again asks again.
        self._asks_again = history.execution.openings > 0
        self._number = max((entry.number for entry in history.entries), default=0)
        self._bytes = sum(len(entry.payload) for entry in history.entries)
        # What the code must ask for under these ids.
        self._stored = {wait.id: wait.kind for wait in history.waits}
        # … unless an operator gave a step another result since, with which it may go another way.
        since = self.reopened_at or 0
        self._of_before = {wait.id for wait in history.waits if wait.opened_at <= since}
        for wait in history.waits:
            if wait.kind == "step":
                self.steps[wait.id] = wait
            else:
                self.deadlines[wait.id] = wait.deadline
                self._since[wait.id] = wait.opened_at

    def append(
        self,
        id: str,
        kind: str,
        outcome: str,
        payload: bytes,
        *,
        at: int,
        attempts: int = 1,
        consumes: int = -1,
        started_at: int = 0,
        tries: bytes = b"",
    ) -> Entry:
        """The next entry; not written yet."""
        self._number += 1
        self._bytes += len(payload)
        entry = Entry(
            number=self._number,
            id=id,
            kind=kind,
            outcome=outcome,
            payload=payload,
            at=at,
            attempts=attempts,
            consumes=consumes,
            started_at=started_at,
            tries=tries,
        )
        self.unwritten.append(entry)
        self.written_now.append(entry)
        self.deadlines.pop(id, None)
        self.steps.pop(id, None)
        self._new_steps.pop(id, None)
        if (item := self.unread.pop(consumes, None)) is not None:
            self.names[id] = item.name
        return entry

    def decide(self, opened: Opened, command: Decision, *, at: int) -> Entry:
        """The entry of something that only needs to be recorded; its effects go with the same commit."""
        self.rolled_back = self.rolled_back or command.kind == "rollback"
        entry = self.append(opened.id, command.kind, "ok", command.payload, at=at)
        if command.effects is not None:
            self.outgoing += command.effects(opened.id, at)
        self.children += command.children
        return entry

    @property
    def heard(self) -> int:
        """The inbox length up to a cancel that has been seen, and has not entered the workflow."""
        return min((item.index for item in self.unread.values() if item.kind == "cancel"), default=self.seen)

    @property
    def reopened_at(self) -> int | None:
        """When an operator last had the execution tried again, or go on with another result of a step."""
        return max((one.at for one in self._reopened()), default=None)

    @property
    def reopenings(self) -> int:
        """How often that was in this run: what is asked for since is not what was asked for before."""
        return len(self._reopened())

    def _reopened(self) -> list[Entry]:
        return [one for one in self.entries if one.kind == "attempt" and one.outcome == "reopened"]

    @property
    def fullness(self) -> float:
        """How much of what a run may record has been recorded: above 1 it is too much."""
        return max(self._number / MAX_ENTRIES, self._bytes / MAX_BYTES)

    def state(self, id: str) -> StepState:
        """What is known of a step that has no result yet."""
        return StepState.unpack(self.steps[id].details) if id in self.steps else StepState()

    def retry(self, id: str, failed: Try, *, began: int, after_ms: int) -> None:
        """A step is to be tried again; when exactly the store says, with the commit that carries this."""
        state = replace(self.state(id), first_at=began).failed(failed)
        self._know(id, state, attempts=failed.attempt, error=failed.error, after_ms=after_ms)

    def beat(self, id: str, pulse: Pulse, *, began: int) -> None:
        """A running step has said how far it is."""
        state = self.state(id)
        done, total = pulse.progress or (state.done, state.total)
        beat = state.beat if pulse.beat is None else pulse.beat
        known = replace(state, first_at=state.first_at or began, beat=beat, done=done, total=total)
        self._know(id, known, attempts=self.attempts(id), error="", after_ms=None)

    def _know(self, id: str, state: StepState, *, attempts: int, error: str, after_ms: int | None) -> None:
        details = state.pack()
        self.steps[id] = Wait(
            id=id, kind="step", name=error, opened_at=0, deadline=None, attempts=attempts, details=details
        )
        self._new_steps[id] = Open(
            id=id, kind="step", name=error, after_ms=after_ms, attempts=attempts, replace=True, details=details
        )

    def attempts(self, id: str) -> int:
        """How many attempts of this step have failed so far."""
        return self.steps[id].attempts if id in self.steps else 0

    def come_about(self, opened: Iterable[Opened], now: int) -> list[Event]:
        """What has come about by ``now``, in its order."""
        return events(opened, self.deadlines, self.unread.values(), now, self._since, anew=self._asks_again)

    def new_waits(self, opened: Iterable[Opened]) -> list[Open]:
        """The waits that the store has not heard of."""
        return [*(_open(one) for one in self._unheard(opened)), *self._new_steps.values()]

    def follows(self, opened: Iterable[Opened]) -> list[Outgoing]:
        """What has other executions tell us of their end: it leaves with the commit that opens the wait."""
        return [
            _follow(one, one.command, *self._me)
            for one in self._unheard(opened)
            if isinstance(one.command, WaitForEnd) and (one.command.child is None or self._asks_again)
        ]

    def _unheard(self, opened: Iterable[Opened]) -> list[Opened]:
        return [
            one
            for one in opened
            if isinstance(one.command, Sleep | WaitForSignal | WaitForEnd) and one.id not in self.deadlines
        ]

    def may_start(self, id: str, now: int) -> bool:
        """False while the step's retry is not due, or not written."""
        if id in self._new_steps:
            return False
        known = self.steps.get(id)
        return known is None or known.deadline is None or known.deadline <= now

    def retries_within(self, ms: int, now: int) -> bool:
        """True when a step is to be tried again so soon that the turn had better stay."""
        return any(wait.deadline is not None and wait.deadline - now <= ms for wait in self.steps.values()) or any(
            new.after_ms is not None and new.after_ms <= ms for new in self._new_steps.values()
        )

    def contradicted(self, opened: Mapping[str, Opened], asked_for: Callable[[str], bool]) -> str | None:
        """A stored wait that the code asks for as something else, or not at all, in words."""
        for id, kind in self._stored.items():
            if id not in opened:
                if asked_for(id) or id in self._of_before:
                    continue
                return f"{id!r} waits as a {kind}, the code does not ask for it"
            command = opened[id].command
            asked = "step" if isinstance(command, Step) else command.kind
            if asked != kind:
                return f"{id!r} waits as a {kind}, the code at {show(command.where)} asks for a {asked}"
        return None

    def stale_waits(self, opened: Iterable[str]) -> list[str]:
        """Waits in the store that nothing in the code waits for any more."""
        alive = set(opened)
        return [id for id in (*self.deadlines, *self.steps) if id not in alive]

    def written(self, committed: Committed, closed: Iterable[str]) -> None:
        """The store has taken everything that was unwritten, and said what is new."""
        for told in (self.unwritten, self.outgoing, self.children):
            told.clear()
        self._new_steps.clear()
        for id in closed:
            self.deadlines.pop(id, None)
            self.steps.pop(id, None)
        for id, deadline in committed.deadlines.items():
            if id in self.steps:
                self.steps[id] = replace(self.steps[id], deadline=deadline)
            else:
                self.deadlines[id] = deadline
                self._since.setdefault(id, committed.now)
        self.unread |= {item.index: item for item in committed.news}
        self.seen += len(committed.news)

    def next_deadline(self, retries: Iterable[str]) -> int | None:
        """The earliest moment at which a wait or one of the ``retries`` is over."""
        known = [*self.deadlines.values(), *(self.steps[id].deadline for id in retries)]
        return min((moment for moment in known if moment is not None), default=None)


def _unread(history: History) -> dict[int, InboxItem]:
    consumed = {entry.consumes for entry in history.entries}
    return {item.index: item for item in history.inbox if item.index not in consumed}


def _open(opened: Opened) -> Open:
    match opened.command:
        case Sleep(after_ms=after_ms, until_ms=until_ms):
            return Open(id=opened.id, kind="sleep", after_ms=after_ms, until_ms=until_ms)
        case WaitForSignal(signal=name, timeout_ms=timeout_ms):
            return Open(id=opened.id, kind="signal", name=name, after_ms=timeout_ms)
        case WaitForEnd(execution_id=execution_id, timeout_ms=timeout_ms):
            return Open(id=opened.id, kind="ended", name=execution_id, after_ms=timeout_ms)
        case _:
            raise AssertionError(opened)  # only waits are opened


def _follow(opened: Opened, command: WaitForEnd, me: str, run: int, attempt: str) -> Outgoing:
    """Each wait has an answer of its own, also where a former attempt waited in the same place."""
    target, request = command.execution_id, f"follow:{me}:{run}:{attempt}:{opened.id}"
    follow = Follow(target=target, waiter=me, run=run, workflow=command.workflow, request=request)
    return Outgoing(target=target, request=request, kind="follow", payload=follow.pack())
