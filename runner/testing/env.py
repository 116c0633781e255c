"""The test environment: the real worker on an embedded store and broker, with time that skips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Protocol, Self

from runner.app import App
from runner.client import Client
from runner.core.retry import Duration
from runner.durations import to_moment_ms, to_ms
from runner.endings import result_of
from runner.errors import ExecutionEnded, PayloadError
from runner.handle import Handle
from runner.records import Entry, Execution, History
from runner.signals import Signal
from runner.testing.broker import QUEUE, KitBroker
from runner.testing.calls import Call, Named, names
from runner.testing.client import KitClient
from runner.testing.clock import SkipClock
from runner.testing.endings import Ending
from runner.testing.faults import ALWAYS, Fault, Faults, When
from runner.testing.pace import Pace
from runner.testing.steps import KitSteps
from runner.testing.store import KitStore
from runner.transactions import Commit, Committed
from runner.workers import Worker, WorkerOptions
from runner.workers.steps import AttemptTimedOut

#: A signal, or its name, and a payload.
Sent = tuple[Signal[Any] | str, Any]

#: No lease runs out by itself, however far time is moved.
LEASE_S = 100 * 365 * 24 * 3600.0
#: Whatever still runs when a test is over is cut off.
GRACE_S = 0.2


class RunnerEnv(Protocol):
    """The pytest fixture ``runner_env``: ``env = await runner_env(app)``, closed when the test is over."""

    async def __call__(
        self,
        app: App,
        *,
        now: datetime | None = None,
        auto_skip: bool = True,
        strict: bool = True,
        patience_s: float = 5.0,
    ) -> TestEnv:
        """The options are those of ``TestEnv``."""
        ...


class TestEnv:
    """``async with TestEnv(app) as env:`` an app as in production, in memory, with time that skips.

    Time stands still while code runs. Waiting for a result moves it to whatever is due next (``auto_skip=False``:
    only ``advance`` moves it). ``now``: when it begins, by default the real time. ``patience_s``: waiting for a result
    that only the test itself can bring about raises Stuck after so many real seconds. ``strict``: leaving raises
    AssertionError when a planned crash, failure or cancel never came about, for then it was not tested.
    """

    __test__: ClassVar = False  # no test, whatever its name says

    def __init__(
        self,
        app: App,
        *,
        now: datetime | None = None,
        auto_skip: bool = True,
        strict: bool = True,
        patience_s: float = 5.0,
    ) -> None:
        self._app = app
        self._strict = strict
        begins = datetime.now(UTC) if now is None else now
        self._clock = SkipClock(to_moment_ms(begins, what="TestEnv(now)"))
        self._faults = Faults()
        self._steps = KitSteps(self._faults, self._die)
        self._store = KitStore(app.name, self._clock, self._watch, self._faults.doubles)
        self._broker = KitBroker(app.name)
        self._pace = Pace(self._store, self._broker, self._clock, self._steps, app.hooks)
        options = WorkerOptions(
            queues=(QUEUE,), lease_s=LEASE_S, in_place_s=0, grace_s=GRACE_S, watch_loop=False, concurrency=1_000
        )
        self._worker = Worker(app, self._store, self._broker, options, steps=self._steps, ticks=self._clock)
        skipping = KitClient(app, self._store, self._broker, self._pace, self._clock, patience_s=patience_s)
        self._kit_client = skipping
        self.client: Client = skipping if auto_skip else Client(app, self._store, self._broker)
        self.recorded: list[
            tuple[str, Entry]
        ] = []  # every entry of every journal, with its execution, as it was written
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._store.open()
        self._stack.push_async_callback(self._store.close)
        await self._broker.open()
        self._stack.push_async_callback(self._broker.close)
        await self._stack.enter_async_context(self._worker)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._stack.aclose()
        missed = self._faults.missed()
        if self._strict and missed and kind is None:
            raise AssertionError(f"never came about: {'; '.join(map(str, missed))}")

    # -- time -------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time, as the store and every ``ctx.now()`` see it."""
        return self._clock.now

    async def advance(
        self,
        duration: Duration = 0.0,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> None:
        """Move time on. Everything that is due on the way happens at its time, one after the other."""
        more = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        await self._pace.advance(to_ms(duration, what="advance(duration)") + to_ms(more, what="advance"))

    async def settle(self) -> None:
        """Wait until everything that is ready has been worked off. Time does not move."""
        await self._pace.settle()

    async def skip(self) -> bool:
        """Move time to whatever is due next, and work it off; False when nothing is."""
        return await self._pace.skip()

    async def ending(self, execution: Handle[Any] | str, *, signals: Sequence[Sent] = ()) -> Ending:
        """How an execution ended, once nothing more happens to it by itself: raises nothing for a bad end.

        ``signals``: pairs of a signal and its payload; each is sent as soon as the execution waits for it.
        """
        id = execution if isinstance(execution, str) else execution.id
        unsent = list(signals)
        while True:
            history = await self._kit_client.at_rest(id)
            record = history.execution
            if record.status.terminal or record.passed:
                return self._ending(record)
            if (wanted := _wanted(unsent, history)) is not None:
                await self.client.signal(id, *unsent.pop(wanted))
            elif not await self._pace.skip():
                return self._ending(record)

    def _ending(self, record: Execution) -> Ending:
        if not record.status.terminal:
            return Ending(env=self, execution=record)
        workflow = self._app.find(record.workflow, record.version)
        try:
            value = result_of(record, Any if workflow is None else workflow.output_type, self._app.errors)
        except (ExecutionEnded, PayloadError) as error:
            return Ending(env=self, execution=record, error=error)
        return Ending(env=self, execution=record, result=value)

    # -- steps ------------------------------------------------------------------------------------

    def stub(self, step: Named, value: Any) -> None:
        """Put something in the place of a step's body, in this environment only.

        ``step``: the function, or the id of a call of it. ``value``: a function (called with the step's arguments, on the
        loop; it may be async), an exception to be raised, or what the step returns.
        """
        self._steps.stub(step, value)

    def calls(self, step: Named | None = None) -> tuple[Call, ...]:
        """The calls of a step's body so far, in order: by function, by id, or all of them.

        An id also finds calls from inside a ``ctx.map``: ``charge`` finds ``fan[3]/charge``.
        """
        return tuple(call for call in self._steps.calls if step is None or names(step, call.step, call.fn))

    # -- faults -----------------------------------------------------------------------------------

    def crash_at(self, where: Named, when: When = "after_effect", *, times: int = 1) -> None:
        """Let the worker die there, ``times`` times; a crash is counted, and another worker goes on.

        ``before_effect``: the body is not called. ``after_effect``: it has run, its result is lost. ``after_commit``: its
        result is recorded. ``where``: a step's function or id, or the id of any other journal entry, which knows only
        ``after_commit`` (an unnamed sleep is ``__sleep:1``).
        """
        self._faults.plan(Fault("crash", where, when, times))

    def fail_at(
        self,
        step: Named,
        error: BaseException | None = None,
        *,
        when: When = "before_effect",
        times: int | None = None,
    ) -> None:
        """Let attempts of a step fail: ``times`` of them, or all (None). ``after_effect``: the body has run all the same."""
        self._faults.plan(Fault("fail", step, when, ALWAYS if times is None else times, error))

    def time_out_at(self, step: Named, *, times: int | None = None) -> None:
        """Let attempts of a step run over its timeout: ``times`` of them, or all (None). It takes no time."""
        error = AttemptTimedOut("ran over its timeout, as the test wants it")
        self._faults.plan(Fault("fail", step, "before_effect", ALWAYS if times is None else times, error))

    def cancel_at(self, where: Named) -> None:
        """Cancel the execution as soon as the journal has this entry: a step by its function or id, anything by its id."""
        self._faults.plan(Fault("cancel", where, "after_commit", 1))

    def double_signal(self, signal: Signal[Any] | str) -> None:
        """Have every signal of this name delivered twice, as by a sender that did not hear its first answer."""
        self._faults.double(signal.name if isinstance(signal, Signal) else signal)

    # -- inside -----------------------------------------------------------------------------------

    def _die(self, execution_id: str) -> None:
        self._worker.drop(execution_id)
        self._pace.reclaim(execution_id)

    async def _watch(self, commit: Commit, committed: Committed) -> bool:
        """Called after every commit: what is to go wrong now does. True: the worker has died."""
        died = False
        for entry in commit.entries:
            self.recorded.append((commit.id, entry))
            while fault := self._faults.take("after_commit", entry.id, self._body_of(commit.id, entry.id)):
                if fault.what == "cancel":
                    await self.client.cancel(commit.id, "by the test")
                else:
                    died = True
                    break
        if died:
            await self._died(commit, committed)
        return died

    async def _died(self, commit: Commit, committed: Committed) -> None:
        if committed.released:  # it held nothing any more
            await self._pace.publish([committed.wake])
        else:
            self._die(commit.id)

    def _body_of(self, execution_id: str, id: str) -> Callable[..., Any] | None:
        return self._steps.body_of(execution_id, id)


def _wanted(unsent: Sequence[Sent], history: History) -> int | None:
    """The first of the signals that the execution waits for."""
    awaited = {wait.name for wait in history.waits if wait.kind == "signal"}
    for index, (signal, _) in enumerate(unsent):
        if (signal.name if isinstance(signal, Signal) else signal) in awaited:
            return index
    return None
