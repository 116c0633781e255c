"""The walk: drives workflow code from one call to the next, and answers each with a placeholder.

It stands where a replay would: branches are walked one after the other, to their end, and nothing is ever recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from runner.core.branches import Branch, close_quietly
from runner.core.commands import Fork, Part, Place, Sleep, Step, WaitForEnd, WaitForSignal
from runner.core.places import awaiting, innermost, raising, show
from runner.core.replay import Replay
from runner.describe.flow import Node
from runner.describe.placeholder import Placeholder
from runner.describe.sketch import Enough, Sketch
from runner.failures import said


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A call that is one node, and gives ``answer``. ``last``: the code does not go on after it."""

    node: Node
    answer: Any = None
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A call that divides: every part is walked; ``answer`` makes what it gives from what they returned."""

    node: Node
    parts: Sequence[Part]
    answer: Callable[[list[Any]], Any]


_Asked = Told | Split | Fork | Step | Sleep | WaitForSignal | WaitForEnd


@dataclass(frozen=True, slots=True)
class _Ended:
    value: Any


class Walk:
    """One description under way. ``replay`` is what ctx calls find where a turn would have its own."""

    def __init__(self) -> None:
        self.sketch = Sketch()
        self.replay = Replay(seed="", started_at=0, errors={})
        self.replay.replaying = True  # so that workflow logs are silent
        self._unfinished: list[Branch] = []
        self._lost = False  # somewhere the code could not go on

    def run(self, workflow: Coroutine[Any, Any, Any]) -> None:
        """From the first call to the last. Raises nothing that the code raises."""
        try:
            self._branch(workflow)
            self._check_awaited()
        except Enough as enough:
            if enough.reason:
                self._lose(enough.reason)

    def close(self) -> None:
        """End the code that was left standing; nothing that it does then counts."""
        self.replay.closing = True
        while self._unfinished:
            close_quietly(self._unfinished.pop())

    def _branch(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        branch = Branch(coroutine, "", 0, self.replay.root)
        self._unfinished.append(branch)
        answer: Any = None
        while True:
            asked = self._resumed(branch, answer)
            if isinstance(asked, _Ended):
                self._unfinished.remove(branch)
                return asked.value
            if not isinstance(asked, _Asked):
                place = innermost(awaiting(coroutine))
                self._lose(
                    f"{show(place) if place else 'the workflow'} awaits {asked!r:.200}, which is no call of its ctx"
                )
                return Placeholder("unknown")
            answer = self._answer(asked)
            if isinstance(asked, Told) and asked.last:
                return answer

    def _resumed(self, branch: Branch, answer: Any) -> Any:
        """What the code asks for next, or how it ended."""
        self.replay.current = branch
        try:
            return branch.coroutine.send(answer)
        except StopIteration as stop:
            return _Ended(stop.value)
        except (Enough, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, this is where the code cannot go on
            self._lose(_explained(error))
            return _Ended(Placeholder("unknown"))
        finally:
            self.replay.current = None

    def _answer(self, asked: _Asked) -> Any:
        match asked:
            case Told(node=node, answer=answer):
                self.sketch.add(node)
                return answer
            case Split():
                return self._split(asked)
            case Fork():
                return self._split(Split(node=Node(kind="gather"), parts=asked.parts, answer=tuple))
            case _:
                node = node_of(asked)
                self.sketch.add(node)
                return None if node.kind == "sleep" else Placeholder(node.id or node.name)

    def _split(self, split: Split) -> Any:
        draft = self.sketch.add(split.node)
        results: list[Any] = []
        left = list(split.parts)
        try:
            while left:
                part = left.pop(0)
                with self.sketch.within(draft, part.name):
                    results.append(self._branch(part.begin()))
        finally:
            for part in left:  # coroutines that nobody will run: Python complains of those that are not closed
                part.begin().close()
        return split.answer(results)

    def _check_awaited(self) -> None:
        forgotten: list[tuple[str, Place]] = [*self.replay.dropped, *self.replay.unawaited.values()]
        if forgotten and not self._lost:
            name, where = forgotten[0]
            self._lose(f"{name} at {show(where)} was built and never awaited: put `await` before it")

    def _lose(self, reason: str) -> None:
        self._lost = True
        self.sketch.add(Node(kind="unknown", reason=reason))


def node_of(command: Step | Sleep | WaitForSignal | WaitForEnd) -> Node:
    match command:
        case Step(id=id, fn=fn, compensate=compensate, timeout_ms=timeout_ms):
            return Node(
                kind="step", id=id, name=_named(fn), compensates=compensate is not None, timeout=span(timeout_ms)
            )
        case Sleep(id=id, after_ms=after_ms):
            return Node(kind="sleep", id=id or "", duration=span(after_ms))
        case WaitForSignal(id=id, signal=signal, timeout_ms=timeout_ms):
            return Node(kind="wait_for_signal", id=id or "", name=signal, timeout=span(timeout_ms))
        case WaitForEnd(id=id, workflow=workflow, child=child, timeout_ms=timeout_ms):
            return Node(kind="wait_for_execution", id=id or child or "", name=str(workflow), timeout=span(timeout_ms))


def span(ms: int | None) -> timedelta | None:
    return None if ms is None else timedelta(milliseconds=ms)


def _named(fn: Any) -> str:
    """The name of a callable: that of what a partial was made of."""
    while not hasattr(fn, "__name__") and hasattr(fn, "func"):
        fn = fn.func
    return str(getattr(fn, "__name__", type(fn).__name__))


def _explained(error: BaseException) -> str:
    place = innermost(raising(error.__traceback__))
    where = f" (at {show(place)})" if place is not None else ""
    return f"{type(error).__name__}: {said(error)}{where}"
