"""``async with ctx.saga():`` undoes what its body has done when the body does not come to its end."""

from __future__ import annotations

from types import TracebackType

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
