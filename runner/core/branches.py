"""The tree of coroutines that one workflow is: the root, and a branch for each part of a fork."""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from runner.core.commands import Fork, Opened, Part
from runner.core.undo import Scope


class Returned(Struct, frozen=True):
    value: Any


class Raised(Struct, frozen=True):
    """``entries`` are the ids of the recorded failure that escaped, if it was one, and of what it came from."""

    error: BaseException
    entries: tuple[str, ...] = ()


#: What a branch is resumed with, and how one ends.
Heard = Returned | Raised


class Won(Struct, frozen=True):
    """What a race gives: who ended first, and how."""

    name: str
    outcome: Heard


@dataclass(slots=True, eq=False)
class Branch:
    """One coroutine, its place in the tree, and all that must be the same on every replay."""

    coroutine: Coroutine[Any, Any, Any]
    path: str
    now: int
    scope: Scope  # where its steps' compensations belong
    prefix: str = ""  # of explicit ids
    join: Join | None = None
    index: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    opened: Opened | None = None  # the command it is parked on
    waiting: Join | None = None  # the fork it is parked on
    cancelled: bool = False  # Cancelled was thrown into it, or is about to be: never twice
    doomed: bool = False  # Cancelled is thrown into it at its next await
    done: bool = False

    def count(self, what: str) -> int:
        """1, 2, 3, … for each ``what``, counted in this branch alone."""
        self.counters[what] = number = self.counters.get(what, 0) + 1
        return number

    def derive(self, seed: str, what: str) -> bytes:
        """32 bytes that are the same on every replay and nowhere else."""
        return hashlib.sha256(f"{seed}|{self.path}|{what}|{self.count(what)}".encode()).digest()


@dataclass(slots=True, eq=False)
class Join:
    """A fork under way: what its branches have brought so far."""

    parent: Branch
    fork: Fork
    path: str
    waiting: deque[tuple[int, Part]]  # not started yet
    results: list[Any]
    pending: int
    running: list[Branch] = field(default_factory=list)
    now: int = 0  # the latest that any of its branches has heard
    failure: BaseException | None = None
    won: Won | None = None

    @property
    def decided(self) -> bool:
        """True when no further branch can change how it ends."""
        return self.failure is not None or self.won is not None

    def heard(self, branch: Branch, outcome: Heard) -> None:
        """A branch has ended."""
        self.pending -= 1
        self.running.remove(branch)
        self.now = max(self.now, branch.now)
        if self.fork.first:
            if self.won is None:
                self.won = Won(self.fork.parts[branch.index].name, outcome)
        else:
            self._gathered(branch.index, outcome)

    def _gathered(self, index: int, outcome: Heard) -> None:
        match outcome:
            case Returned(value):
                self.results[index] = value
            case Raised(error) if self.fork.return_exceptions and isinstance(error, Exception):
                self.results[index] = error
            case Raised(error) if self.failure is None:
                self.failure = error
            case Raised():
                pass  # it fails already: with the failure that came first

    def start_no_more(self) -> None:
        """What has not been started is left out."""
        self.pending -= len(self.waiting)
        self.waiting.clear()


def close_quietly(branch: Branch) -> None:
    """Close the coroutine, whatever its handlers do.

    A coroutine that went on awaiting is closed once more when it is freed, and Python would print
    what it thinks of that: the hook keeps it silent.
    """
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with suppress(BaseException):  # nothing that a closing coroutine raises means anything
            branch.coroutine.close()
    finally:
        del branch.coroutine
        sys.unraisablehook = hook
