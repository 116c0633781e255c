"""The turn: from a claimed history to the commit that ends it. The heart of the worker.

Replay says what is open; this performs it. One rule holds everything together: no step body is called
before all that the code has seen is committed. Between two commits results may enter the workflow early,
numbered as they will be written, so that a last step and the end it leads to travel together.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from runner.clock import StoreClock, boot_ms
from runner.codec import decode
from runner.context import Context
from runner.core.commands import Opened, Step
from runner.core.decide import Event, events
from runner.core.replay import CANCEL_ID, Replay, Returned
from runner.errors import ExecutionTimedOut, ForeignAwait, HistoryMismatch, JournalTooLarge, PayloadError
from runner.failures import Failure
from runner.isolation import Isolation
from runner.log import Logger
from runner.persistence import until_answered
from runner.records import History
from runner.store import Store
from runner.transactions import (
    Commit,
    Committed,
    End,
    Fail,
    Renewed,
    Suspend,
    Wake,
)
from runner.workers.ending import Park, ending_of
from runner.workers.journal import MAX_BYTES, MAX_ENTRIES, WARN_FULLNESS, TurnJournal
from runner.workers.leases import HeldLease
from runner.workers.performing import Performed, Performing
from runner.workers.steps import Errored, StepRunner, Succeeded, asked_delay_ms, outcome_of
from runner.workflow import Workflow

log = Logger("runner.turn")

#: A turn stays for a retry that is at most this far away, instead of suspending and being woken again.
IN_PLACE_MS = 2_000

#: A turn lets others onto the loop after this long, in ms.
BREATH_MS = 50


class LeaseLost(Exception):
    """Somebody else may own the execution now: the turn is dropped, nothing more is written."""


class Parked(Exception):
    """This code cannot replay the history: the execution is left, unchanged, for a worker that can."""


class Turn:
    """One turn of one execution: ``run`` it once."""

    def __init__(
        self,
        history: History,
        workflow: Workflow[Any, Any],
        lease: HeldLease,
        *,
        store: Store,
        steps: StepRunner,
        errors: Mapping[str, type[BaseException]],
        lease_ms: int,
    ) -> None:
        execution = history.execution
        self.execution = execution
        self._workflow = workflow
        self._lease = lease
        self._store = store
        self._errors = errors
        self._lease_ms = lease_ms
        self._journal = TurnJournal(history)
        self._clock = StoreClock(history.now)
        self._looked_at = history.now  # the store's time of the last look at the inbox
        self._commits = 0
        self._awake = asyncio.Event()
        self._news = False  # somebody said that the inbox has grown
        self._draining = False
        self._performing = Performing(steps, execution, owned=lambda: lease.trusted, on_end=self._awake.set)
        self._isolation = Isolation()
        self._replay = Replay(
            seed=f"{execution.id}#{execution.run}",
            started_at=execution.started_at or execution.created_at,
            errors=errors,
        )

    # -- told from outside ------------------------------------------------------------------------

    def poke(self, inbox: int | None = None) -> None:
        """The inbox may have grown, to ``inbox`` items when that is known."""
        if inbox is None or inbox > self._journal.seen:
            self._news = True
            self._awake.set()

    def renewed(self, lease: HeldLease, answer: Renewed) -> None:
        """The store has answered a renewal of ``lease``."""
        if lease is not self._lease:
            return
        if answer.held:
            self.poke(answer.inbox)
            self._awake.set()
        else:
            self.lose()

    def lose(self) -> None:
        """The lease is somebody else's."""
        self._lease.lost = True
        self._awake.set()

    def drain(self) -> None:
        """Start no more steps; hand the execution back when those that run are done."""
        self._draining = True
        self._awake.set()

    # -- the turn ---------------------------------------------------------------------------------

    async def run(self) -> Wake | None:
        """Drive the execution as far as it goes.

        Returns a wake when it was handed back ready: its hint should be published. Raises LeaseLost,
        or Parked. Cancelling gives the turn up: nothing more is written, the lease is still held.
        """
        try:
            self._begin()
            while True:
                await self._assured()
                await self._hear()
                self._check_waits()
                end = self._end()
                if end is not None or self._owes():
                    if (await self._commit(end)).released:
                        return None
                elif self._draining and not self._performing:
                    return await until_answered(partial(self._store.release, self._lease.id, self._lease.nonce))
                else:
                    self._start_steps()
                    await self._event()
                    await self._assured()
                    self._collect()
        finally:
            await self._close()

    def _begin(self) -> None:
        journal = self._journal
        self._replay.replaying = bool(journal.entries or journal.deadlines or journal.retries)
        self._replay.record(journal.entries)
        self._drive(self._enter)
        self._replay.replaying = False
        if journal.fullness > WARN_FULLNESS:
            log.warning("journal.filling", execution_id=self.execution.id, workflow=self.execution.workflow)

    def _enter(self) -> None:
        execution, workflow = self.execution, self._workflow
        ctx = Context(self._replay, workflow, execution_id=execution.id, run=execution.run, attempt=execution.attempt)
        arguments: tuple[Any, ...] = ()
        if workflow.takes_input:
            try:
                what = f"input of workflow {workflow.name!r}"
                arguments = (decode(execution.input, workflow.input_type, what=what),)
            except PayloadError as error:
                self._replay.fail(error)
                return
        self._replay.begin(workflow.start(ctx, *arguments))
        self._replay.run()

    def _drive(self, drive: Callable[[], Any]) -> None:
        """Run workflow code: never on a lease that may be somebody else's."""
        self._check_lease()
        self._isolation.run(drive)
        if self._isolation.abandoned:
            where = self._isolation.abandoned[0]
            self._replay.fail(
                ForeignAwait(f"asynchronous generator {where} was left unfinished: close it with contextlib.aclosing")
            )

    async def _assured(self) -> None:
        """Wait until the lease is known to be ours: after an outage it may be, though its time was over."""
        while not self._lease.trusted:
            if self._lease.lost:
                raise LeaseLost
            self._awake.clear()
            await self._awake.wait()

    def _check_waits(self) -> None:
        changed = self._journal.contradicted(self._replay.open)
        if changed is not None:
            self._replay.fail(HistoryMismatch(changed))

    def _check_lease(self) -> None:
        if not self._lease.trusted:
            raise LeaseLost

    async def _hear(self) -> None:
        """Let everything that has come about by the last look enter the workflow, one thing at a time."""
        journal, opened = self._journal, self._replay.open
        while heard := events(opened.values(), journal.deadlines, journal.unread.values(), self._looked_at):
            begun = boot_ms()
            for event in heard:
                if self._replay.outcome is not None:
                    return
                if event.id in opened or event.id == CANCEL_ID:
                    self._enter_event(event)
                if boot_ms() - begun > BREATH_MS:  # thousands may come at once: others share this loop
                    await asyncio.sleep(0)
                    begun = boot_ms()

    def _enter_event(self, event: Event) -> None:
        entry = self._journal.append(
            event.id, event.kind, event.outcome, event.payload, at=self._looked_at, consumes=event.consumes
        )
        self._replay.record([entry])
        self._drive(self._replay.run)

    async def _event(self) -> None:
        """Wait until something happens: a step ends, news, a deadline, the end of the lease."""
        # A retry that is under way is no longer waited for; nor is any while nothing is started any more.
        retries = [id for id in self._journal.retries if id not in self._performing and not self._draining]
        deadlines = (self._journal.next_deadline(retries), self.execution.deadline)
        nearest = min((moment for moment in deadlines if moment is not None), default=None)
        timeout_s = None if nearest is None else max(nearest - self._clock.now(), 0) / 1000 + 0.001
        try:
            async with asyncio.timeout(timeout_s):
                await self._awake.wait()
        except TimeoutError:
            pass
        self._awake.clear()
        if self._lease.lost:
            raise LeaseLost

    async def _close(self) -> None:
        self._isolation.run(self._replay.close)
        self._isolation.close()
        await self._performing.close()

    # -- writing ----------------------------------------------------------------------------------

    def _end(self) -> End | None:
        """The end to commit, or None while there is something left to do in this turn."""
        if self.execution.deadline is not None and self._clock.now() >= self.execution.deadline:
            return Fail(error=_timed_out(self.execution.id))
        if self._journal.fullness > 1 and not isinstance(self._replay.outcome, Returned):
            return Fail(error=_too_large())
        if self._replay.outcome is None:
            return None if self._busy() else Suspend()
        end = ending_of(
            self._replay.outcome,
            workflow=self._workflow,
            execution=self.execution,
            cancelled=self._replay.cancelled,
            errors=self._errors,
            chance=random.random(),  # noqa: S311 - jitter
        )
        if isinstance(end, Park):
            raise Parked(end.reason)
        return end

    def _busy(self) -> bool:
        within = self._journal.retries_within(IN_PLACE_MS, self._clock.now())
        return bool(self._performing or within or self._startable())

    def _owes(self) -> bool:
        """True when the store must hear something, or be asked, before the turn goes on."""
        journal = self._journal
        opened = self._replay.open
        if self._news or journal.unwritten or journal.new_waits(opened.values()) or journal.stale_waits(opened):
            return True
        now = self._clock.now()
        return any(moment is not None and self._looked_at <= moment < now for moment in journal.deadlines.values())

    async def _commit(self, end: End | None) -> Committed:
        journal = self._journal
        opened = list(self._replay.open.values()) if self._replay.outcome is None else []
        closes = journal.stale_waits(one.id for one in opened)
        self._commits += 1
        commit = Commit(
            id=self._lease.id,
            nonce=self._lease.nonce,
            count=self._commits,
            lease_ms=self._lease_ms,
            seen=journal.seen,
            entries=tuple(journal.unwritten),
            opens=tuple(journal.new_waits(opened)),
            closes=tuple(closes),
            end=end,
        )
        self._news = False
        committed = await until_answered(partial(self._committed, commit))
        if committed is None:
            raise LeaseLost
        self._clock.heard(committed.now)
        self._looked_at = max(self._looked_at, committed.now)
        journal.written(committed, closes)
        return committed

    async def _committed(self, commit: Commit) -> Committed | None:
        """Ask once. A repeated commit extends the lease as well, so its time counts from the question answered."""
        asked_at = boot_ms()
        committed = await self._store.commit(commit)
        if committed is not None:
            self._lease.extended(asked_at)
        return committed

    # -- steps ------------------------------------------------------------------------------------

    def _startable(self) -> list[tuple[Opened, Step]]:
        """Open steps that nothing keeps from being called now."""
        now = self._clock.now()
        return [
            (one, one.command)
            for one in self._replay.open.values()
            if isinstance(one.command, Step) and one.id not in self._performing and self._journal.may_start(one.id, now)
        ]

    def _start_steps(self) -> None:
        self._performing.keep(self._replay.open)
        if self._draining:
            return
        for opened, command in self._startable():
            self._check_lease()
            attempt = self._journal.attempts(opened.id) + 1
            self._performing.start(opened, command, attempt=attempt, now=self._clock.now())

    def _collect(self) -> None:
        """Let what the ended attempts brought enter the workflow."""
        for performed in self._performing.ended():
            if performed.opened.id not in self._replay.open:
                continue  # its branch ended meanwhile: the result is not recorded
            match performed.attempt:
                case Succeeded(payload=payload):
                    self._record(performed, "ok", payload)
                case Errored(error=error):
                    self._failed(performed, error)

    def _failed(self, performed: Performed, error: BaseException) -> None:
        opened, attempt = performed.opened, performed.step.attempt
        command = opened.command
        assert isinstance(command, Step)  # noqa: S101 - only steps are performed
        outcome = outcome_of(error)
        failure = Failure.of(error, known=self._errors, step=opened.id, attempts=attempt)
        said = f"{failure.type}: {failure.message}"
        again = outcome != "refused" and command.retry.retries(error, attempt)
        log.warning(
            "step.failed",
            step=opened.id,
            attempt=attempt,
            again=again,
            error=said,
            execution_id=self.execution.id,
            workflow=self.execution.workflow,
        )
        if not again:
            self._record(performed, outcome, failure.pack())
            return
        asked_ms = asked_delay_ms(error)
        delay_ms = command.retry.delay_ms(attempt, random.random()) if asked_ms is None else asked_ms  # noqa: S311
        self._journal.retry(opened.id, attempts=attempt, after_ms=delay_ms, error=said[:500])

    def _record(self, performed: Performed, outcome: str, payload: bytes) -> None:
        entry = self._journal.append(
            performed.opened.id,
            "step",
            outcome,
            payload,
            at=self._clock.now(),
            attempts=performed.step.attempt,
            started_at=performed.started_at,
        )
        self._replay.record([entry])
        self._drive(self._replay.run)


def _too_large() -> bytes:
    error = JournalTooLarge(
        f"more than {MAX_ENTRIES:,} entries or {MAX_BYTES // 1024**2} MiB are recorded: "
        "split the work over several executions"
    )
    return Failure.of(error, known={}, attempts=1).pack()


def _timed_out(execution_id: str) -> bytes:
    error = ExecutionTimedOut("its deadline has passed", execution_id=execution_id)
    return Failure.of(error, known={}, attempts=1).pack()
