"""What workflow code can ask for, as frozen data: the words between a ``ctx`` call and the replay."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from runner.core.retry import Retry

#: A place in the user's code: file and line.
Place = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Run ``fn`` once and record what it returns."""

    id: str
    where: Place
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    returns: Any  # the type its result is read back as
    retry: Retry
    timeout_ms: int | None

    kind = "step"
    named = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Wait for a time: ``after_ms`` from when the store first hears of it, or ``until_ms``."""

    id: str | None
    where: Place
    after_ms: int | None = None
    until_ms: int | None = None

    kind = "sleep"
    named = "sleep"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForSignal:
    """Wait for the next unread signal of this name, at most for ``timeout_ms``."""

    id: str | None
    where: Place
    signal: str
    payload_type: Any
    timeout_ms: int | None

    kind = "signal"

    @property
    def named(self) -> str:
        return f"signal:{self.signal}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    """Run branches side by side; all of them end before it does."""

    where: Place
    branches: tuple[Coroutine[Any, Any, Any], ...]
    return_exceptions: bool


#: A command that ends with one journal entry.
Leaf = Step | Sleep | WaitForSignal
Command = Leaf | Gather


@dataclass(frozen=True, slots=True)
class Opened:
    """A leaf command that waits for its entry, under the id it got."""

    id: str
    command: Leaf
