"""The tree of branches as it grows and ends: forks, joins and cancels, in one ready queue.

Who is resumed when is decided by nothing but the order in which things were asked and recorded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from runner.core.branches import Branch, Heard, Join, Raised, Returned
from runner.core.commands import Compensation, Decision, Fork, Leaf, Part
from runner.core.undo import Scope
from runner.errors import Cancelled


class Tree:
    """``unpark`` is told of every branch that is taken off the command it waits for."""

    def __init__(self, unpark: Callable[[Branch], None]) -> None:
        self.ready: deque[tuple[Branch, Heard]] = deque()
        self.reason = ""  # of the cancel
        self._branches: dict[Branch, None] = {}
        self._unpark = unpark

    def __len__(self) -> int:
        return len(self._branches)

    def __iter__(self) -> Iterator[Branch]:
        """The living branches, the youngest first."""
        return reversed(list(self._branches))

    def clear(self) -> None:
        self._branches.clear()
        self.ready.clear()

    def plant(self, coroutine: Coroutine[Any, Any, Any], path: str, now: int, scope: Scope) -> None:
        """Begin with the root."""
        self._spawn(Branch(coroutine, path, now, scope))

    def fork(self, branch: Branch, fork: Fork, path: str) -> None:
        parts = deque(enumerate(fork.parts))
        branch.waiting = join = Join(branch, fork, path, parts, [None] * len(parts), len(parts), now=branch.now)
        if not parts and branch.doomed:
            branch.waiting = None
            self.interrupt(branch)
            return
        doomed, branch.doomed = branch.doomed, False
        self._start_parts(join, doomed=doomed)

    def ended(self, branch: Branch, outcome: Heard) -> bool:
        """A branch is over; True when it was the root."""
        branch.done = True
        self._branches.pop(branch, None)
        join = branch.join
        if join is None:
            return True
        decided = join.decided
        join.heard(branch, outcome)
        if join.decided and not decided:
            self._end_others(join)
        self._start_parts(join)
        return False

    def cancel(self, at: int, reason: str) -> None:
        """Throw Cancelled, once, into every open await."""
        self.reason = reason
        for branch in list(self._branches):
            branch.now = max(branch.now, at)
            if branch.join is None:
                self._cancel(branch)

    def interrupt(self, branch: Branch) -> None:
        if branch.opened is not None:
            self._unpark(branch)
        branch.doomed = False
        self.ready.append((branch, Raised(Cancelled(self.reason))))

    # -- inside -----------------------------------------------------------------------------------

    def _spawn(self, branch: Branch) -> None:
        self._branches[branch] = None
        self.ready.append((branch, Returned(None)))

    def _start_parts(self, join: Join, *, doomed: bool = False) -> None:
        limit = join.fork.limit or len(join.fork.parts)
        while join.waiting and len(join.running) < limit:
            self._start_part(join, *join.waiting.popleft(), doomed)
        if doomed:
            join.start_no_more()
        if not join.pending:
            self._joined(join)

    def _start_part(self, join: Join, index: int, part: Part, doomed: bool) -> None:
        parent, fork = join.parent, join.fork
        path = f"{join.path}{part.name}/" if fork.id is None else f"{join.path}[{part.name}]/"
        branch = Branch(
            part.begin(),
            path,
            max(parent.now, join.now) if fork.limit else parent.now,
            parent.scope,
            prefix=path if fork.scoped else parent.prefix,
            join=join,
            index=index,
            cancelled=doomed,
            doomed=doomed,
        )
        join.running.append(branch)
        self._spawn(branch)

    def _end_others(self, join: Join) -> None:
        join.start_no_more()
        for sibling in list(join.running):
            self._cancel(sibling)

    def _joined(self, join: Join) -> None:
        parent = join.parent
        parent.waiting = None
        parent.now = max(parent.now, join.now)
        if join.failure is not None:
            self.ready.append((parent, Raised(join.failure)))
        else:
            value = join.won if join.fork.first else tuple(join.results)
            self.ready.append((parent, Returned(value)))

    def _cancel(self, branch: Branch) -> None:
        """Throw Cancelled into a branch once: where it is parked, in its own branches, or at its next await."""
        reached = [branch]
        while reached:  # no recursion: branches may be nested a thousand deep
            one = reached.pop()
            if one.done or one.cancelled:
                continue
            one.cancelled = True
            if one.opened is not None and not shielded(one.opened.command):
                self.interrupt(one)
            elif one.waiting is not None:
                one.waiting.start_no_more()
                reached += reversed(one.waiting.running)
            else:
                one.doomed = True


def shielded(command: Leaf) -> bool:
    """True for what no cancel interrupts: undoing goes on to its end, and then the cancel comes."""
    return isinstance(command, Compensation) or (isinstance(command, Decision) and command.kind == "rollback")
