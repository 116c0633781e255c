"""The context: the one door between workflow code and the world.

Every method that waits returns a call to be awaited; the rest answer at once, from what is recorded.
"""

from __future__ import annotations

from runner.context.base import Known
from runner.context.branching import Branching
from runner.context.cases import Case
from runner.context.child import Child
from runner.context.children import Children
from runner.context.evolving import Evolving
from runner.context.steps import Steps
from runner.context.telling import Telling
from runner.context.undoing import Undoing

__all__ = ["Case", "Child", "Context", "Known"]


class Context(Steps, Branching, Undoing, Children, Telling, Evolving):
    """What a workflow works with. Valid during the turn that made it, in workflow code only."""
