"""A flow as it grows under the walk: where the next node goes, and where it must end."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from runner.describe.flow import Arm, Node

#: Nodes of one flow, branches included.
MAX_NODES = 1_000
#: Branches within branches.
MAX_DEPTH = 50


class Enough(BaseException):
    """The walk is at a limit: nothing more is asked of the code, and no ``except Exception`` of it hears of this."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Draft:
    """A node whose branches are still being walked."""

    node: Node
    arms: list[tuple[str, list[Draft]]] = field(default_factory=list)

    def done(self) -> Node:
        return replace(self.node, branches=tuple(Arm(id, finished(drafts)) for id, drafts in self.arms))


def finished(drafts: list[Draft]) -> tuple[Node, ...]:
    return tuple(draft.done() for draft in drafts)


class Sketch:
    """Nodes are added to the branch that is being walked: the root, until ``enter`` opens another."""

    def __init__(self) -> None:
        self.truncated = False
        self._root: list[Draft] = []
        self._path = [self._root]
        self._count = 0

    def add(self, node: Node) -> Draft:
        """Raises Enough when there are as many as there may be."""
        if self._count == MAX_NODES:
            self.truncated = True
            raise Enough
        self._count += 1
        draft = Draft(node)
        self._path[-1].append(draft)
        return draft

    def enter(self, draft: Draft, id: str) -> int:
        """What follows belongs to this branch of ``draft``, until ``leave`` is given what this returns.

        Raises Enough when it lies too deep.
        """
        depth = len(self._path)
        if depth > MAX_DEPTH:
            raise Enough(f"branches within branches, more than {MAX_DEPTH} deep")
        drafts: list[Draft] = []
        draft.arms.append((id, drafts))
        self._path.append(drafts)
        return depth

    def leave(self, depth: int) -> None:
        """Also leaves what was entered inside and not left; nothing that was left already is left twice."""
        del self._path[depth:]

    @contextmanager
    def within(self, draft: Draft, id: str) -> Generator[None]:
        depth = self.enter(draft, id)
        try:
            yield
        finally:
            self.leave(depth)

    def nodes(self) -> tuple[Node, ...]:
        return finished(self._root)
