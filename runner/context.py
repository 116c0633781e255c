"""The context: the one door between workflow code and the world.

Every method that waits returns a call to be awaited; the rest answer at once, from what is recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Never, ParamSpec, TypedDict, TypeVar, Unpack, overload
from uuid import UUID

from runner.attributes import Attribute, attribute_texts
from runner.branching import (
    Branched,
    Case,
    Default,
    check_branches,
    gather_fork,
    map_fork,
    race,
    switch,
)
from runner.children import Child, ChildStart, Parent, ParentClose, check_parent_close, start_child
from runner.codec import encode, resolve_hints, roundtrip
from runner.core.branches import Branch
from runner.core.calls import Call, Routine, StepCall, asked
from runner.core.commands import Continue, Decision, Place, Sleep, Step, WaitForEnd, WaitForSignal
from runner.core.options import step_options
from runner.core.places import caller
from runner.core.replay import Replay
from runner.core.retry import Duration
from runner.core.rollback import rollback
from runner.durations import to_moment_ms, to_ms
from runner.emissions import emission
from runner.errors import MisplacedCall, UndeclaredSignal, UnknownWorkflow, UsageError
from runner.ids import check_id
from runner.log import WorkflowLog
from runner.sagas import Saga
from runner.signals import Event, Readable, TimedOut
from runner.workflow import Workflow

P = ParamSpec("P")
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
V = TypeVar("V")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output

#: Where workflows are found by name: the app's registry.
Known = Callable[[str], "Workflow[Any, Any] | None"]


class ChildOptions(TypedDict, total=False):
    """What starting a child takes beside workflow and input. See ``Context.start_child``."""

    idempotency_key: str | None
    timeout: Duration | None
    parent_close: ParentClose


class Context:
    """What a workflow works with. Valid during the turn that made it, in workflow code only."""

    def __init__(
        self,
        replay: Replay,
        workflow: Workflow[Any, Any],
        *,
        execution_id: str,
        run: int,
        attempt: int,
        known: Known = lambda _: None,
    ) -> None:
        self._replay = replay
        self._definition = workflow
        self._known = known
        self._parent = Parent(execution_id=execution_id, run=run, attempt=attempt)
        self.execution_id = execution_id
        self.workflow = workflow.name
        self.run = run
        self.attempt = attempt
        self.log = WorkflowLog(
            lambda: replay.replaying or replay.closing, execution_id=execution_id, workflow=workflow.name
        )

    @property
    def replaying(self) -> bool:
        """True while code runs that a former turn has been through already."""
        return self._replay.replaying

    # -- steps and waits --------------------------------------------------------------------------

    @overload
    def step(
        self, id: str, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> StepCall[T]: ...
    @overload
    def step(self, id: str, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> StepCall[T]: ...
    @overload
    def step(self, id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> StepCall[T]: ...
    def step(self, id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> StepCall[Any]:
        """Run ``fn`` and record what it returns; a recorded step is never run again.

        ``async def`` runs on the worker's event loop, a plain function in a thread. At least once until its result is
        recorded: use ``idempotency_key()`` inside for effects that must not repeat.

        Raises, where it is awaited, StepFailed when its last attempt failed (or the ``@app.error`` class
        itself), StepTimedOut, StepResultError when the result cannot be stored.
        """
        if not callable(fn):
            raise UsageError(
                f"ctx.step({id!r}, ...): {fn!r} is not callable; give the function and its arguments apart"
            )
        options = step_options(fn)
        command = Step(
            id=_checked(id, "ctx.step"),
            where=self._place("ctx.step"),
            fn=fn,
            args=args,
            kwargs=kwargs,
            returns=resolve_hints(fn).returns,
            retry=options.retry,
            timeout_ms=options.timeout_ms,
        )
        return StepCall(self._replay, f"ctx.step({id!r})", command)

    def sleep(self, duration: Duration, id: str | None = None) -> Call[None]:
        """Wait for ``duration`` (timedelta or seconds), by the store's clock, through every restart."""
        command = Sleep(
            id=_optional(id, "ctx.sleep"),
            where=self._place("ctx.sleep"),
            after_ms=to_ms(duration, what="ctx.sleep(duration)"),
        )
        return Call(self._replay, "ctx.sleep(...)", command)

    def sleep_until(self, moment: datetime, id: str | None = None) -> Call[None]:
        """Wait until ``moment`` (aware); one that has passed is no wait."""
        command = Sleep(
            id=_optional(id, "ctx.sleep_until"),
            where=self._place("ctx.sleep_until"),
            until_ms=to_moment_ms(moment, what="ctx.sleep_until(moment)"),
        )
        return Call(self._replay, "ctx.sleep_until(...)", command)

    @overload
    def wait_for_signal(self, signal: Readable[T], *, timeout: None = None, id: str | None = None) -> Call[T]: ...
    @overload
    def wait_for_signal(
        self, signal: Readable[T], *, timeout: Duration, id: str | None = None
    ) -> Call[T | TimedOut]: ...
    def wait_for_signal(
        self, signal: Readable[T], *, timeout: Duration | None = None, id: str | None = None
    ) -> Call[Any]:
        """The payload of the next unread signal of this name, whether it came before or comes now.

        With ``timeout`` (timedelta or seconds): ``TimedOut()`` when none came in time.
        Raises UndeclaredSignal for a signal outside the workflow's contract.
        """
        if not self._definition.takes(signal.name):
            raise UndeclaredSignal(
                f"workflow {self.workflow!r} does not declare signal {signal.name!r}: add it to signals=[...]"
            )
        command = WaitForSignal(
            id=_optional(id, "ctx.wait_for_signal"),
            where=self._place("ctx.wait_for_signal"),
            signal=signal.name,
            payload_type=signal.payload_type,
            timeout_ms=None if timeout is None else to_ms(timeout, what="ctx.wait_for_signal(timeout)"),
        )
        return Call(self._replay, f"ctx.wait_for_signal({signal.name!r})", command)

    # -- branches ---------------------------------------------------------------------------------

    @overload
    def gather(self, a: Branched[T1], /, *, return_exceptions: bool = False) -> Call[tuple[T1]]: ...
    @overload
    def gather(self, a: Branched[T1], b: Branched[T2], /) -> Call[tuple[T1, T2]]: ...
    @overload
    def gather(self, a: Branched[T1], b: Branched[T2], c: Branched[T3], /) -> Call[tuple[T1, T2, T3]]: ...
    @overload
    def gather(
        self, a: Branched[T1], b: Branched[T2], c: Branched[T3], d: Branched[T4], /
    ) -> Call[tuple[T1, T2, T3, T4]]: ...
    @overload
    def gather(self, *branches: Branched[T]) -> Call[tuple[T, ...]]: ...
    @overload
    def gather(self, *branches: Branched[T], return_exceptions: bool) -> Call[tuple[T | BaseException, ...]]: ...
    def gather(self, *branches: Branched[Any], return_exceptions: bool = False) -> Call[Any]:
        """Run ctx calls, or coroutines of them, side by side; their results in the order given.

        When one fails, the others are cancelled and driven to their end, then the failure that was recorded first
        is raised. ``return_exceptions``: failures take the place of results, nothing is cancelled.
        """
        check_branches("ctx.gather", branches)
        fork = gather_fork(self._place("ctx.gather"), branches, return_exceptions=return_exceptions)
        return Call(self._replay, "ctx.gather(...)", fork)

    def map(
        self,
        id: str,
        fn: Callable[[V], Branched[T]],
        items: Iterable[V],
        *,
        key: Callable[[V], object] | None = None,
        max_concurrency: int | None = None,
    ) -> Call[tuple[T, ...]]:
        """Run ``fn(item)``, a ctx call or a coroutine of them, for every item; results in the order of the items.

        At most ``max_concurrency`` (None: all) at once. Ids inside are the item's own: step ``charge`` of the
        item with key ``7`` is recorded as ``<id>[7]/charge``. ``key`` (default: the item's place) keeps them when
        items change places. Fails as ``gather`` does.
        """
        fork = map_fork(_checked(id, "ctx.map"), self._place("ctx.map"), fn, items, key, max_concurrency)
        return Call(self._replay, f"ctx.map({id!r})", fork)

    def race(self, id: str, /, **branches: Branched[T]) -> Call[tuple[str, T]]:
        """Run branches side by side until the first ends: its name and its result, or its error.

        The winner is recorded. The others are cancelled and driven to their end; a signal that one of them waited
        for stays in the inbox.
        """
        if not branches:
            raise UsageError(f"ctx.race({id!r}): give it branches, by name")
        check_branches(f"ctx.race({id!r})", branches.values())
        where = self._place("ctx.race")
        checked = _checked(id, "ctx.race")
        return Routine(self._replay, f"ctx.race({id!r})", where, lambda: race(self._replay, checked, where, branches))

    def switch(self, id: str, value: V, cases: Sequence[Case[V, T]], default: Default[V, T] | None = None) -> Call[T]:
        """Run the first case that matches ``value``, and return what it returns.

        The decision is recorded before the case runs: it stands, though the value be another one on replay.
        Raises NoBranchMatched, where it is awaited, when no case matches and there is no default.
        """
        where = self._place("ctx.switch")
        checked = _checked(id, "ctx.switch")
        return Routine(
            self._replay,
            f"ctx.switch({id!r})",
            where,
            lambda: switch(self._replay, checked, where, value, cases, default),
        )

    # -- undoing ----------------------------------------------------------------------------------

    def rollback(self) -> Call[None]:
        """Run the compensations of everything that is recorded and not undone yet: the latest first, each once.

        A crash in the middle goes on where it was; no cancel interrupts it. When a compensation fails for good, the
        execution ends here, ``compensation_failed``, and none of its code is asked.
        """
        where = self._place("ctx.rollback")
        return Routine(self._replay, "ctx.rollback()", where, lambda: rollback(self._replay, self._replay.root, where))

    def saga(self) -> Saga:
        """``async with ctx.saga():`` runs the compensations of its body when an exception leaves it (a cancel included)."""
        return Saga(self._replay, self._place("ctx.saga"))

    # -- children ---------------------------------------------------------------------------------

    @overload
    def start_child(
        self, id: str, workflow: Workflow[None, O], input: None = None, **options: Unpack[ChildOptions]
    ) -> Call[Child[O]]: ...
    @overload
    def start_child(
        self, id: str, workflow: Workflow[I, O], input: I, **options: Unpack[ChildOptions]
    ) -> Call[Child[O]]: ...
    @overload
    def start_child(
        self, id: str, workflow: str, input: Any = None, **options: Unpack[ChildOptions]
    ) -> Call[Child[Any]]: ...
    def start_child(self, id: str, workflow: Any, input: Any = None, **options: Unpack[ChildOptions]) -> Call[Any]:
        """Start an execution of another workflow; its end reaches this one, whatever becomes of either's worker.

        ``timeout``: of the child. ``parent_close``: what becomes of it when this execution ends first, "cancel"
        (default) or "abandon". ``idempotency_key``: as of ``Client.start``; an execution that is there
        already becomes the child.
        """
        where = self._place("ctx.start_child")
        start = self._child_start(_checked(id, "ctx.start_child"), workflow, input, options)
        return Routine(
            self._replay,
            f"ctx.start_child({id!r})",
            where,
            lambda: start_child(self._replay, where, self._parent, start),
        )

    @overload
    def run_child(
        self, id: str, workflow: Workflow[None, O], input: None = None, **options: Unpack[ChildOptions]
    ) -> Call[O]: ...
    @overload
    def run_child(self, id: str, workflow: Workflow[I, O], input: I, **options: Unpack[ChildOptions]) -> Call[O]: ...
    @overload
    def run_child(self, id: str, workflow: str, input: Any = None, **options: Unpack[ChildOptions]) -> Call[Any]: ...
    def run_child(self, id: str, workflow: Any, input: Any = None, **options: Unpack[ChildOptions]) -> Call[Any]:
        """``start_child`` and the child's ``result()`` in one."""
        where = self._place("ctx.run_child")
        start = self._child_start(_checked(id, "ctx.run_child"), workflow, input, options)

        async def run() -> Any:
            child = await start_child(self._replay, where, self._parent, start)
            return await asked(self._replay, child.awaiting(where))

        return Routine(self._replay, f"ctx.run_child({id!r})", where, run)

    @overload
    def wait_for_execution(
        self, workflow: Workflow[Any, O], execution_id: str, *, timeout: None = None, id: str | None = None
    ) -> Call[O]: ...
    @overload
    def wait_for_execution(
        self, workflow: Workflow[Any, O], execution_id: str, *, timeout: Duration, id: str | None = None
    ) -> Call[O | TimedOut]: ...
    @overload
    def wait_for_execution(
        self, workflow: str, execution_id: str, *, timeout: Duration | None = None, id: str | None = None
    ) -> Call[Any]: ...
    def wait_for_execution(
        self, workflow: Any, execution_id: str, *, timeout: Duration | None = None, id: str | None = None
    ) -> Call[Any]:
        """Wait for the end of any execution: its result, or ``TimedOut()``.

        Raises UsageError for itself; where it is awaited, ExecutionFailed and its kin as it ended, UnknownExecution
        for one that is not there or is of another workflow.
        """
        if check_id(execution_id) == self.execution_id:
            raise UsageError(f"ctx.wait_for_execution: {execution_id!r} would wait for itself, and never end")
        definition = self._find(workflow)
        name = workflow if isinstance(workflow, str) else workflow.name
        command = WaitForEnd(
            id=_optional(id, "ctx.wait_for_execution"),
            where=self._place("ctx.wait_for_execution"),
            execution_id=execution_id,
            workflow=name,
            output_type=Any if definition is None else definition.output_type,
            timeout_ms=None if timeout is None else to_ms(timeout, what="ctx.wait_for_execution(timeout)"),
        )
        return Call(self._replay, f"ctx.wait_for_execution({execution_id!r})", command)

    def _child_start(self, id: str, workflow: Any, input: Any, options: ChildOptions) -> ChildStart:
        definition = self._find(workflow)
        if definition is None:
            raise UnknownWorkflow(
                f"ctx.start_child({id!r}): this worker has no workflow {workflow!r}; pass the workflow itself"
            )
        check_parent_close(options.get("parent_close", "cancel"))
        return ChildStart(
            id=id,
            workflow=definition,
            input=input,
            plain=isinstance(workflow, str),
            idempotency_key=options.get("idempotency_key"),
            timeout=options.get("timeout"),
            parent_close=options.get("parent_close", "cancel"),
        )

    def _find(self, workflow: Workflow[Any, Any] | str) -> Workflow[Any, Any] | None:
        return self._known(workflow) if isinstance(workflow, str) else workflow

    # -- what is told -----------------------------------------------------------------------------

    def emit(self, event: Event[T], payload: T, id: str | None = None) -> Call[None]:
        """Publish an event with the next commit: once a call, whatever is replayed; delivered at least once."""
        encoded, _ = roundtrip(payload, event.payload_type, what=f"payload of event {event.name!r}")
        decision = Decision(
            id=_optional(id, "ctx.emit"),
            where=self._place("ctx.emit"),
            kind="emit",
            payload=encode(event.name),
            effects=emission(event.name, encoded, self.execution_id, self.run, self.workflow),
        )
        return Call(self._replay, f"ctx.emit({event.name!r})", decision, _nothing)

    def note(self, message: str, /, **fields: Any) -> Call[None]:
        """Put a line into the audit trail, once, whatever is replayed. ``fields``: anything that a step may return."""
        decision = Decision(
            id=None,
            where=self._place("ctx.note"),
            kind="note",
            payload=encode([str(message), fields], what="ctx.note"),
        )
        return Call(self._replay, "ctx.note(...)", decision, _nothing)

    def set_attributes(self, **values: Attribute) -> None:
        """Set what this execution can be found by, with the next commit. Values: text, numbers, bool."""
        self._place("ctx.set_attributes")
        texts = attribute_texts(values, what="ctx.set_attributes")
        if not self._replay.replaying:
            self._replay.attributes.update(texts)

    # -- changing code, beginning anew --------------------------------------------------------------

    def patched(self, id: str) -> bool:
        """True where new code is to run: for every execution but those that had passed this point with the old.

        The answer is recorded, and stays. ``if ctx.patched("v2"): new() else: old()``
        """
        self._place("ctx.patched")
        return self._replay.patched(_checked(id, "ctx.patched"))

    def continue_as_new(self, input: Any = None) -> Call[Never]:
        """End this run and begin the next with ``input``: same execution, empty journal.

        Unread signals, children that have not ended and attributes stay. Compensations of this run are done with.
        """
        if not self._definition.takes_input and input is not None:
            raise UsageError(f"ctx.continue_as_new: workflow {self.workflow!r} takes no input")
        payload, _ = roundtrip(input, self._definition.input_type, what="ctx.continue_as_new(input)")
        return Call(self._replay, "ctx.continue_as_new(...)", Continue(self._place("ctx.continue_as_new"), payload))

    # -- what is the same on every replay --------------------------------------------------------

    def now(self) -> datetime:
        """The store's time of the last thing that reached this branch: the same on every replay."""
        return datetime.fromtimestamp(self._branch("ctx.now").now / 1000, UTC)

    def uuid(self) -> UUID:
        """A fresh id that every replay of this run derives alike."""
        return UUID(bytes=self._branch("ctx.uuid").derive(self._replay.seed, "uuid")[:16], version=4)

    def random(self) -> float:
        """A number in [0, 1) that every replay of this run derives alike."""
        derived = self._branch("ctx.random").derive(self._replay.seed, "random")
        return (int.from_bytes(derived[:8], "big") >> 11) / (1 << 53)

    def _branch(self, name: str) -> Branch:
        current = self._replay.current
        if current is None:
            _misplaced(name)
        return current

    def _place(self, name: str) -> Place:
        """The user's line that makes the call: two frames above."""
        if self._replay.current is None and not self._replay.closing:
            _misplaced(name)
        return caller(2)


def _misplaced(name: str) -> Never:
    raise MisplacedCall(
        f"{name} was called outside workflow code (a step body, a thread or a former turn): "
        "a step does its work and returns; only the workflow function calls ctx"
    )


def _checked(id: object, name: str) -> str:
    if not isinstance(id, str) or not id or len(id) > 200 or not (id.isascii() or _encodes(id)):
        raise UsageError(f"{name}({id!r}, ...): the id is a text of 1 to 200 characters that UTF-8 can write")
    return id


def _encodes(text: str) -> bool:
    """False for halves of surrogate pairs: they come from undecodable file names and cannot be stored."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _optional(id: str | None, name: str) -> str | None:
    return None if id is None else _checked(id, name)


def _nothing(_: object) -> None:
    """What a call gives that only tells."""
