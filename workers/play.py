"""The workflow of one turn, as it is driven: replay, context and surroundings in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runner.attributes import attribute_texts
from runner.codec import decode
from runner.context import Context, Known
from runner.core.replay import Replay
from runner.core.rollback import rollback
from runner.errors import ForeignAwait, HistoryMismatch, PayloadError
from runner.isolation import Isolation
from runner.records import Entry, Execution
from runner.workers.journal import TurnJournal
from runner.workflow import Workflow

Drive = Callable[[], Any]


class Play:
    """Runs the workflow's code over its journal. ``permitted`` is asked before every run of it, and may raise."""

    def __init__(
        self,
        execution: Execution,
        workflow: Workflow[Any, Any],
        errors: Mapping[str, type[BaseException]],
        known: Known,
        permitted: Callable[[], None],
    ) -> None:
        self.replay = Replay(
            seed=execution.derived_from,
            started_at=execution.run_at or execution.started_at or execution.created_at,
            errors=errors,
        )
        self._execution = execution
        self._workflow = workflow
        self._known = known
        self.permitted = permitted
        self._isolation = Isolation()

    def begin(self, journal: TurnJournal) -> None:
        """Go through all that is recorded; what the code does not ask for fails it as another code's history."""
        replay = self.replay
        replay.replaying = bool(journal.entries or journal.deadlines or journal.steps)
        replay.record(journal.entries)
        self.drive(lambda: self._enter(journal.reopenings))
        replay.check_left_over(undoing=self._execution.rollback)
        self._forget_known_attributes()
        if self._execution.rollback:
            self._undo()
        elif not replay.diverged and (changed := journal.contradicted(replay.open, replay.asked)) is not None:
            replay.outcome = None
            replay.fail(HistoryMismatch(changed))
        replay.replaying = False

    def _forget_known_attributes(self) -> None:
        """Those that the code has set before are stored, unless the turn that set them did not live to see it."""
        for name, text in attribute_texts(self._execution.attributes):
            if self.replay.attributes.get(name) == text:
                del self.replay.attributes[name]

    def feed(self, entry: Entry) -> None:
        """Let one new entry enter."""
        self.replay.record([entry])
        self.drive(self.replay.run)

    def drive(self, drive: Drive) -> None:
        """Run workflow code: never on a lease that may be somebody else's."""
        self.permitted()
        self._isolation.run(drive)
        if self._isolation.abandoned:
            where = self._isolation.abandoned[0]
            self.replay.fail(
                ForeignAwait(f"asynchronous generator {where} was left unfinished: close it with contextlib.aclosing")
            )

    def close(self) -> None:
        self._isolation.run(self.replay.close)
        self._isolation.close()

    def _enter(self, opening: int = 0) -> None:
        execution, workflow = self._execution, self._workflow
        ctx = Context(
            self.replay,
            workflow,
            execution_id=execution.id,
            run=execution.run,
            attempt=execution.attempt,
            opening=opening,
            known=self._known,
        )
        arguments: tuple[Any, ...] = ()
        if workflow.takes_input:
            try:
                what = f"input of workflow {workflow.name!r}"
                arguments = (decode(execution.input, workflow.input_type, what=what),)
            except PayloadError as error:
                self.replay.fail(error)
                return
        self.replay.begin(workflow.start(ctx, *arguments))
        self.replay.run()

    def _undo(self) -> None:
        """An operator wants what is outstanding undone, and nothing else: the code is left where it stands."""
        replay = self.replay
        if not replay.diverged and len(replay.undos) < self._execution.outstanding:
            missing = (
                f"{self._execution.outstanding} steps are to be undone, the code knows how to undo {len(replay.undos)}"
            )
            replay.outcome = None
            replay.fail(HistoryMismatch(missing))
        if not replay.diverged:
            self._isolation.run(lambda: replay.leave_for(rollback(replay, replay.root, (__file__, 0))))
            self.drive(replay.run)
