"""What workflow code can ask for, as frozen data: the words between a ``ctx`` call and the replay.

Structs, not dataclasses: a replay makes thousands of them, and these are made in a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace

from runner.core.retry import Retry
from runner.transactions import Outgoing

#: A place in the user's code: file and line.
Place = tuple[str, int]


class Step(Struct, frozen=True, kw_only=True):
    """Run ``fn`` once and record what it returns; ``compensate`` is what undoes it, given that result."""

    id: str
    where: Place
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    returns: Any  # the type its result is read back as
    retry: Retry
    timeout_ms: int | None
    compensate: Callable[[Any], Any] | None = None

    kind: ClassVar[str] = "step"
    named: ClassVar[str] = "step"

    def but(self, **changes: Any) -> Step:
        """The same step with some of it changed."""
        return replace(self, **changes)


class Compensation(Step, frozen=True, kw_only=True):
    """The step that undoes the recorded step ``undoes``. No cancel interrupts it."""

    undoes: str

    kind: ClassVar[str] = "compensation"
    named: ClassVar[str] = "compensation"


class Sleep(Struct, frozen=True, kw_only=True):
    """Wait for a time: ``after_ms`` from when the store first hears of it, or ``until_ms``."""

    id: str | None
    where: Place
    after_ms: int | None = None
    until_ms: int | None = None

    kind: ClassVar[str] = "sleep"
    named: ClassVar[str] = "sleep"


class WaitForSignal(Struct, frozen=True, kw_only=True):
    """Wait for the next unread signal of this name, at most for ``timeout_ms``."""

    id: str | None
    where: Place
    signal: str
    payload_type: Any
    timeout_ms: int | None

    kind: ClassVar[str] = "signal"

    @property
    def named(self) -> str:
        return f"signal:{self.signal}"


class WaitForEnd(Struct, frozen=True, kw_only=True):
    """Wait for the end of another execution, at most for ``timeout_ms``.

    ``child`` is the entry that started it, when this run did: then its end is told anyway.
    Otherwise the execution is followed, and must be of ``workflow``.
    """

    id: str | None
    where: Place
    execution_id: str
    workflow: str
    output_type: Any
    timeout_ms: int | None
    child: str | None = None

    kind: ClassVar[str] = "ended"

    @property
    def named(self) -> str:
        return f"ended:{self.execution_id}"


class Decision(Struct, frozen=True, kw_only=True):
    """Something that is settled as soon as it is asked: it is recorded, and its effects ride in the same commit.

    ``payload`` is what is recorded where nothing is yet; what the journal holds is what the code gets.
    ``effects`` makes, from the entry's id and time, what is to leave with it; ``children`` are those it starts,
    with what becomes of each at our end.
    """

    id: str | None
    where: Place
    kind: str  # switch | race | emit | note | child | rollback
    payload: bytes
    effects: Callable[[str, int], tuple[Outgoing, ...]] | None = None
    children: tuple[tuple[str, str], ...] = ()

    @property
    def named(self) -> str:
        return self.kind


class Part(Struct, frozen=True):
    """One branch of a fork that is still to be started: its name in ids, and what makes its coroutine."""

    name: str
    begin: Callable[[], Coroutine[Any, Any, Any]]


class Fork(Struct, frozen=True, kw_only=True):
    """Run parts side by side, at most ``limit`` at once; all of them end before it does.

    ``first``: the first to end decides, and the others are cancelled; it gives a Won. ``scoped``: explicit ids
    inside a part are its own (``<id>[<part>]/<their id>``).
    """

    id: str | None
    where: Place
    kind: str  # gather | map | race
    parts: Sequence[Part]
    limit: int | None = None
    return_exceptions: bool = False
    first: bool = False
    scoped: bool = False


class Continue(Struct, frozen=True):
    """End this run, begin the next one with ``input``."""

    where: Place
    input: bytes


#: A command that ends with one journal entry.
Leaf = Step | Compensation | Sleep | WaitForSignal | WaitForEnd | Decision
Command = Leaf | Fork | Continue


class Opened(Struct, frozen=True):
    """A leaf command that waits for its entry, under the id it got."""

    id: str
    command: Leaf
