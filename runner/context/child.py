"""Children: executions that a workflow starts, and waits for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Generic, Literal, TypeVar, overload

from runner.codec import encode
from runner.core.calls import Call, asked
from runner.core.commands import Decision, Place, WaitForEnd
from runner.core.places import caller
from runner.core.replay import Replay
from runner.core.retry import Duration
from runner.durations import to_ms
from runner.errors import UsageError
from runner.signals import TimedOut
from runner.starts import make_start
from runner.transactions import Outgoing
from runner.workflow import Workflow

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

ParentClose = Literal["cancel", "abandon"]


class Child(Generic[T_co]):
    """A child execution, as its parent's code sees it."""

    __slots__ = ("_entry", "_output_type", "_replay", "execution_id", "workflow")

    def __init__(self, replay: Replay, entry: str, execution_id: str, workflow: str, output_type: Any) -> None:
        self.execution_id = execution_id
        self.workflow = workflow
        self._replay = replay
        self._entry = entry
        self._output_type = output_type

    @property
    def id(self) -> str:
        """Its execution id."""
        return self.execution_id

    @overload
    def result(self, timeout: None = None) -> Call[T_co]: ...
    @overload
    def result(self, timeout: Duration) -> Call[T_co | TimedOut]: ...
    def result(self, timeout: Duration | None = None) -> Call[Any]:
        """Wait for its end: what it returned, or ``TimedOut()`` when it goes on after ``timeout``.

        Raises, where it is awaited, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut or CompensationFailed, which name
        the child, its workflow and attempt, with the child's own error as ``__cause__`` where its class is known.
        """
        return Call(self._replay, "child.result(...)", self.awaiting(caller(1), timeout))

    def awaiting(self, where: Place, timeout: Duration | None = None) -> WaitForEnd:
        return WaitForEnd(
            id=None,
            where=where,
            execution_id=self.execution_id,
            workflow=self.workflow,
            output_type=self._output_type,
            timeout_ms=None if timeout is None else to_ms(timeout, what="child.result(timeout)"),
            child=self._entry,
        )

    def __repr__(self) -> str:
        return f"Child({self.execution_id!r}, {self.workflow!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStart:
    """All that a parent says about a child it starts."""

    id: str
    workflow: Workflow[Any, Any]
    input: Any
    plain: bool  # the input may be plain data, as where the workflow was given by name
    idempotency_key: str | None
    timeout: Duration | None
    parent_close: ParentClose


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Who starts: the same on every replay of one attempt."""

    execution_id: str
    run: int
    attempt: int
    opening: int = 0  # an operator's retry begins with attempt 1 again


async def start_child(replay: Replay, where: Place, parent: Parent, start: ChildStart) -> Child[Any]:
    """Record the child, and send its start off with the same commit. On replay the record says which one it is."""
    prefix = replay.current.prefix if replay.current is not None else ""
    entry = f"{prefix}{start.id}"
    if replay.recorded(entry):
        decision = Decision(id=start.id, where=where, kind="child", payload=b"")
    else:
        decision = _decision(entry, where, parent, start)
    execution_id, workflow = await asked(replay, decision)
    return Child(replay, entry, execution_id, workflow, start.workflow.output_type)


def _decision(entry: str, where: Place, parent: Parent, start: ChildStart) -> Decision:
    made = make_start(
        start.workflow,
        start.input,
        id=None if start.idempotency_key is not None else child_id(parent, entry),
        idempotency_key=start.idempotency_key,
        timeout=start.timeout,
        plain=start.plain,
    )
    if made.id == parent.execution_id:
        raise UsageError(f"ctx.start_child({start.id!r}): with this idempotency_key {made.id!r} would be its own child")
    made = replace(
        made,
        request=f"child:{child_id(parent, entry)}",
        parent=parent.execution_id,
        parent_run=parent.run,
        parent_close=start.parent_close,
    )
    outgoing = Outgoing(target=made.id, request=made.request, kind="start", payload=made.pack())
    return Decision(
        id=start.id,
        where=where,
        kind="child",
        payload=encode([made.id, made.workflow]),
        effects=_sent(outgoing),
        children=((made.id, start.parent_close),),
    )


def child_id(parent: Parent, entry: str) -> str:
    """The same on every replay, another in every run and for every attempt of the parent that starts it anew."""
    text = f"{parent.execution_id}|{parent.run}|{parent.opening}.{parent.attempt}|{entry}"
    return f"{parent.execution_id[:150]}.{sha256(text.encode()).hexdigest()[:16]}"


def check_parent_close(policy: str) -> None:
    if policy not in ("cancel", "abandon"):
        raise UsageError(f"parent_close={policy!r}: 'cancel' or 'abandon'")


def _sent(outgoing: Outgoing) -> Callable[[str, int], tuple[Outgoing, ...]]:
    return lambda _id, _at: (outgoing,)
