"""What every part of the context stands on: the replay, the user's place in the code, ids that fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Never
from uuid import UUID

from runner.context.child import Parent
from runner.core.branches import Branch
from runner.core.commands import Place
from runner.core.places import caller
from runner.core.replay import Replay
from runner.errors import MisplacedCall, UsageError
from runner.log import WorkflowLog
from runner.workflow import Workflow

#: Where workflows are found by name: the app's registry.
Known = Callable[[str], "Workflow[Any, Any] | None"]


class Base:
    """What a workflow knows of itself."""

    def __init__(
        self,
        replay: Replay,
        workflow: Workflow[Any, Any],
        *,
        execution_id: str,
        run: int,
        attempt: int,
        opening: int = 0,
        known: Known = lambda _: None,
    ) -> None:
        self._replay = replay
        self._definition = workflow
        self._known = known
        self._parent = Parent(execution_id=execution_id, run=run, attempt=attempt, opening=opening)
        self.execution_id = execution_id
        self.workflow = workflow.name
        self.run = run
        self.attempt = attempt
        self.log = WorkflowLog(
            lambda: replay.replaying or replay.closing, execution_id=execution_id, workflow=workflow.name
        )

    @property
    def replaying(self) -> bool:
        """True while code runs that a former turn has been through already."""
        return self._replay.replaying

    # -- what is the same on every replay --------------------------------------------------------

    def now(self) -> datetime:
        """The store's time of the last thing that reached this branch: the same on every replay."""
        return datetime.fromtimestamp(self._branch("ctx.now").now / 1000, UTC)

    def uuid(self) -> UUID:
        """A fresh id that every replay of this run derives alike."""
        return UUID(bytes=self._branch("ctx.uuid").derive(self._replay.seed, "uuid")[:16], version=4)

    def random(self) -> float:
        """A number in [0, 1) that every replay of this run derives alike."""
        derived = self._branch("ctx.random").derive(self._replay.seed, "random")
        return (int.from_bytes(derived[:8], "big") >> 11) / (1 << 53)

    def _branch(self, name: str) -> Branch:
        current = self._replay.current
        if current is None:
            _misplaced(name)
        return current

    def _place(self, name: str) -> Place:
        """The user's line that makes the call: two frames above."""
        if self._replay.current is None and not self._replay.closing:
            _misplaced(name)
        return caller(2)


def _misplaced(name: str) -> Never:
    raise MisplacedCall(
        f"{name} was called outside workflow code (a step body, a thread or a former turn): "
        "a step does its work and returns; only the workflow function calls ctx"
    )


def checked(id: object, name: str) -> str:
    if not isinstance(id, str) or not id or len(id) > 200 or not writable(id):
        raise UsageError(f"{name}({id!r}, ...): the id is a text of 1 to 200 characters that UTF-8 can write")
    return id


def writable(text: str) -> bool:
    """False for halves of surrogate pairs: they come from undecodable file names and cannot be stored."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def optional(id: str | None, name: str) -> str | None:
    return None if id is None else checked(id, name)
