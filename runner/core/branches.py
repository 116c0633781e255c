"""The tree of coroutines that one workflow is: the root, and a branch for each part of a gather."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from runner.core.commands import Opened

#: What a branch is resumed with: a call on its coroutine that sends a value or throws an error.
Resume = Callable[[Coroutine[Any, Any, Any]], Any]


@dataclass(slots=True, eq=False)
class Branch:
    """One coroutine, its place in the tree, and all that must be the same on every replay."""

    coroutine: Coroutine[Any, Any, Any]
    path: str
    now: int
    join: Join | None = None
    index: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    opened: Opened | None = None  # the command it is parked on
    waiting: Join | None = None  # the gather it is parked on
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
    """A gather under way: what its branches have brought so far."""

    parent: Branch
    return_exceptions: bool
    children: list[Branch]
    results: list[Any]
    pending: int
    failure: BaseException | None = None


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
