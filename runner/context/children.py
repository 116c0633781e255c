"""Children, and other executions to wait for."""

from __future__ import annotations

from typing import Any, TypedDict, TypeVar, Unpack, overload

from runner.context.base import Base, checked, optional
from runner.context.child import Child, ChildStart, ParentClose, check_parent_close, start_child
from runner.core.calls import Call, Routine, asked
from runner.core.commands import WaitForEnd
from runner.core.retry import Duration
from runner.durations import to_ms
from runner.errors import UnknownWorkflow, UsageError
from runner.ids import check_id, check_name
from runner.signals import TimedOut
from runner.workflow import Workflow

I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output


class ChildOptions(TypedDict, total=False):
    """What starting a child takes beside workflow and input. See ``Context.start_child``."""

    idempotency_key: str | None
    timeout: Duration | None
    parent_close: ParentClose


class Children(Base):
    """What other executions do."""

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
        start = self._child_start(id, workflow, input, options)
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
        start = self._child_start(id, workflow, input, options, name="ctx.run_child")

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
        name = check_name(workflow, what="workflow name") if isinstance(workflow, str) else workflow.name
        command = WaitForEnd(
            id=optional(id, "ctx.wait_for_execution"),
            where=self._place("ctx.wait_for_execution"),
            execution_id=execution_id,
            workflow=name,
            output_type=Any if definition is None else definition.output_type,
            timeout_ms=None if timeout is None else to_ms(timeout, what="ctx.wait_for_execution(timeout)"),
        )
        return Call(self._replay, f"ctx.wait_for_execution({execution_id!r})", command)

    def _child_start(
        self, id: str, workflow: Any, input: Any, options: ChildOptions, *, name: str = "ctx.start_child"
    ) -> ChildStart:
        checked(id, name)
        definition = self._find(workflow)
        if definition is None:
            raise UnknownWorkflow(f"{name}({id!r}): this worker has no workflow {workflow!r}; pass the workflow itself")
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
