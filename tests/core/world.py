"""A pure stand-in for worker and store: performs what a replay asks for, in any order, with crashes anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runner import App, Context, Workflow
from runner.codec import decode, encode, roundtrip
from runner.core.commands import Decision, Opened, Sleep, Step, WaitForEnd, WaitForSignal
from runner.core.replay import CANCEL_ID, Outcome, Replay
from runner.failures import Failure
from runner.isolation import Isolation
from runner.records import Entry, Notice
from runner.transactions import Outgoing

#: Picks one of several open commands: their order is the order in which they were asked.
Chooser = Callable[[list[Opened]], Opened]
STARTED = 1_700_000_000_000


def first(opened: list[Opened]) -> Opened:
    return opened[0]


@dataclass
class World:
    """One execution: its journal, its inbox of signals by name, and a count of every step body that ran."""

    workflow: Workflow[Any, Any]
    input: Any = None
    errors: dict[str, type[BaseException]] = field(default_factory=dict)
    signals: dict[str, list[Any]] = field(default_factory=dict)
    journal: list[Entry] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    asked: dict[int, list[str]] = field(default_factory=dict)  # by how much was recorded then
    ends: dict[str, Notice] = field(default_factory=dict)  # of executions that may be waited for
    sent: list[Outgoing] = field(default_factory=list)
    seed: str = "x#1"

    def replay(self) -> Replay:
        """A fresh replay that has been through the whole journal."""
        replay = Replay(seed=self.seed, started_at=STARTED, errors=self.errors)
        isolation = Isolation()
        ctx = Context(replay, self.workflow, execution_id="x", run=1, attempt=1)
        arguments = (decode(encode(self.input), self.workflow.input_type),) if self.workflow.takes_input else ()
        replay.replaying = bool(self.journal)
        replay.record(self.journal)
        replay.begin(self.workflow.start(ctx, *arguments))
        isolation.run(replay.run)
        replay.check_left_over()
        replay.replaying = False
        self.isolation = isolation
        self.settle(replay)
        return replay

    def settle(self, replay: Replay) -> None:
        """Record everything that only needs to be recorded, as a turn does."""
        while True:
            self.journal += [self.entry(patch, "patch", "ok", b"") for patch in replay.patches]
            replay.patches.clear()
            if not replay.undecided or replay.outcome is not None:
                return
            opened = replay.undecided.popleft()
            command = opened.command
            assert isinstance(command, Decision)
            if opened.id in replay.open:
                entry = self.entry(opened.id, command.kind, "ok", command.payload)
                self.journal.append(entry)
                self.sent += command.effects(opened.id, entry.at) if command.effects else ()
                replay.record([entry])
                self.isolation.run(replay.run)

    def run(self, choose: Chooser = first, crash: Callable[[], bool] = lambda: False, limit: int = 10_000) -> Outcome:
        """Go on to the end. Whenever ``crash`` says so, everything but the journal is forgotten."""
        replay = self.replay()
        for _ in range(limit):
            if replay.outcome is not None:
                self.isolation.run(replay.close)
                return replay.outcome
            opened = [one for one in replay.open.values() if self._possible(one)]
            assert opened, f"nothing can happen; open: {list(replay.open)}"
            self.asked[len(self.journal)] = sorted(replay.open)
            entry = self.perform(choose(opened))
            if crash():
                self.isolation.run(replay.close)
                replay = self.replay()
                continue
            self.journal.append(entry)
            if crash():
                self.isolation.run(replay.close)
                replay = self.replay()
                continue
            replay.record([entry])
            self.isolation.run(replay.run)
            self.settle(replay)
        raise AssertionError(f"not done after {limit} rounds")

    def _possible(self, opened: Opened) -> bool:
        command = opened.command
        match command:
            case WaitForSignal():
                return command.timeout_ms is not None or bool(self._unread(command.signal))
            case WaitForEnd():
                return command.timeout_ms is not None or command.execution_id in self.ends
            case _:
                return True

    def _unread(self, name: str) -> list[Any]:
        taken = sum(1 for entry in self.journal if entry.kind == "signal" and entry.consumes == hash(name) % 1000)
        return self.signals.get(name, [])[taken:]

    def perform(self, opened: Opened) -> Entry:
        """The entry that ends this command."""
        match opened.command:
            case Step() as step:
                return self._step(opened.id, step)
            case WaitForEnd(execution_id=id) if id in self.ends:
                return self.entry(opened.id, "ended", "ok", self.ends[id].pack())
            case WaitForEnd():
                return self.entry(opened.id, "ended", "timed_out", b"")
            case Decision():
                raise AssertionError(opened)  # settled before anything else
            case Sleep():
                return self.entry(opened.id, "sleep", "ok", b"")
            case WaitForSignal(signal=name):
                unread = self._unread(name)
                if unread:
                    return self.entry(opened.id, "signal", "ok", encode(unread[0]), consumes=hash(name) % 1000)
                return self.entry(opened.id, "signal", "timed_out", b"")

    def _step(self, id: str, step: Step) -> Entry:
        self.calls.append(id)
        try:
            payload, _ = roundtrip(step.fn(*step.args, **step.kwargs), step.returns, what=id)
        except Exception as error:
            failure = Failure.of(error, known=self.errors, step=id, attempts=1)
            return self.entry(id, step.kind, "failed", failure.pack())
        return self.entry(id, step.kind, "ok", payload)

    def entry(self, id: str, kind: str, outcome: str, payload: bytes, consumes: int = -1) -> Entry:
        number = len(self.journal) + 1
        return Entry(
            number=number,
            id=id,
            kind=kind,
            outcome=outcome,
            payload=payload,
            at=STARTED + number * 1000,
            consumes=consumes,
        )

    def cancel(self, reason: str = "stop") -> None:
        self.journal.append(self.entry(CANCEL_ID, "cancel", "ok", encode(reason)))


def workflow(fn: Callable[..., Any], **options: Any) -> Workflow[Any, Any]:
    """Register ``fn`` on an app of its own."""
    return App("test").workflow(**options)(fn)
