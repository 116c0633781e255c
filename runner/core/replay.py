"""The replay: drives a workflow's coroutines over its journal, and says what it asks for next.

Results enter in the order of their numbers and nothing else decides anything, so the same journal
always leads to the same place: the same commands open, the same ids, the same outcome. Branches of a
fork are coroutines in the same ready queue; nothing here recurses per step.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.codec import decode
from runner.core.answers import answer
from runner.core.branches import Branch, Heard, Raised, Returned, close_quietly
from runner.core.commands import (
    Command,
    Compensation,
    Continue,
    Decision,
    Fork,
    Leaf,
    Opened,
    Place,
    Sleep,
    Step,
    WaitForEnd,
    WaitForSignal,
)
from runner.core.divergence import UNASKED, UNDOING, left_over
from runner.core.names import Names
from runner.core.places import awaiting, innermost, raising, show
from runner.core.tree import Tree, shielded
from runner.core.undo import Scope, Undo, Undos
from runner.errors import DeterminismError, ForeignAwait, HistoryMismatch, TurnOver, UnawaitedCall, UsageError
from runner.failures import said, sound
from runner.records import Entry

#: The journal entry of a cancel: the one that answers no command.
CANCEL_ID = "__cancel"
_CURE = (
    "workflow code awaits only its ctx: put the call into a step (`await ctx.step(id, fn, ...)`), "
    "wait with `ctx.sleep`, run branches with `ctx.gather`"
)
_NO_LOOP = ("no running event loop", "no current event loop")


@dataclass(frozen=True, slots=True)
class Continued:
    """The run is over; the next one begins with ``input``."""

    input: bytes


@dataclass(frozen=True, slots=True)
class RollbackFailed:
    """A compensation failed for good: no code of the user's is asked what to do then."""

    error: BaseException
    step: str


Outcome = Returned | Raised | Continued | RollbackFailed
#: A call by its name, and where it was made.
Built = tuple[str, Place]


