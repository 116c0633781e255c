"""The replay: drives a workflow's coroutines over its journal, and says what it asks for next.

Results enter in the order of their numbers and nothing else decides anything, so the same journal
always leads to the same place: the same commands open, the same ids, the same outcome. Branches of a
gather are coroutines in the same ready queue; nothing here recurses per step.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from runner.codec import decode
from runner.core.branches import Branch, Join, Resume, close_quietly
from runner.core.commands import Command, Gather, Leaf, Opened, Place, Sleep, Step, WaitForSignal
from runner.core.failing import step_error
from runner.core.places import awaiting, innermost, raising, show
from runner.errors import (
    Cancelled,
    DuplicateId,
    ForeignAwait,
    HistoryMismatch,
    PayloadError,
    ReservedId,
    TurnOver,
    UnawaitedCall,
)
from runner.failures import Failure, said
from runner.records import Entry
from runner.signals import TimedOut

RESERVED = ("__", "rollback:")
#: The journal entry of a cancel: the one that answers no command.
CANCEL_ID = "__cancel"
_CURE = (
    "workflow code awaits only its ctx: put the call into a step (`await ctx.step(id, fn, ...)`), "
    "wait with `ctx.sleep`, run branches with `ctx.gather`"
)
_NO_LOOP = ("no running event loop", "no current event loop")


@dataclass(frozen=True, slots=True)
class Returned:
    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """``entry`` is the id of the recorded failure that escaped, if it was one."""

    error: BaseException
    entry: str | None = None


Outcome = Returned | Raised


class Replay:
    """One turn's drive through a workflow.

    ``record`` gives it journal entries, ``run`` goes on until nothing more can be said without
    new ones; then ``outcome`` is set, or ``open`` holds the commands that are waiting, in the order in which
    they were asked.
    """

    def __init__(self, *, seed: str, started_at: int, errors: Mapping[str, type[BaseException]]) -> None:
        self.seed = seed
        self.open: dict[str, Opened] = {}
        self.outcome: Outcome | None = None
        self.cancelled = False
        self.closing = False
        self.replaying = False
        self.current: Branch | None = None  # the branch whose code is running right now
        self.unawaited: dict[int, tuple[str, Place]] = {}  # calls built so far and not awaited
        self.dropped: list[tuple[str, Place]] = []  # … and thrown away
        self._errors = errors
        self._started_at = started_at
        self._branches: dict[Branch, None] = {}
        self._ready: deque[tuple[Branch, Resume]] = deque()
        self._parked: dict[str, Branch] = {}  # by the id they wait for
        self._entries: dict[str, Entry] = {}  # recorded, not delivered yet
        self._deliverable: list[tuple[int, str]] = []  # a heap: recorded and asked for
        self._asked: dict[str, Place] = {}
        self._failures: dict[int, tuple[BaseException, str]] = {}  # delivered errors, by identity
        self._reason = ""  # of the cancel
        self._refusals = 0

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Start with the workflow's own coroutine."""
        self._spawn(Branch(coroutine, path="", now=self._started_at))

    def record(self, entries: Iterable[Entry]) -> None:
        """Hand over journal entries; they are delivered by number as their ids come up."""
        for entry in entries:
            self._entries[entry.id] = entry
            if entry.id in self.open or entry.id == CANCEL_ID:
                heapq.heappush(self._deliverable, (entry.number, entry.id))

    def run(self) -> Outcome | None:
        """Go on as far as the journal reaches."""
        self._drain()
        while self._deliverable and self.outcome is None:
            _, entry_id = heapq.heappop(self._deliverable)
            # Its branch may have been cancelled since: then nobody waits for it any more.
            if entry_id in self.open or entry_id == CANCEL_ID:
                self._deliver(self._entries.pop(entry_id))
                self._drain()
        if self.dropped and not isinstance(self.outcome, Raised):
            self.fail(self._unawaited(self.dropped[0]))
        return self.outcome

    def fail(self, error: Exception) -> None:
        """The workflow cannot go on, and no handler of its own is asked."""
        self.outcome = Raised(error)

    def close(self) -> None:
        """End the turn: nothing that the code does from here on counts."""
        self.closing = True
        for branch in reversed(list(self._branches)):
            close_quietly(branch)
        self._branches.clear()
        self.unawaited.clear()
        self.dropped.clear()

    def refuse(self) -> Generator[Any, Any, None]:
        """What a ``ctx`` call does when the turn is over.

        It raises; from the fourth time on it yields, which makes Python give up closing the coroutine: a
        loop that retries its wait on any error would otherwise spin for ever.
        """
        self._refusals += 1
        if self._refusals <= 3:
            raise TurnOver("the turn is over; this code is only being closed")
        yield None

    # -- driving ----------------------------------------------------------------------------------

    def _spawn(self, branch: Branch) -> None:
        self._branches[branch] = None
        self._ready.append((branch, lambda coroutine: coroutine.send(None)))

    def _drain(self) -> None:
        while self._ready and self.outcome is None:
            branch, resume = self._ready.popleft()
            self._resume(branch, resume)

    def _resume(self, branch: Branch, resume: Resume) -> None:
        self.current = branch
        try:
            command = resume(branch.coroutine)
        except StopIteration as stop:
            self._ended(branch, Returned(stop.value))
        except BaseException as error:  # noqa: BLE001 - Cancelled is one, and a branch may raise anything
            self._ended(branch, Raised(self._explained(error)))
        else:
            self._asked_for(branch, command)
        finally:
            self.current = None

    def _asked_for(self, branch: Branch, command: Command | object) -> None:
        match command:
            case Step() | Sleep() | WaitForSignal():
                self._park(branch, command)
            case Gather():
                self._fork(branch, command)
            case _:
                place = innermost(awaiting(branch.coroutine))
                self.fail(ForeignAwait(f"{show(place) if place else 'the workflow'} awaits {command!r}; {_CURE}"))

    def _park(self, branch: Branch, command: Leaf) -> None:
        entry_id = command.id or f"__{branch.path}{command.named}:{branch.count(command.named)}"
        if not self._fresh(entry_id, command):
            return
        branch.opened = self.open[entry_id] = Opened(entry_id, command)
        self._parked[entry_id] = branch
        if branch.doomed:
            self._interrupt(branch)
        elif entry_id in self._entries:
            heapq.heappush(self._deliverable, (self._entries[entry_id].number, entry_id))

    def _fresh(self, entry_id: str, command: Leaf) -> bool:
        if command.id is not None and command.id.startswith(RESERVED):
            prefixes = " and ".join(repr(prefix) for prefix in RESERVED)
            self.fail(ReservedId(f"id {command.id!r} at {show(command.where)}: {prefixes} are Runner's own prefixes"))
        elif entry_id in self._asked:
            places = f"{show(self._asked[entry_id])} and {show(command.where)}"
            self.fail(DuplicateId(f"id {entry_id!r} is used twice, at {places}: give each call an id of its own"))
        else:
            self._asked[entry_id] = command.where
            return True
        return False

    def _fork(self, branch: Branch, gather: Gather) -> None:
        path = f"{branch.path}g{branch.count('gather')}."
        join = Join(branch, gather.return_exceptions, [], [None] * len(gather.branches), len(gather.branches))
        branch.waiting = join
        for index, coroutine in enumerate(gather.branches):
            child = Branch(coroutine, f"{path}{index}/", branch.now, join, index)
            child.cancelled = child.doomed = branch.doomed
            join.children.append(child)
            self._spawn(child)
        if join.children:
            branch.doomed = False
        elif branch.doomed:
            branch.waiting = None
            self._interrupt(branch)
        else:
            self._joined(join)

    # -- endings ----------------------------------------------------------------------------------

    def _ended(self, branch: Branch, outcome: Outcome) -> None:
        branch.done = True
        self._branches.pop(branch, None)
        if branch.join is None:
            self._finish(outcome)
            return
        join = branch.join
        join.pending -= 1
        match outcome:
            case Returned(value):
                join.results[branch.index] = value
            case Raised(error) if join.return_exceptions and isinstance(error, Exception):
                join.results[branch.index] = error
            case Raised(error) if join.failure is None:
                join.failure = error
                for sibling in join.children:
                    self._cancel(sibling)
            case Raised():
                pass  # the gather fails already: with the failure that came first
        if not join.pending:
            self._joined(join)

    def _joined(self, join: Join) -> None:
        parent = join.parent
        parent.waiting = None
        parent.now = max([parent.now, *(child.now for child in join.children)])
        if join.failure is None:
            self._ready.append((parent, partial(_send, value=tuple(join.results))))
        else:
            self._ready.append((parent, partial(_throw, error=join.failure)))

    def _finish(self, outcome: Outcome) -> None:
        if isinstance(outcome, Raised):
            self.outcome = Raised(outcome.error, self._escaped(outcome.error))
        elif self.unawaited:
            self.fail(self._unawaited(next(iter(self.unawaited.values()))))
        else:
            self.outcome = outcome

    def _unawaited(self, call: tuple[str, Place]) -> UnawaitedCall:
        return UnawaitedCall(f"{call[0]} at {show(call[1])} was built and never awaited: put `await` before it")

    def _explained(self, error: BaseException) -> BaseException:
        """An error that only says that no event loop is running means a foreign call: say that instead."""
        if not (isinstance(error, RuntimeError) and any(text in said(error) for text in _NO_LOOP)):
            return error
        place = innermost(raising(error.__traceback__))
        foreign = ForeignAwait(f"{show(place) if place else 'the workflow'} uses asyncio in workflow code; {_CURE}")
        foreign.__cause__ = error
        return foreign

    def _escaped(self, error: BaseException | None) -> str | None:
        """The recorded failure behind an error: itself, or what it was raised from."""
        seen: set[int] = set()
        while error is not None and id(error) not in seen:  # `raise e from e` makes a ring
            if id(error) in self._failures:
                return self._failures[id(error)][1]
            seen.add(id(error))
            cause = error.__cause__
            error = cause if cause is not None or error.__suppress_context__ else error.__context__
        return None

    # -- delivering -------------------------------------------------------------------------------

    def _deliver(self, entry: Entry) -> None:
        if entry.id == CANCEL_ID:
            self._cancel_all(entry)
            return
        opened = self.open.pop(entry.id)
        branch = self._parked.pop(entry.id)
        branch.opened = None
        branch.now = max(branch.now, entry.at)
        try:
            self._ready.append((branch, self._answer(opened.command, entry)))
        except PayloadError as error:
            self.fail(HistoryMismatch(f"the recorded result of {entry.id!r} is not what the code expects: {error}"))
        except HistoryMismatch as error:
            self.fail(error)

    def _answer(self, command: Leaf, entry: Entry) -> Resume:
        if command.kind != entry.kind:
            raise HistoryMismatch(
                f"{entry.id!r} is recorded as {entry.kind}, the code at {show(command.where)} asks for {command.kind}"
            )
        match command:
            case Step() if entry.outcome != "ok":
                error = step_error(entry.outcome, Failure.unpack(entry.payload), self._errors)
                self._failures[id(error)] = (error, entry.id)
                return partial(_throw, error=error)
            case Step():
                return partial(_send, value=decode(entry.payload, command.returns, what=f"result of step {entry.id!r}"))
            case WaitForSignal() if entry.outcome == "timed_out":
                return partial(_send, value=TimedOut())
            case WaitForSignal():
                return _signalled(command, entry)
            case Sleep():
                return partial(_send, value=None)

    # -- cancelling -------------------------------------------------------------------------------

    def _cancel_all(self, entry: Entry) -> None:
        self.cancelled = True
        self._reason = str(decode(entry.payload, what="cancel reason") or "")
        for branch in list(self._branches):
            branch.now = max(branch.now, entry.at)
            if branch.join is None:
                self._cancel(branch)

    def _cancel(self, branch: Branch) -> None:
        """Throw Cancelled into a branch once: where it is parked, in its own branches, or at its next await."""
        if branch.done or branch.cancelled:
            return
        branch.cancelled = True
        if branch.opened is not None:
            self._interrupt(branch)
        elif branch.waiting is not None:
            for child in branch.waiting.children:
                self._cancel(child)
        else:
            branch.doomed = True

    def _interrupt(self, branch: Branch) -> None:
        if branch.opened is not None:
            del self.open[branch.opened.id], self._parked[branch.opened.id]
            branch.opened = None
        branch.doomed = False
        self._ready.append((branch, partial(_throw, error=Cancelled(self._reason))))


def _send(coroutine: Coroutine[Any, Any, Any], *, value: Any) -> Any:
    return coroutine.send(value)


def _throw(coroutine: Coroutine[Any, Any, Any], *, error: BaseException) -> Any:
    return coroutine.throw(error)


def _signalled(command: WaitForSignal, entry: Entry) -> Resume:
    """A payload that does not fit the workflow's type is the workflow's to handle: it came from outside."""
    try:
        value = decode(entry.payload, command.payload_type, what=f"signal {command.signal!r}")
    except PayloadError as error:
        return partial(_throw, error=error)
    return partial(_send, value=value)
