"""The ids that calls are recorded under: given by the code, or by the branch and its own counter."""

from __future__ import annotations

from runner.core.branches import Branch
from runner.core.commands import Compensation, Fork, Leaf, Place
from runner.core.places import show
from runner.errors import DuplicateId, ReservedId

RESERVED = ("__", "rollback:")


class Names:
    """Every id that one replay has asked for, and where."""

    def __init__(self) -> None:
        self._asked: dict[str, Place] = {}

    def __contains__(self, id: str) -> bool:
        """True when it was asked for."""
        return id in self._asked

    def of(self, branch: Branch, command: Leaf) -> str:
        """The entry's id. Raises DuplicateId or ReservedId."""
        id = command.id
        if id is None:
            id = f"__{branch.path}{command.named}:{branch.count(command.named)}"
        elif not isinstance(command, Compensation):
            id = self._own(branch, id, command.where)
        return self._fresh(id, command.where)

    def of_fork(self, branch: Branch, fork: Fork) -> str:
        """What the paths of its branches begin with. Raises DuplicateId or ReservedId."""
        if fork.id is None:
            return f"{branch.path}g{branch.count('gather')}."
        path = self._own(branch, fork.id, fork.where)
        self._fresh(f"{path}[]", fork.where)
        return path

    def clear(self) -> None:
        self._asked.clear()

    def _own(self, branch: Branch, id: str, where: Place) -> str:
        if id.startswith(RESERVED):
            prefixes = " and ".join(repr(prefix) for prefix in RESERVED)
            raise ReservedId(f"id {id!r} at {show(where)}: {prefixes} are Runner's own prefixes")
        return f"{branch.prefix}{id}" if branch.prefix else id

    def _fresh(self, id: str, where: Place) -> str:
        if id in self._asked:
            places = f"{show(self._asked[id])} and {show(where)}"
            raise DuplicateId(f"id {id!r} is used twice, at {places}: give each call an id of its own")
        self._asked[id] = where
        return id
