"""Undoing: by hand, or by a saga whose body does not come to its end."""

from __future__ import annotations

from types import TracebackType

from runner.context.base import Base
from runner.core.calls import Call, Routine
from runner.core.commands import Place
from runner.core.replay import Replay
from runner.core.rollback import rollback
from runner.core.undo import Scope


class Saga:
    """A scope of compensations: they are run, latest first, when an exception (a cancel included) leaves it.

    After a good end they belong to whatever the saga stood in. What decides is the driver's state, never the kind of
    exception: a turn that ends inside is no failure, and the saga goes on in the next.
    """

    def __init__(self, replay: Replay, where: Place) -> None:
        self._replay = replay
        self._where = where
        self._scope: Scope | None = None

    async def __aenter__(self) -> None:
        branch = self._replay.current
        if branch is not None:
            self._scope = branch.scope = Scope(branch.scope)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        branch, scope = self._replay.current, self._scope
        if self._replay.closing or branch is None or scope is None or scope.around is None:
            return
        branch.scope = scope.around
        if error is not None:
            await rollback(self._replay, scope, self._where)


class Undoing(Base):
    """What is taken back."""

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
