"""What is to go wrong, and where: planned by a test, taken up when the execution comes by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from runner.errors import UsageError
from runner.testing.calls import Named, names

When = Literal["before_effect", "after_effect", "after_commit"]
WHEN: tuple[When, ...] = ("before_effect", "after_effect", "after_commit")
#: Faults that need not come about: a failure "for good" is planned for every attempt there may be.
ALWAYS = 1_000_000


class InjectedFailure(Exception):
    """The error of a step that a test made fail."""


@dataclass(slots=True)
class Fault:
    """``what`` at ``where``, ``times`` times."""

    what: Literal["crash", "fail", "cancel"]
    where: Named
    when: When
    times: int
    error: BaseException | None = None
    done: int = 0

    @property
    def missed(self) -> bool:
        """True when it was planned and has never come about."""
        return self.done == 0

    def __str__(self) -> str:
        where = self.where if isinstance(self.where, str) else getattr(self.where, "__name__", self.where)
        return f"{self.what} at {where!r}, {self.when}"


class Faults:
    """All that is planned in one test."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._doubled: set[str] = set()

    def plan(self, fault: Fault) -> None:
        """Raises UsageError for a moment that there is not."""
        if fault.when not in WHEN:
            raise UsageError(f"when={fault.when!r}: one of {', '.join(WHEN)}")
        if fault.times < 1:
            raise UsageError(f"times={fault.times}: at least 1")
        self._planned.append(fault)

    def take(self, when: When, id: str, fn: Callable[..., Any] | None = None) -> Fault | None:
        """The fault that comes about now, if one does."""
        for fault in self._planned:
            if fault.when == when and fault.done < fault.times and names(fault.where, id, fn):
                fault.done += 1
                return fault
        return None

    def double(self, signal: str) -> None:
        """Have every signal of this name sent twice."""
        self._doubled.add(signal)

    def doubles(self, signal: str) -> bool:
        return signal in self._doubled

    def missed(self) -> list[Fault]:
        """What never came about: a test of it has tested nothing."""
        return [fault for fault in self._planned if fault.missed]
