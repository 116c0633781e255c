"""The steps of one turn: which may be called, and what becomes of each attempt."""

from __future__ import annotations

import random
from collections.abc import Mapping

from runner.clock import StoreClock
from runner.core.commands import Opened, Step
from runner.failures import Failure
from runner.log import Logger
from runner.records import Execution, Try, pack_tries
from runner.workers.attempts import Again, Final, after_failure
from runner.workers.journal import TurnJournal
from runner.workers.performing import Performed, Performing
from runner.workers.play import Play
from runner.workers.steps import Errored, Succeeded

log = Logger("runner.turn")

#: What running steps say of themselves is stored this often at most, in ms.
BEAT_MS = 1_000


class Stepping:
    """Starts the steps that the code has open, and records what they bring."""

    def __init__(
        self,
        execution: Execution,
        performing: Performing,
        journal: TurnJournal,
        play: Play,
        *,
        worker: str,
        clock: StoreClock,
        errors: Mapping[str, type[BaseException]],
    ) -> None:
        self.performing = performing
        self._execution = execution
        self._worker = worker
        self._journal = journal
        self._play = play
        self._clock = clock
        self._errors = errors
        self._beat_at = 0

    # -- starting ---------------------------------------------------------------------------------

    def startable(self) -> list[tuple[Opened, Step]]:
        """Open steps that nothing keeps from being called now."""
        now = self._clock.now()
        return [
            (one, one.command)
            for one in self._play.replay.open.values()
            if isinstance(one.command, Step) and one.id not in self.performing and self._journal.may_start(one.id, now)
        ]

    def start(self, *, draining: bool) -> None:
        """Call them; stop those that nobody waits for any more."""
        self.performing.keep(self._play.replay.open)
        if draining:
            return
        for opened, command in self.startable():
            self._play.permitted()
            self.performing.start(
                opened,
                command,
                attempt=self._journal.attempts(opened.id) + 1,
                now=self._clock.now(),
                beat=self._journal.state(opened.id).beat,
            )

    def paused(self) -> list[str]:
        """The steps that wait for their next attempt: one that is under way is no longer waited for."""
        return [id for id in self._journal.steps if id not in self.performing]

    # -- what running steps say -------------------------------------------------------------------

    @property
    def next_pulse(self) -> int | None:
        """When what they have said may be stored; None when they have said nothing."""
        return self._beat_at if self.performing.pulses else None

    def take_pulses(self) -> None:
        """Have it stored with the next commit, if it is time."""
        pulses, now = self.performing.pulses, self._clock.now()
        if pulses and now >= self._beat_at:
            self._beat_at = now + BEAT_MS
            for id, running in pulses.items():
                self._journal.beat(id, running.step.pulse, began=running.started_at)
            pulses.clear()

    # -- what they bring --------------------------------------------------------------------------

    def collect(self) -> None:
        """Let what the ended attempts brought enter the workflow."""
        for performed in self.performing.ended():
            if performed.opened.id not in self._play.replay.open:
                continue  # its branch ended meanwhile: the result is not recorded
            match performed.attempt:
                case Succeeded(payload=payload):
                    self._record(performed, "ok", payload)
                case Errored(error=error):
                    self._failed(performed, error)

    def _failed(self, performed: Performed, error: BaseException) -> None:
        opened, attempt, now = performed.opened, performed.step.attempt, self._clock.now()
        command = opened.command
        assert isinstance(command, Step)  # noqa: S101 - only steps are performed
        if performed.step.pulse.beat is not None:  # said last, and the next attempt's, though it was not stored
            self._journal.beat(opened.id, performed.step.pulse, began=performed.started_at)
        began = self._journal.state(opened.id).first_at or performed.started_at
        after = after_failure(error, command, attempt=attempt, elapsed_ms=now - began, chance=random.random())  # noqa: S311
        failure = Failure.of(error, known=self._errors, step=opened.id, attempts=attempt)
        said = f"{failure.type}: {failure.message}"[:500]
        self._log(opened.id, attempt, said, again=isinstance(after, Again))
        match after:
            case Final(outcome=outcome):
                self._record(performed, outcome, failure.pack())
            case Again(after_ms=after_ms):
                started_at = performed.started_at
                failed = Try(attempt=attempt, started_at=started_at, ended_at=now, worker=self._worker, error=said)
                self._journal.retry(opened.id, failed, began=began, after_ms=after_ms)

    def _record(self, performed: Performed, outcome: str, payload: bytes) -> None:
        opened = performed.opened
        entry = self._journal.append(
            opened.id,
            opened.command.kind,
            outcome,
            payload,
            at=self._clock.now(),
            attempts=performed.step.attempt,
            started_at=performed.started_at,
            tries=pack_tries(self._journal.state(opened.id).tries),
        )
        self._play.feed(entry)

    def _log(self, step: str, attempt: int, error: str, *, again: bool) -> None:
        log.warning(
            "step.failed",
            step=step,
            attempt=attempt,
            again=again,
            error=error,
            execution_id=self._execution.id,
            workflow=self._execution.workflow,
        )
