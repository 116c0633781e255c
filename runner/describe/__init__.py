"""What a workflow would do, without doing any of it: ``client.describe`` and ``runner describe``.

The workflow's own code is run, once, from call to call: no step body is called, nothing is stored or sent, and every result
is a placeholder, which is equal to nothing and false. So a ``match`` takes its ``case _``, an ``if`` its ``else``, and
what only happens after an error is not seen; every case of a ``ctx.switch`` and every branch of a race is.
Code that cannot go on with a placeholder ends with a node ``unknown`` that says why and where.
"""

from __future__ import annotations

from typing import Any

from runner.codec import decode
from runner.context import Known
from runner.describe.bound import bounded
from runner.describe.context import DescribingContext
from runner.describe.flow import Arm, Flow, Kind, Node
from runner.describe.placeholder import Placeholder
from runner.describe.walk import Walk
from runner.isolation import Isolation
from runner.starts import make_start
from runner.workflow import Workflow

__all__ = ["Arm", "Flow", "Kind", "Node", "describe"]


def describe(
    workflow: Workflow[Any, Any], input: Any = None, *, known: Known = lambda _: None, plain: bool = False
) -> Flow:
    """The nodes of ``workflow``, at most 1,000, in the order in which its code asks for them.

    ``input`` is what it would be started with; None: its ``defaults``, and a placeholder where it has none. ``known`` finds the
    workflows that it names. ``plain``: the input may be plain data, as where the workflow was given by name.

    Raises UsageError or PayloadError for an input that no execution could be started with.
    """
    arguments = _arguments(workflow, input, plain=plain)
    walk, isolation = Walk(), Isolation()
    ctx = DescribingContext(walk, workflow, known)
    try:
        isolation.run(lambda: bounded(lambda: walk.run(workflow.start(ctx, *arguments))))
    finally:
        isolation.run(walk.close)
        isolation.close()
    return Flow(
        workflow=workflow.name, version=workflow.version, nodes=walk.sketch.nodes(), truncated=walk.sketch.truncated
    )


def _arguments(workflow: Workflow[Any, Any], input: Any, *, plain: bool) -> tuple[Any, ...]:
    given = workflow.defaults if input is None else input
    if given is None:
        return (Placeholder("input"),) if workflow.takes_input else ()
    start = make_start(workflow, given, plain=plain and input is not None)
    return (decode(start.input, workflow.input_type, what=f"input of workflow {workflow.name!r}"),)
