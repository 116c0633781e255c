"""The context of a workflow that is only described: it stores nothing, sends nothing, and calls no step."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from runner.context import Case, Child, Context, Known
from runner.context.forks import check_branches, coroutine_of, map_fork, needs_one, started
from runner.core.calls import Call
from runner.core.commands import Part, Place
from runner.describe.flow import Node
from runner.describe.placeholder import Placeholder
from runner.describe.sketch import Sketch
from runner.describe.walk import Split, Told, Walk, span
from runner.durations import to_ms
from runner.workflow import Workflow

_OURS = str(Path(__file__).resolve().parents[1])
#: What an execution is called that is none.
_NO_EXECUTION = "<execution_id>"


class DescribingContext(Context):
    """Takes placeholders wherever a real one takes values, and turns calls into nodes."""

    def __init__(self, walk: Walk, workflow: Workflow[Any, Any], known: Known) -> None:
        super().__init__(walk.replay, workflow, execution_id=_NO_EXECUTION, run=1, attempt=1, known=known)
        self._sketch = walk.sketch

    # -- steps and waits --------------------------------------------------------------------------

    def step(self, id: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return super().step(_text(id), fn, *args, **kwargs)

    def sleep(self, duration: Any, id: Any = None) -> Any:
        return self._told("ctx.sleep", Node(kind="sleep", id=_text(id), duration=_span(duration)))

    def sleep_until(self, moment: Any, id: Any = None) -> Any:
        return self._told("ctx.sleep_until", Node(kind="sleep", id=_text(id), name=f"until {moment}"))

    def wait_for_signal(self, signal: Any, *, timeout: Any = None, id: Any = None) -> Any:
        known = None if isinstance(timeout, Placeholder) else timeout
        return super().wait_for_signal(signal, timeout=known, id=None if id is None else _text(id))

    def wait_for_execution(self, workflow: Any, execution_id: Any, *, timeout: Any = None, id: Any = None) -> Any:  # noqa: ARG002
        name = workflow if isinstance(workflow, str) else workflow.name
        node = Node(kind="wait_for_execution", id=_text(id), name=str(name), timeout=_span(timeout))
        return self._told("ctx.wait_for_execution", node, Placeholder(str(name)))

    # -- branches ---------------------------------------------------------------------------------

    def map(self, id: Any, fn: Any, items: Iterable[Any], *, key: Any = None, max_concurrency: Any = None) -> Any:  # noqa: ARG002
        """One item stands for all of them."""
        all_items = list(items)
        item = all_items[0] if all_items else Placeholder(f"{id}[]")
        (part,) = map_fork(_text(id), self._place("ctx.map"), fn, [item], None, None).parts
        parts = [Part("each", part.begin)]
        split = Split(node=Node(kind="map", id=_text(id)), parts=parts, answer=lambda one: (*one * len(all_items),))
        return self._call("ctx.map", split)

    def race(self, id: Any, /, **branches: Any) -> Any:
        check_branches("ctx.race", branches.values())
        parts = [Part(name, lambda one=one: coroutine_of(one)) for name, one in branches.items()]  # type: ignore[misc]
        won = (Placeholder(f"{id}.winner"), Placeholder(_text(id)))
        return self._call("ctx.race", Split(node=Node(kind="race", id=_text(id)), parts=parts, answer=lambda _: won))

    def switch(self, id: Any, value: Any, cases: Sequence[Any], default: Any = None) -> Any:
        """Every case is walked, whatever the value; no ``match`` is asked."""
        parts = [_part(case, value) for case in (*cases, *_fallback(default))]
        split = Split(node=Node(kind="switch", id=_text(id)), parts=parts, answer=lambda _: Placeholder(_text(id)))
        return self._call("ctx.switch", split)

    # -- undoing ----------------------------------------------------------------------------------

    def rollback(self) -> Any:
        return self._told("ctx.rollback", Node(kind="rollback"))

    def saga(self) -> Any:
        self._place("ctx.saga")
        return _Saga(self._sketch)

    # -- children ---------------------------------------------------------------------------------

    def start_child(self, id: Any, workflow: Any, input: Any = None, **options: Any) -> Any:  # noqa: ARG002
        definition, node = self._child(id, workflow, options)
        child = Child[Any](self._replay, node.id, f"<{node.id}>", definition.name, definition.output_type)
        return self._told("ctx.start_child", node, child)

    def run_child(self, id: Any, workflow: Any, input: Any = None, **options: Any) -> Any:  # noqa: ARG002
        _, node = self._child(id, workflow, options)
        return self._told("ctx.run_child", node, Placeholder(node.id))

    def _child(self, id: Any, workflow: Any, options: Any) -> tuple[Workflow[Any, Any], Node]:
        definition = self._child_start(_text(id), workflow, None, options).workflow
        return definition, Node(kind="child", id=_text(id), name=definition.name, timeout=_span(options.get("timeout")))

    # -- what is told -----------------------------------------------------------------------------

    def emit(self, event: Any, payload: Any, id: Any = None) -> Any:  # noqa: ARG002
        return self._told("ctx.emit", Node(kind="emit", id=_text(id), name=event.name))

    def note(self, message: Any, /, **fields: Any) -> Any:  # noqa: ARG002
        return self._told("ctx.note", Node(kind="note", name=str(message)))

    def set_attributes(self, **values: Any) -> None:  # noqa: ARG002
        self._place("ctx.set_attributes")

    def patched(self, id: Any) -> bool:
        self._place("ctx.patched")
        self._sketch.add(Node(kind="patched", id=_text(id)))
        return True

    def continue_as_new(self, input: Any = None) -> Any:  # noqa: ARG002
        return self._told("ctx.continue_as_new", Node(kind="continue_as_new"), last=True)

    # -- what only a run can tell -------------------------------------------------------------------

    def now(self) -> Any:
        return self._untold("now")

    def uuid(self) -> Any:
        return self._untold("uuid")

    def random(self) -> Any:
        return self._untold("random")

    def _untold(self, name: str) -> Placeholder:
        self._place(f"ctx.{name}")
        return Placeholder(name)

    def _told(self, name: str, node: Node, answer: Any = None, *, last: bool = False) -> Call[Any]:
        return self._call(name, Told(node=node, answer=answer, last=last))

    def _call(self, name: str, asked: Told | Split) -> Call[Any]:
        return Call(self._replay, f"{name}({asked.node.id!r})", asked, where=self._place(name))

    def _place(self, name: str) -> Place:
        """The user's line: calls go through more of our frames here than in a turn."""
        super()._place(name)
        frame = sys._getframe(1)  # noqa: SLF001
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
            frame = frame.f_back
        return frame.f_code.co_filename, frame.f_lineno


class _Saga:
    """The body becomes the branch of a node; what leaves it with an error goes on."""

    def __init__(self, sketch: Sketch) -> None:
        self._sketch = sketch
        self._depth = 0

    async def __aenter__(self) -> None:
        self._depth = self._sketch.enter(self._sketch.add(Node(kind="saga")), "body")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sketch.leave(self._depth)


def _part(case: Case[Any, Any], value: Any) -> Part:
    arguments = (value,) if needs_one(case.run) else ()
    return Part(case.id, lambda: started(case.run, arguments, f"case {case.id!r}"))


def _fallback(default: Any) -> list[Case[Any, Any]]:
    if default is None:
        return []
    return [default if isinstance(default, Case) else Case("default", None, default)]


def _text(id: Any) -> str:
    """An id that may have been made of placeholders, or be one."""
    return "" if id is None else str(id)


def _span(duration: Any) -> timedelta | None:
    return None if duration is None or isinstance(duration, Placeholder) else span(to_ms(duration))
