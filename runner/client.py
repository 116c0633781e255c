"""The client: how a service starts executions, signals them and waits for them."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeVar, Unpack, overload

from runner.app import App
from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.codec import decode, encode, roundtrip
from runner.core.retry import Duration
from runner.courier import Courier
from runner.describe import Flow, describe
from runner.durations import to_ms
from runner.endings import result_of
from runner.errors import ConfigError, UndeclaredSignal, UsageError
from runner.fsck import FsckReport, fsck
from runner.handle import Handle, Outcome
from runner.ids import check_id, id_from_key
from runner.operator import Operator
from runner.recovery import Report, recover
from runner.scheduling import Scheduling, check_due
from runner.signals import Signal, check_signal
from runner.starts import StartOptions, check_conflict, make_start
from runner.store import Store
from runner.store.demands import demands_of
from runner.store.factory import open_store
from runner.store.sealed import sealed
from runner.store.vitals import Demands, Durability
from runner.transactions import Deliver, Reception
from runner.waiting import until_ended
from runner.why import Why
from runner.why.gather import Asking
from runner.workflow import Workflow

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output

#: Executions started in one round trip by ``start_many``.
BATCH = 200


class Client(Scheduling):
    """Use as ``async with Client(app) as client:``; one per process is enough, and it is safe to share.

    ``app``: an App, or the name of one for services that do not have its code (they start and signal by name).
    ``store``/``broker``: URLs, by default from RUNNER_STORE_URL and RUNNER_BROKER_URL.
    ``durability``: ``"everysec"`` or ``"fsync"``, what the store must promise about acknowledged writes, the same in all
    processes of the namespace; ``allow_eviction``: a ``maxmemory-policy`` other than ``noeviction`` that is put up with.
    By default from RUNNER_DURABILITY and RUNNER_ALLOW_EVICTION; a Store that is passed in brings its own.
    """

    def __init__(
        self,
        app: App | str,
        store: str | Store | None = None,
        broker: str | Broker | None = None,
        *,
        durability: Durability | None = None,
        allow_eviction: str | None = None,
    ) -> None:
        self.app = app if isinstance(app, App) else App(app)
        self.store = _opened_store(store, self.app.name, demands_of(durability, allow_eviction, os.environ))
        if self.app.payload_codec is not None:
            self.store = sealed(self.store, self.app.payload_codec)
        self.broker = _opened_broker(broker, self.app.name)
        self._courier = Courier(self.store, self.broker, self.app.hooks)
        self._owns_store = store is None or isinstance(store, str)
        self._owns_broker = broker is None or isinstance(broker, str)

    async def __aenter__(self) -> Self:
        """Connects. Raises StoreUnavailable, BrokerUnavailable, or ConfigError also for a store that promises too little."""
        try:
            if self._owns_store:
                await self.store.open()
            if self._owns_broker:
                await self.broker.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back the connections that this client opened itself."""
        if self._owns_broker:
            await self.broker.close()
        if self._owns_store:
            await self.store.close()

    # -- starting ---------------------------------------------------------------------------------

    @overload
    async def start(
        self,
        workflow: Workflow[None, O],
        input: None = None,
        **options: Unpack[StartOptions],
    ) -> Handle[O]: ...
    @overload
    async def start(
        self,
        workflow: Workflow[I, O],
        input: I,
        **options: Unpack[StartOptions],
    ) -> Handle[O]: ...
    @overload
    async def start(
        self,
        workflow: str,
        input: Any = None,
        **options: Unpack[StartOptions],
    ) -> Handle[Any]: ...
    async def start(self, workflow: Any, input: Any = None, **options: Unpack[StartOptions]) -> Handle[Any]:
        """Start an execution; it will run, whatever becomes of this process from here on.

        ``id`` or ``idempotency_key``: starting again gives the same execution, without running anything, for as
        long as the execution is kept (also when it has ended). ``on_conflict="raise"``: refuse instead.
        ``timeout``: of the whole execution, from its start. ``delay``/``at``: not before then. ``attributes``: what it is
        found by in listings: texts, numbers and bools by name, 32 at most.

        Raises ConflictingStart for the same id or key with another input, UnknownWorkflow, PayloadError,
        Overloaded, StoreUnavailable (it may have started: repeat with the same key).
        """
        definition = await self._definition(workflow)
        start = make_start(definition, input, plain=isinstance(workflow, str), **options)
        (started,) = await self.store.start([start])
        check_conflict(start, started, options.get("on_conflict", "return"))
        await self.announce(started)
        return Handle(self, start.id, definition.output_type)

    @overload
    async def schedule(
        self, workflow: Workflow[None, O], input: None = None, **options: Unpack[StartOptions]
    ) -> Handle[O]: ...
    @overload
    async def schedule(self, workflow: Workflow[I, O], input: I, **options: Unpack[StartOptions]) -> Handle[O]: ...
    @overload
    async def schedule(self, workflow: str, input: Any = None, **options: Unpack[StartOptions]) -> Handle[Any]: ...
    async def schedule(self, workflow: Any, input: Any = None, **options: Unpack[StartOptions]) -> Handle[Any]:
        """One execution at a given time: ``start`` with either ``at`` or ``delay``.

        It can be waited for and cancelled from now on. Also raises UsageError for an ``at`` that is more than a minute
        past; up to then it starts at once.
        """
        check_due(options.get("at"), options.get("delay"), await self.store.now())
        handle: Handle[Any] = await self.start(workflow, input, **options)
        return handle

    async def start_many(
        self,
        workflow: Workflow[I, O] | str,
        inputs: Iterable[I],
        *,
        idempotency_keys: Sequence[str] | None = None,
        timeout: Duration | None = None,
        queue: str | None = None,
    ) -> list[Handle[O]]:
        """Start one execution per input, one round trip per batch of 200; handles in the order of the inputs.

        Not one transaction: when it raises, some may have been started (with keys, repeating is safe).
        """
        definition = await self._definition(workflow)
        items = list(inputs)
        keys: Sequence[str | None] = idempotency_keys if idempotency_keys is not None else [None] * len(items)
        if len(keys) != len(items):
            raise UsageError(f"start_many: {len(items)} inputs but {len(keys)} idempotency_keys")
        starts = [
            make_start(
                definition, item, idempotency_key=key, timeout=timeout, queue=queue, plain=isinstance(workflow, str)
            )
            for item, key in zip(items, keys, strict=True)
        ]
        for first in range(0, len(starts), BATCH):
            batch = starts[first : first + BATCH]
            answers = await self.store.start(batch)
            for start, started in zip(batch, answers, strict=True):
                check_conflict(start, started, "return")
            await self.announce(*answers)
        return [Handle(self, start.id, definition.output_type) for start in starts]

    @overload
    async def start_and_wait(
        self,
        workflow: Workflow[None, O],
        input: None = None,
        *,
        wait_timeout: Duration | None = None,
        **options: Unpack[StartOptions],
    ) -> Outcome[O]: ...
    @overload
    async def start_and_wait(
        self,
        workflow: Workflow[I, O],
        input: I,
        *,
        wait_timeout: Duration | None = None,
        **options: Unpack[StartOptions],
    ) -> Outcome[O]: ...
    @overload
    async def start_and_wait(
        self,
        workflow: str,
        input: Any = None,
        *,
        wait_timeout: Duration | None = None,
        **options: Unpack[StartOptions],
    ) -> Outcome[Any]: ...
    async def start_and_wait(
        self,
        workflow: Any,
        input: Any = None,
        *,
        wait_timeout: Duration | None = None,
        **options: Unpack[StartOptions],
    ) -> Outcome[Any]:
        """Start and wait for the result. ``wait_timeout`` bounds the waiting, ``timeout`` the execution."""
        handle: Handle[Any] = await self.start(workflow, input, **options)
        return Outcome(handle.id, await handle.result(wait_timeout))

    # -- waiting ----------------------------------------------------------------------------------

    def handle(self, execution_id: str, workflow: Workflow[Any, O] | str | None = None) -> Handle[O]:
        """A handle on an execution started elsewhere; with ``workflow`` its result is typed. Asks nothing."""
        definition = self.app.find(workflow) if isinstance(workflow, str) else workflow
        return Handle(self, check_id(execution_id), Any if definition is None else definition.output_type)

    async def wait(self, execution_id: str, timeout: Duration | None = None) -> Any:
        """The result, as soon as it is there; typed by the workflow when this client knows it.

        Raises ExecutionFailed, ExecutionCancelled, ExecutionTimedOut, CompensationFailed, WaitTimeout (the
        execution goes on), UnknownExecution.
        """
        return await self.outcome_of(execution_id, None, timeout)

    async def outcome_of(self, execution_id: str, output_type: Any, timeout: Duration | None) -> Any:
        """As ``wait``, with the result read back as ``output_type`` (None: the workflow's own)."""
        timeout_s = None if timeout is None else to_ms(timeout, what="timeout") / 1000
        execution = await until_ended(self.store, await self.execution(execution_id), timeout_s)
        if output_type is None:
            definition = self.app.find(execution.workflow, execution.version)
            output_type = Any if definition is None else definition.output_type
        return result_of(execution, output_type, self.app.errors)

    # -- reaching a running execution --------------------------------------------------------------

    async def signal(
        self, execution_id: str, signal: Signal[T] | str, payload: T, *, dedup_id: str | None = None
    ) -> bool:
        """Put a signal into the execution's inbox: it is kept until a wait consumes it.

        False, without effect, when the execution has ended. The same ``dedup_id`` again is one signal.

        Raises UnknownExecution, UndeclaredSignal, PayloadError, Overloaded, StoreUnavailable.
        """
        name = signal.name if isinstance(signal, Signal) else check_signal(signal)
        what = f"payload of signal {name!r}"
        workflow = await self._declaring(execution_id, name)
        if not isinstance(signal, str):
            encoded, _ = roundtrip(payload, signal.payload_type, what=what)
        else:
            # Plain data from a caller without the types becomes what the workflow declares.
            declared = Any if workflow is None else workflow.payload_type(name)
            encoded, _ = roundtrip(decode(encode(payload, what=what), declared, what=what), declared, what=what)
        request = secrets.token_hex(16) if dedup_id is None else id_from_key(name, dedup_id)
        return await self._deliver(
            Deliver(id=check_id(execution_id), request=request, kind="signal", name=name, payload=encoded)
        )

    async def cancel(self, execution_id: str, reason: str | None = None) -> bool:
        """Ask the execution to end: ``runner.Cancelled`` is raised once in every open await of its workflow.

        One that no worker ever had ends here and now. False, without effect, when it has ended. The first reason stays.

        Raises UnknownExecution, StoreUnavailable.
        """
        text = reason or ""
        return await self._deliver(
            Deliver(
                id=check_id(execution_id),
                request=secrets.token_hex(16),
                kind="cancel",
                name=text,
                payload=encode(text, what="reason"),
            )
        )

    async def _deliver(self, deliver: Deliver) -> bool:
        delivered = await self.store.deliver(deliver)
        if delivered.reception is Reception.UNKNOWN:
            raise self.unknown(deliver.id)
        await self.announce(delivered)
        return delivered.reception is Reception.DELIVERED

    async def _declaring(self, execution_id: str, name: str) -> Workflow[Any, Any] | None:
        """The execution's workflow, when this client knows it and any has a contract of signals."""
        if not any(workflow.signals is not None for workflow in self.app.workflows()):
            return None
        execution = await self.execution(execution_id)
        workflow = self.app.find(execution.workflow, execution.version)
        if workflow is not None and not workflow.takes(name):
            declared = ", ".join(sorted(workflow.signals or ())) or "none"
            raise UndeclaredSignal(f"workflow {workflow.name!r} does not take signal {name!r}; declared: {declared}")
        return workflow

    # -- people ------------------------------------------------------------------------------------

    @property
    def operator(self) -> Operator:
        """What a person can do to an execution that needs one."""
        return Operator(self)

    async def recover(self, *, most: int = 1_000) -> Report:
        """After a disaster: wake what is due, ready and unclaimed, or held by the dead, and carry the outbox.

        What only waits is left alone, and counted by reason, ``most`` of each status at most. A scheduler does the same
        all the time; this does not wait for one. Safe beside it and beside itself: each execution is woken once.
        """
        return await recover(self.store, self.broker, self._courier, self.app.hooks, most=most)

    async def why(self, execution_id: str) -> Why:
        """What the execution waits for, since when, what ends that, and what is wrong if something is.

        The codes of the reasons are stable: ``runner.why.ReasonCode``. It asks the store a few times, and the broker once;
        what does not answer but the store itself is told of as a reason. Raises UnknownExecution, StoreUnavailable.
        """
        why = await Asking(self.app, self.store, self.broker).why(check_id(execution_id))
        if why is None:
            raise self.unknown(execution_id)
        return why

    async def fsck(
        self, repair: bool = False, *, most: int = 1_000, progress: Callable[[float], None] | None = None
    ) -> FsckReport:
        """Check that something will move every execution on, that indexes say what records say, and that nothing is left over.

        Page by page, with everything running; ``progress`` is told the share that was looked at, 0 to 1. Of the findings
        ``most`` are kept, all are counted. ``repair``: set right what can be, with a row ``repaired`` in the trail of each
        execution; the report says how many are ``left``, and each of these findings its ``cure``. Raises StoreUnavailable.
        """
        told = progress or (lambda _: None)
        return await fsck(
            self.store, self.broker, self._courier, self.app.hooks, repair=repair, most=most, progress=told
        )

    async def describe(self, workflow: Workflow[I, O] | str, input: I | None = None) -> Flow:
        """What the workflow would do, as nodes: no step is called, nothing is stored, sent or asked of a backend.

        Without ``input`` its ``defaults`` are used, and without those a placeholder. At most 1,000 nodes; code that cannot
        go on with placeholders ends with a node ``unknown`` and the reason. See ``runner.describe``.

        Raises UnknownWorkflow for a name that this app does not have; UsageError and PayloadError as ``start``.
        """
        definition = self.app.get(workflow) if isinstance(workflow, str) else workflow
        # In a thread: code that runs for long before it asks for anything would hold up this loop.
        return await asyncio.to_thread(
            describe, definition, input, known=self.app.find, plain=isinstance(workflow, str)
        )


def _opened_store(store: str | Store | None, namespace: str, demands: Demands) -> Store:
    if store is not None and not isinstance(store, str):
        return store
    return open_store(_url(store, "RUNNER_STORE_URL", "store"), namespace=namespace, demands=demands)


def _opened_broker(broker: str | Broker | None, namespace: str) -> Broker:
    if broker is not None and not isinstance(broker, str):
        return broker
    return open_broker(_url(broker, "RUNNER_BROKER_URL", "broker"), namespace=namespace)


def _url(given: str | None, variable: str, what: str) -> str:
    url = given or os.environ.get(variable)
    if not url:
        raise ConfigError(f"no {what} is configured: pass {what}=... or set {variable}")
    return url
