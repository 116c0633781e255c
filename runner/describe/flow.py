"""What a workflow would do, as data: nodes in order, those that divide with their branches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

Kind = Literal[
    "step",
    "sleep",
    "wait_for_signal",
    "wait_for_execution",
    "emit",
    "note",
    "child",
    "switch",
    "gather",
    "map",
    "race",
    "saga",
    "rollback",
    "patched",
    "continue_as_new",
    "unknown",
]


class Arm(NamedTuple):
    """One branch of a node: the case of a switch, the name in a race, the place in a gather."""

    id: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One call of the workflow's.

    ``id`` is what the code gives; empty for a call without one. ``name``: the step's function, the signal, the event, the
    workflow of a child, the text of a note. ``compensates``: a rollback undoes this step. ``duration`` and
    ``timeout`` are None where there is none, or where it depends on what only a run can tell.
    ``branches``: every case of a switch, every branch of a gather or race, one item of a map, the body of a saga.
    ``reason``: why an ``unknown`` node is the last one.
    """

    kind: Kind
    id: str = ""
    name: str = ""
    compensates: bool = False
    duration: timedelta | None = None
    timeout: timedelta | None = None
    branches: tuple[Arm, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The nodes of one workflow. ``truncated``: there would be more than the 1,000 that are kept, branches included."""

    workflow: str
    version: int
    nodes: tuple[Node, ...]
    truncated: bool = False
