"""An execution with its children, and theirs."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from runner.records import ChildLink, Execution
from runner.store import Store

#: A tree shows this many executions at most; read this many at once.
MAX_NODES, AT_ONCE = 1_000, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One execution of a tree.

    ``execution`` is None for a child that is not there: not started yet, or past its retention. ``policy``: what becomes
    of it at its parent's end (``cancel``, ``abandon``; empty at the root). ``complete`` is False where children were left
    out, because the tree had grown to MAX_NODES.
    """

    id: str
    execution: Execution | None
    policy: str = ""
    children: tuple[Tree, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class _Node:
    id: str
    parent: str
    policy: str
    execution: Execution | None


async def tree_of(store: Store, root: Execution) -> Tree:
    """The tree below ``root``, level by level. Costs two round trips for each execution in it."""
    nodes = [_Node(root.id, "", "", root)]
    seen = {root.id}
    level = [root]
    below: dict[str, tuple[ChildLink, ...]] = {}
    while level:
        below |= await _children(store, level)
        fresh = [(one.id, link) for one in level for link in below[one.id] if link.execution_id not in seen]
        taken = fresh[: MAX_NODES - len(seen)]
        seen |= {link.execution_id for _, link in taken}
        records = await _records(store, [link.execution_id for _, link in taken])
        nodes += [
            _Node(link.execution_id, parent, link.policy, record)
            for (parent, link), record in zip(taken, records, strict=True)
        ]
        level = [record for record in records if record is not None]
    return _grown(nodes, below)


async def _children(store: Store, level: Sequence[Execution]) -> dict[str, tuple[ChildLink, ...]]:
    found: dict[str, tuple[ChildLink, ...]] = {}
    for first in range(0, len(level), AT_ONCE):
        some = [one.id for one in level[first : first + AT_ONCE]]
        found |= dict(zip(some, await asyncio.gather(*map(store.children, some)), strict=True))
    return found


async def _records(store: Store, ids: Sequence[str]) -> list[Execution | None]:
    found: list[Execution | None] = []
    for first in range(0, len(ids), AT_ONCE):
        found += await asyncio.gather(*map(store.record, ids[first : first + AT_ONCE]))
    return found


def _grown(nodes: Sequence[_Node], below: dict[str, tuple[ChildLink, ...]]) -> Tree:
    """From the leaves up: a child comes after its parent in ``nodes``."""
    children: dict[str, list[Tree]] = defaultdict(list)
    for node in reversed(nodes):
        under = tuple(reversed(children[node.id]))
        tree = Tree(
            id=node.id,
            execution=node.execution,
            policy=node.policy,
            children=under,
            complete=len(under) == len(below.get(node.id, ())),
        )
        children[node.parent].append(tree)
    return children[""][0]
