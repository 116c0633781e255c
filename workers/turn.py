"""The turn: from a claimed history to the commit that ends it. The heart of the worker.

Replay says what is open; this performs it. One rule holds everything together: no step body is called
before all that the code has seen is committed. Between two commits results may enter the workflow early,
numbered as they will be written, so that a last step and the end it leads to travel together.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from runner import audit
from runner.clock import StoreClock, Ticks, boot_ms
from runner.context import Known
from runner.core.anew import mark, tried_anew
from runner.core.branches import Returned
from runner.core.commands import Decision, Opened
from runner.core.decide import Event
from runner.core.limits import MAX_BYTES, MAX_ENTRIES, WARN_FULLNESS
from runner.core.replay import CANCEL_ID, Continued, RollbackFailed
from runner.detail import reached
from runner.errors import ExecutionTimedOut, JournalTooLarge
from runner.failures import Failure
from runner.log import Logger
from runner.persistence import until_answered
from runner.records import Entry, History
from runner.store import Store
from runner.transactions import (
    Commit,
    Committed,
    Complete,
    End,
    Fail,
    Renewed,
    RetryAttempt,
    Suspend,
    Wake,
)
from runner.workers.ending import Park, Situation, ending_of
from runner.workers.journal import WAY_OUT, TurnJournal
from runner.workers.leases import HeldLease
from runner.workers.performing import Performing
from runner.workers.play import Play
from runner.workers.stepping import Stepping
from runner.workers.steps import StepRunner
from runner.workflow import Workflow

log = Logger("runner.turn")

#: A turn lets others onto the loop after this long, in ms.
BREATH_MS = 50


class LeaseLost(Exception):
    """Somebody else may own the execution now: the turn is dropped, nothing more is written."""


class Parked(Exception):
    """This code cannot replay the history: the execution is left, unchanged, for a worker that can."""


class Turn:
    """One turn of one execution: ``run`` it once.

    ``in_place_ms``: it stays for a retry of a step that is at most so far away, instead of suspending and being woken
    again. ``ticks``: the clock that measures how long ago the store told its time.
    ``told`` is given every answer to a commit: what it put into the outbox is to be sent on, what it added to the
    audit trail to be observed.
    """

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
        in_place_ms: int = 2_000,
        ticks: Ticks = boot_ms,
        worker: str = "",
        known: Known = lambda _: None,
        told: Callable[[Committed], None] = lambda _: None,
    ) -> None:
        execution = history.execution
        self.execution = execution
        self._workflow = workflow
        self._lease = lease
        self._store = store
        self._errors = errors
        self._lease_ms = lease_ms
        self._in_place_ms = in_place_ms
        self._worker = worker
        self._told = told
        self._journal = TurnJournal(history)
        self._clock = StoreClock(history.now, ticks)
        self._looked_at = history.now  # the store's time of the last look at the inbox
        self._commits = 0
        self._awake = asyncio.Event()
        self._news = False  # somebody said that the inbox has grown
        self._draining = False
        self._play = Play(execution, workflow, errors, known, self._check_lease)
        self._replay = self._play.replay
        performing = Performing(steps, execution, owned=lambda: lease.trusted, on_end=self._awake.set)
        self._stepping = Stepping(
            execution, performing, self._journal, self._play, worker=worker, clock=self._clock, errors=errors
        )

    @property
    def reached(self) -> str:
        """How far it has come, for whoever has to say that it broke."""
        return reached((*self._journal.entries, *self._journal.written_now))

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

        Returns a wake when it is ready again (handed back, or in its next run): its hint should be published.
        Raises LeaseLost, or Parked. Cancelling gives the turn up: nothing more is written, the lease is still held.
        """
        try:
            self._begin()
            while True:
                await self._assured()
                await self._hear()
                end = self._end()
                if end is not None or self._owes():
                    committed = await self._commit(end)
                    if committed.released:
                        return committed.wake
                elif self._draining and not self._stepping.performing:
                    return await until_answered(partial(self._store.release, self._lease.id, self._lease.nonce))
                else:
                    self._stepping.start(draining=self._draining)
                    await self._event()
                    await self._assured()
                    self._stepping.collect()
        finally:
            await self._close()

    def _begin(self) -> None:
        self._play.begin(self._journal)
        if self._journal.fullness > WARN_FULLNESS:
            log.warning("journal.filling", execution_id=self.execution.id, workflow=self.execution.workflow)

    async def _assured(self) -> None:
        """Wait until the lease is known to be ours: after an outage it may be, though its time was over."""
        while not self._lease.trusted:
            if self._lease.lost:
                raise LeaseLost
            self._awake.clear()
            await self._awake.wait()

    def _check_lease(self) -> None:
        if not self._lease.trusted:
            raise LeaseLost

    async def _hear(self) -> None:
        """Let everything that has come about by the last look enter the workflow, one thing at a time."""
        journal, opened = self._journal, self._replay.open
        await self._settle()
        while heard := journal.come_about(opened.values(), self._looked_at):
            begun = boot_ms()
            for event in heard:
                if self._replay.outcome is not None:
                    return
                if event.id not in opened and event.id != CANCEL_ID:
                    break  # what it brought is another wait's now: choose anew
                self._play.feed(self._entry_of(event))
                await self._settle()
                begun = await self._breathed(begun)

    def _entry_of(self, event: Event) -> Entry:
        return self._journal.append(
            event.id, event.kind, event.outcome, event.payload, at=self._looked_at, consumes=event.consumes
        )

    async def _settle(self) -> None:
        """Record what the code has decided, at once and one by one, so that it can go on from there."""
        replay, journal = self._replay, self._journal
        begun = boot_ms()
        while True:
            for patch in replay.patches:
                journal.append(patch, "patch", "ok", b"", at=self._clock.now())
            replay.patches.clear()
            if not replay.undecided or replay.outcome is not None or self._is_full():
                return
            opened = replay.undecided.popleft()
            if opened.id in replay.open and isinstance(opened.command, Decision):
                self._play.feed(journal.decide(opened, opened.command, at=self._clock.now()))
            begun = await self._breathed(begun)

    async def _breathed(self, begun: int) -> int:
        """Thousands of things may come at once: others share this loop."""
        if boot_ms() - begun <= BREATH_MS:
            return begun
        await asyncio.sleep(0)
        return boot_ms()

    async def _event(self) -> None:
        """Wait until something happens: a step ends, news, a deadline, the end of the lease."""
        # Nothing is started any more while draining: then no retry is waited for.
        retries = () if self._draining else self._stepping.paused()
        deadlines = (self._journal.next_deadline(retries), self.execution.deadline, self._stepping.next_pulse)
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
        self._play.close()
        await self._stepping.performing.close()

    # -- writing ----------------------------------------------------------------------------------

    def _end(self) -> End | None:
        """The end to commit, or None while there is something left to do in this turn."""
        if self.execution.deadline is not None and self._clock.now() >= self.execution.deadline:
            return Fail(error=_timed_out(self.execution.id))
        if self._is_full() and not isinstance(self._replay.outcome, Returned | Continued | RollbackFailed):
            return Fail(error=_too_large())
        if self._replay.outcome is None:
            return None if self._busy() else Suspend()
        end = ending_of(self._replay.outcome, self._situation())
        if isinstance(end, Park):
            raise Parked(end.reason)
        return self._marked(end) if isinstance(end, RetryAttempt) else end

    def _is_full(self) -> bool:
        """What undoes or ends the execution may go beyond the limit: there must be a way out of it."""
        leaving = self._replay.cancelled or self._journal.rolled_back or self.execution.rollback
        return self._journal.fullness > (WAY_OUT if leaving else 1)

    def _situation(self) -> Situation:
        return Situation(
            workflow=self._workflow,
            execution=self.execution,
            errors=self._errors,
            cancelled=self._replay.cancelled,
            rolled_back=self._journal.rolled_back,
            began=self._journal.reopened_at,
            unread=tuple(index for index, item in self._journal.unread.items() if item.kind != "ended"),
            now=self._clock.now(),
            chance=random.random(),  # noqa: S311 - jitter
        )

    def _marked(self, end: RetryAttempt) -> RetryAttempt:
        """Where one attempt ends and the next begins is a line of the journal."""
        journal = self._journal
        entries = (*journal.entries, *journal.written_now)
        if not any(entry.kind == "attempt" for entry in journal.written_now):
            made = mark(entries, error=end.error, attempt=self.execution.attempt, at=self._clock.now())
            journal.append(made.id, made.kind, made.outcome, made.payload, at=made.at, attempts=made.attempts)
        return replace(end, drop=tried_anew(end.drop, entries))

    def _busy(self) -> bool:
        within = self._journal.retries_within(self._in_place_ms, self._clock.now())
        return bool(self._stepping.performing or within or self._stepping.startable())

    def _owes(self) -> bool:
        """True when the store must hear something, or be asked, before the turn goes on."""
        journal = self._journal
        opened = self._replay.open
        self._stepping.take_pulses()
        if self._news or self._replay.attributes or journal.unwritten:
            return True
        if journal.new_waits(opened.values()) or journal.stale_waits(opened):
            return True
        now = self._clock.now()
        return any(moment is not None and self._looked_at <= moment < now for moment in journal.deadlines.values())

    async def _commit(self, end: End | None) -> Committed:
        journal = self._journal
        opened = list(self._replay.open.values()) if self._replay.outcome is None else []
        closes = journal.stale_waits(one.id for one in opened)
        self._commits += 1
        commit = self._written(end, opened, closes)
        self._news = False
        committed = await until_answered(partial(self._committed, commit))
        if committed is None:
            raise LeaseLost
        self._clock.heard(committed.now)
        self._looked_at = max(self._looked_at, committed.now)
        self._replay.attributes.clear()
        journal.written(committed, closes)
        self._told(committed)
        return committed

    def _written(self, end: End | None, opened: list[Opened], closes: list[str]) -> Commit:
        journal = self._journal
        entries, opens = tuple(journal.unwritten), tuple(journal.new_waits(opened))
        journal.names.update({one.id: one.name for one in opens})
        return Commit(
            id=self._lease.id,
            nonce=self._lease.nonce,
            count=self._commits,
            lease_ms=self._lease_ms,
            # A cancel that has come is no cancel yet for code that was at its end before it heard of it.
            seen=journal.heard if isinstance(end, Complete) else journal.seen,
            entries=entries,
            opens=opens,
            closes=tuple(closes),
            outgoing=(*journal.outgoing, *journal.follows(opened)),
            children=tuple(journal.children),
            attributes=tuple(sorted(self._replay.attributes.items())),
            outstanding=len(self._replay.undos),
            audit=audit.rows(
                self.execution.id,
                self._worker,
                entries,
                opens,
                now=self._clock.now(),
                names=journal.names,
                end=end,
                run=self.execution.run,
            ),
            end=end,
        )

    async def _committed(self, commit: Commit) -> Committed | None:
        """Ask once. A repeated commit extends the lease as well, so its time counts from the question answered."""
        asked_at = boot_ms()
        committed = await self._store.commit(commit)
        if committed is not None:
            self._lease.extended(asked_at)
        return committed


def _too_large() -> bytes:
    error = JournalTooLarge(
        f"more than {MAX_ENTRIES:,} entries or {MAX_BYTES // 1024**2} MiB are recorded: "
        "split the work over several executions"
    )
    return Failure.of(error, known={}, attempts=1).pack()


def _timed_out(execution_id: str) -> bytes:
    error = ExecutionTimedOut("its deadline has passed", execution_id=execution_id)
    return Failure.of(error, known={}, attempts=1).pack()
