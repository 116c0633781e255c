"""What can be undone: the compensations of recorded steps, and the sagas they belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """A saga, inside another or the execution itself; a compensation belongs to the innermost one and all around it."""

    around: Scope | None = None

    def holds(self, scope: Scope | None) -> bool:
        """True when ``scope`` is this one or lies within it."""
        while scope is not None and scope is not self:
            scope = scope.around
        return scope is self


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """How to undo one recorded step: ``fn`` with its result ``value``."""

    step: str
    fn: Callable[[Any], Any]
    value: Any
    scope: Scope


class Undos:
    """Everything that is recorded and could be undone, in the order in which it was recorded."""

    def __init__(self) -> None:
        self._outstanding: dict[str, Undo] = {}
        self._taken: set[str] = set()  # a rollback is about to undo these: another one must not

    def __len__(self) -> int:
        """How many have not been undone."""
        return len(self._outstanding)

    def register(self, undo: Undo) -> None:
        self._outstanding[undo.step] = undo

    def take(self, scope: Scope) -> list[Undo]:
        """What a rollback of this scope is to undo, in that order; nobody else gets these any more."""
        wanted = [
            undo
            for undo in reversed(self._outstanding.values())
            if undo.step not in self._taken and scope.holds(undo.scope)
        ]
        self._taken.update(undo.step for undo in wanted)
        return wanted

    def done(self, step: str) -> None:
        """It has been undone."""
        self._outstanding.pop(step, None)

    def clear(self) -> None:
        """Those that were about to undo something are no more: it can be taken again."""
        self._taken.clear()
