"""The app: a registry of workflows, steps and errors, and the namespace they live in. It opens no connection."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar, overload

from runner.attributes import Attribute, attribute_texts
from runner.calling import check_takes_one
from runner.codec import resolve_hints
from runner.context import Context
from runner.core.options import StepOptions, mark_step
from runner.core.retry import ONCE, Duration, Retry
from runner.durations import to_ms
from runner.errors import UnknownWorkflow, UsageError, qualified_name
from runner.events import OBSERVABLE, Observable
from runner.hooks import Hooks
from runner.ids import check_name, check_queue
from runner.payload_codec import PayloadCodec
from runner.signals import Event, Signal
from runner.subscription import Subscription, subscriber_name
from runner.workflow import Workflow

if TYPE_CHECKING:
    from runner.client import Client

I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output
F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound=type[Exception])
T = TypeVar("T")
R = TypeVar("R")
X = TypeVar("X", bound=Observable)

WEEK_MS = 7 * 24 * 3600 * 1000
#: Lines of an audit trail that may be kept.
MAX_AUDIT = 100_000


class _Register:
    """What ``@app.workflow(...)`` returns; the overloads tell a workflow with an input from one without."""

    def __init__(self, app: App, options: dict[str, Any]) -> None:
        self._app = app
        self._options = options

    @overload
    def __call__(self, fn: Callable[[Context, I], Awaitable[O]]) -> Workflow[I, O]: ...
    @overload
    def __call__(self, fn: Callable[[Context], Awaitable[O]]) -> Workflow[None, O]: ...
    def __call__(self, fn: Callable[..., Awaitable[Any]]) -> Workflow[Any, Any]:
        return self._app._add(fn, **self._options)  # noqa: SLF001 - one class in two parts, for the overloads


class App:
    """A registry and a namespace.

    ``App("shop")``: the name is the namespace that its executions, queues and keys live in; two apps of the
    same name share them. ``audit``: the latest so many lines of each execution's audit trail are kept, 0: none.
    ``payload_codec``: encrypts what users give, wherever it is kept or sent; to be the same in every process
    that starts, runs or reads the namespace's executions.
    """

    def __init__(self, name: str, *, audit: int = 1_000, payload_codec: PayloadCodec | None = None) -> None:
        self.payload_codec = payload_codec
        self.name = check_name(name, what="app name")
        self.audit = _checked_audit(audit)
        self.errors: dict[str, type[BaseException]] = {}
        self.hooks = Hooks()
        self._workflows: dict[tuple[str, int], Workflow[Any, Any]] = {}
        self._subscriptions: dict[str, Subscription] = {}

    # -- registering ------------------------------------------------------------------------------

    @overload
    def workflow(self, fn: Callable[[Context, I], Awaitable[O]], /) -> Workflow[I, O]: ...
    @overload
    def workflow(self, fn: Callable[[Context], Awaitable[O]], /) -> Workflow[None, O]: ...
    @overload
    def workflow(
        self,
        name: str | None = None,
        *,
        version: int = 1,
        queue: str = "default",
        category: str | None = None,
        signals: Iterable[Signal[Any]] | None = None,
        defaults: Any = None,
        timeout: Duration | None = None,
        max_attempts: int = 3,
        retry: Retry | None = None,
        attributes: Mapping[str, Attribute] | None = None,
        retention: Duration | None = None,
    ) -> _Register: ...
    def workflow(
        self,
        name: str | Callable[..., Awaitable[Any]] | None = None,
        *,
        version: int = 1,
        queue: str = "default",
        category: str | None = None,
        signals: Iterable[Signal[Any]] | None = None,
        defaults: Any = None,
        timeout: Duration | None = None,
        max_attempts: int = 3,
        retry: Retry | None = None,
        attributes: Mapping[str, Attribute] | None = None,
        retention: Duration | None = None,
    ) -> Any:
        """Register an ``async def`` that takes a Context and at most one input.

        ``name`` defaults to the function's. ``timeout`` bounds an execution from its start to its end.
        After an uncaught error the execution is attempted again, ``max_attempts`` times in all, with the
        pauses of ``retry``. ``signals``: a contract, others are refused; None: any.
        ``attributes``: what every execution begins with, to be found by. ``retention`` (7 days): how long a
        finished execution is kept.

        Raises UsageError for a second workflow of the same name and version.
        """
        register = _Register(
            self,
            {
                "name": name if isinstance(name, str) else None,
                "version": version,
                "queue": queue,
                "category": category,
                "signals": None if signals is None else {signal.name: signal.payload_type for signal in signals},
                "defaults": defaults,
                "timeout_ms": None if timeout is None else to_ms(timeout, what="timeout"),
                "max_attempts": max_attempts,
                "retry": retry or Retry(),
                "attributes": attribute_texts(attributes, what="attributes"),
                "audit": self.audit,
                "retention_ms": WEEK_MS if retention is None else to_ms(retention, what="retention"),
            },
        )
        return register if name is None or isinstance(name, str) else register(name)

    def _add(self, fn: Callable[..., Awaitable[Any]], *, name: str | None, **options: Any) -> Workflow[Any, Any]:
        name = check_name(name or fn.__name__, what="workflow name")
        if not inspect.iscoroutinefunction(fn):
            raise UsageError(f"workflow {name!r}: write it as `async def`")
        check_queue(options["queue"])
        if options["version"] < 1 or options["max_attempts"] < 1:
            raise UsageError(f"workflow {name!r}: version and max_attempts start at 1")
        key = (name, options["version"])
        if key in self._workflows:
            raise UsageError(f"workflow {name!r} version {key[1]} is registered twice: rename one or raise its version")
        hints = resolve_hints(fn)
        params = list(hints.params.items())[1:]
        if len(params) > 1:
            raise UsageError(f"workflow {name!r} takes {len(params)} inputs: put them into one dataclass")
        workflow: Workflow[Any, Any] = Workflow(
            fn=fn,
            name=name,
            takes_input=bool(params),
            input_type=params[0][1] if params else None,
            output_type=hints.returns,
            **options,
        )
        self._workflows[key] = workflow
        return workflow

    @overload
    def step(self, fn: F, /) -> F: ...
    @overload
    def step(self, /, *, retry: Retry | None = None, timeout: Duration | None = None) -> Callable[[F], F]: ...
    def step(
        self, fn: Callable[..., Any] | None = None, /, *, retry: Retry | None = None, timeout: Duration | None = None
    ) -> Any:
        """Give a function the options it runs with as a step. Optional: any callable can be a step.

        ``retry``: default one attempt. ``timeout``: of each attempt, in timedelta or seconds.
        """

        def mark(function: Callable[..., Any]) -> Callable[..., Any]:
            timeout_ms = None if timeout is None else to_ms(timeout, what="timeout")
            mark_step(function, StepOptions(retry=retry or ONCE, timeout_ms=timeout_ms))
            return function

        return mark if fn is None else mark(fn)

    def error(self, cls: E) -> E:
        """Let this exception class cross the store as itself, its fields as a payload.

        ``except CardDeclined`` then takes the same branch live and replayed. ``__init__`` is not called again.
        """
        self.errors[qualified_name(cls)] = cls
        return cls

    @overload
    def on(self, event: Event[T], *, name: str | None = None) -> Callable[[Callable[[T], R]], Callable[[T], R]]: ...
    @overload
    def on(self, event: type[X]) -> Callable[[Callable[[X], R]], Callable[[X], R]]: ...
    def on(self, event: Any, *, name: str | None = None) -> Any:
        """Call a function, async or plain, of one argument when something happens.

        An ``Event``, with its payload: in one of the processes that subscribe under ``name`` (by default the
        function's), from the first worker with this function on, at least once. What the function raises brings the
        event again, later.
        A class of ``runner.events``, with the event: in the process in which it happened, best effort, beside the work;
        what the function raises is logged.

        Raises UsageError for a second subscriber of the same name, and for what cannot be listened to.
        """

        def register(fn: Callable[[Any], R]) -> Callable[[Any], R]:
            check_takes_one(fn, what="@app.on(...)")
            if isinstance(event, Event):
                self._subscribe(Subscription(name=subscriber_name(fn, name), event=event, fn=fn))
            else:
                self.hooks.add(event, fn)
            return fn

        if not isinstance(event, Event) and not (isinstance(event, type) and issubclass(event, OBSERVABLE)):
            raise UsageError(f'@app.on({event!r:.100}): an Event("name") or a class of runner.events is needed')
        return register

    def _subscribe(self, subscription: Subscription) -> None:
        if subscription.name in self._subscriptions:
            raise UsageError(
                f"subscriber {subscription.name!r} is registered twice, and would get half of the events each time: "
                "give one another name, @app.on(..., name=...)"
            )
        self._subscriptions[subscription.name] = subscription

    # -- looking up -------------------------------------------------------------------------------

    def workflows(self) -> list[Workflow[Any, Any]]:
        """What is registered, by name and version."""
        return [self._workflows[key] for key in sorted(self._workflows)]

    def subscriptions(self) -> list[Subscription]:
        """The functions that hear emitted events, by name."""
        return [self._subscriptions[name] for name in sorted(self._subscriptions)]

    def find(self, name: str, version: int | None = None) -> Workflow[Any, Any] | None:
        """The workflow of this name and version; without a version the highest."""
        versions = [v for n, v in self._workflows if n == name] if version is None else [version]
        return self._workflows.get((name, max(versions, default=0)))

    def get(self, name: str) -> Workflow[Any, Any]:
        """The highest version of this name. Raises UnknownWorkflow, naming those that are registered."""
        workflow = self.find(name)
        if workflow is None:
            known = ", ".join(sorted({n for n, _ in self._workflows})) or "none"
            raise UnknownWorkflow(f"app {self.name!r} has no workflow {name!r}; registered: {known}")
        return workflow

    def embedded(self, store: str = "sqlite://", *, concurrency: int = 100) -> AbstractAsyncContextManager[Client]:
        """Worker, scheduler and client in this process: ``async with app.embedded() as client:``.

        ``sqlite://`` keeps everything in memory; ``sqlite:///path`` in one file that survives the process.
        """
        from runner.embedded import embedded  # noqa: PLC0415 - a producer never loads worker or scheduler

        return embedded(self, store, concurrency=concurrency)

    def __repr__(self) -> str:
        return f"App({self.name!r}, {len(self._workflows)} workflows)"


def _checked_audit(lines: int) -> int:
    if not 0 <= lines <= MAX_AUDIT:
        raise UsageError(f"App(audit={lines}): a number of lines from 0 (none) to {MAX_AUDIT:,}")
    return lines