class Replay:
    """One turn's drive through a workflow.

    ``record`` gives it journal entries, ``run`` goes on until nothing more can be said without
    new ones; then ``outcome`` is set, or ``open`` holds the commands that are waiting, in the order in which
    they were asked. Those of them in ``undecided`` only need to be recorded.
    """

    def __init__(self, *, seed: str, started_at: int, errors: Mapping[str, type[BaseException]]) -> None:
        self.seed = seed
        self.open: dict[str, Opened] = {}
        self.undecided: deque[Opened] = deque()
        self.outcome: Outcome | None = None
        self.cancelled = False
        self.closing = False
        self.replaying = False
        self.current: Branch | None = None  # the branch whose code is running right now
        self.unawaited: dict[int, Built] = {}  # calls built so far and not awaited
        self.dropped: list[Built] = []  # … and thrown away
        self.patches: list[str] = []  # passed for the first time, and not recorded yet
        self.attributes: dict[str, str] = {}  # set, and not stored yet
        self.undos = Undos()
        self.root = Scope()
        self._errors = errors
        self._started_at = started_at
        self._tree = Tree(self._unpark)
        self._names = Names()
        self._parked: dict[str, Branch] = {}  # by the id they wait for
        self._entries: dict[str, Entry] = {}  # recorded, not delivered yet
        self._deliverable: list[tuple[int, str]] = []  # a heap: recorded and asked for
        self._failures: dict[int, tuple[BaseException, tuple[str, ...]]] = {}  # delivered errors, by identity
        self._patched: dict[str, bool] = {}
        self._refusals = 0

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Start with the workflow's own coroutine."""
        self._tree.plant(coroutine, "", self._started_at, self.root)

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

    def recorded(self, id: str) -> bool:
        """True when the journal holds an entry under this id, which has not come up yet."""
        return id in self._entries

    def patched(self, id: str) -> bool:
        """False for an execution that had been past this point before the patch was in the code; the same for ever."""
        entry_id = f"__patch:{id}"
        if entry_id not in self._patched:
            recorded = self._entries.pop(entry_id, None) is not None
            self._patched[entry_id] = recorded or not self.replaying
            if not recorded and not self.replaying:
                self.patches.append(entry_id)
        return self._patched[entry_id]

    def check_left_over(self, *, undoing: bool = False) -> None:
        """After the whole journal was run: what the code never asked for means that it is not the code that recorded it."""
        never = [entry for entry in self._entries.values() if entry.id not in self._names]
        difference = left_over(
            never, self.open, ended=self.outcome is not None, unasked=UNDOING if undoing else UNASKED
        )
        if difference is not None and not self.diverged:
            self.outcome = None
            self.fail(HistoryMismatch(difference))

    def asked(self, id: str) -> bool:
        return id in self._names

    @property
    def diverged(self) -> bool:
        """True when the history is not one of this code."""
        return isinstance(self.outcome, Raised) and isinstance(self.outcome.error, HistoryMismatch)

    def fail(self, error: Exception) -> None:
        """The workflow cannot go on, and no handler of its own is asked."""
        if not isinstance(self.outcome, Raised):
            self.outcome = Raised(error)

    def close(self) -> None:
        """End the turn: nothing that the code does from here on counts."""
        self.closing = True
        for branch in self._tree:
            close_quietly(branch)
        self._tree.clear()
        self.unawaited.clear()
        self.dropped.clear()

    def leave_for(self, undoing: Coroutine[Any, Any, Any]) -> None:
        """Let the code stand where it is, for good, and run ``undoing`` instead."""
        self.close()
        self.closing, self.outcome = False, None
        for waiting in (self.open, self._parked, self._deliverable, self.undecided, self._names, self.undos):
            waiting.clear()
        self._tree.plant(undoing, "undo/", self._started_at, self.root)

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

    def _drain(self) -> None:
        ready = self._tree.ready
        while ready and self.outcome is None:
            self._resume(*ready.popleft())

    def _resume(self, branch: Branch, heard: Heard) -> None:
        self.current = branch
        try:
            if isinstance(heard, Returned):
                command = branch.coroutine.send(heard.value)
            else:
                command = branch.coroutine.throw(heard.error)
        except StopIteration as stop:
            self._ended(branch, Returned(stop.value))
        except BaseException as error:  # noqa: BLE001 - Cancelled is one, and a branch may raise anything
            self._ended(branch, Raised(self._explained(sound(error))))
        else:
            self._asked_for(branch, command)
        finally:
            self.current = None

    def _asked_for(self, branch: Branch, command: Command | object) -> None:
        if self.outcome is not None:
            return  # a branch that failed the workflow is still running to its next await
        try:
            match command:
                case Step() | Sleep() | WaitForSignal() | WaitForEnd() | Decision():
                    self._park(branch, command)
                case Fork():
                    self._tree.fork(branch, command, self._names.of_fork(branch, command))
                case Continue():
                    self._continue(command)
                case _:
                    place = innermost(awaiting(branch.coroutine))
                    self.fail(ForeignAwait(f"{show(place) if place else 'the workflow'} awaits {command!r}; {_CURE}"))
        except DeterminismError as error:
            self.fail(error)

    def _park(self, branch: Branch, command: Leaf) -> None:
        entry_id = self._names.of(branch, command)
        branch.opened = self.open[entry_id] = opened = Opened(entry_id, command)
        self._parked[entry_id] = branch
        if branch.doomed and not shielded(command):
            self._tree.interrupt(branch)
        elif entry_id in self._entries:
            heapq.heappush(self._deliverable, (self._entries[entry_id].number, entry_id))
        elif isinstance(command, Decision):
            self.undecided.append(opened)

    def _unpark(self, branch: Branch) -> None:
        if branch.opened is not None:
            del self.open[branch.opened.id], self._parked[branch.opened.id]
            branch.opened = None

    # -- endings ----------------------------------------------------------------------------------

    def _ended(self, branch: Branch, outcome: Heard) -> None:
        if self._tree.ended(branch, outcome) and self.outcome is None:
            self._finish(outcome)

    def _finish(self, outcome: Heard) -> None:
        if isinstance(outcome, Raised):
            self.outcome = Raised(outcome.error, self._escaped(outcome.error))
        else:
            self.outcome = outcome
            self._check_awaited()

    def _continue(self, command: Continue) -> None:
        if len(self._tree) > 1:
            where = show(command.where)
            self.fail(UsageError(f"ctx.continue_as_new at {where}: leave the gather, map or race first"))
            return
        self.outcome = Continued(command.input)
        self._check_awaited()

    def _check_awaited(self) -> None:
        for call in self.unawaited.values():
            self.fail(self._unawaited(call))
            return

    def _unawaited(self, call: Built) -> UnawaitedCall:
        name, where = call
        return UnawaitedCall(f"{name} at {show(where)} was built and never awaited: put `await` before it")

    def _explained(self, error: BaseException) -> BaseException:
        """An error that only says that no event loop is running means a foreign call: say that instead."""
        if not (isinstance(error, RuntimeError) and any(text in said(error) for text in _NO_LOOP)):
            return error
        place = innermost(raising(error.__traceback__))
        foreign = ForeignAwait(f"{show(place) if place else 'the workflow'} uses asyncio in workflow code; {_CURE}")
        foreign.__cause__ = error
        return foreign

    def _escaped(self, error: BaseException | None) -> tuple[str, ...]:
        """The recorded failure behind an error: itself, or what it was raised from."""
        seen: set[int] = set()
        while error is not None and id(error) not in seen:  # `raise e from e` makes a ring
            if id(error) in self._failures:
                return self._failures[id(error)][1]
            seen.add(id(error))
            cause = error.__cause__
            error = cause if cause is not None or error.__suppress_context__ else error.__context__
        return ()

    # -- delivering -------------------------------------------------------------------------------

    def _deliver(self, entry: Entry) -> None:
        if entry.id == CANCEL_ID:
            self.cancelled = True
            self._tree.cancel(entry.at, str(decode(entry.payload, what="cancel reason") or ""))
            return
        opened, branch = self.open.pop(entry.id), self._parked.pop(entry.id)
        branch.opened = None
        branch.now = max(branch.now, entry.at)
        try:
            heard = answer(opened, entry, self._errors, self._failed)
        except HistoryMismatch as error:
            self.fail(error)
            return
        if isinstance(opened.command, Step):
            self._note_undo(branch, opened, opened.command, heard)
        self._tree.ready.append((branch, heard))

    def _failed(self, error: BaseException, entries: tuple[str, ...]) -> None:
        self._failures[id(error)] = (error, entries)

    def _note_undo(self, branch: Branch, opened: Opened, command: Step, heard: Heard) -> None:
        """Keep account of what can be undone, and what has been."""
        match heard:
            case Returned() if isinstance(command, Compensation):
                self.undos.done(command.undoes)
            case Raised(error) if isinstance(command, Compensation):
                self.outcome = RollbackFailed(error, command.undoes)
            case Returned(value) if command.compensate is not None:
                self.undos.register(Undo(step=opened.id, fn=command.compensate, value=value, scope=branch.scope))
            case _:
                pass
