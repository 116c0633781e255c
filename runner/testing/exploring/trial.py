"""One run of the explored workflow, in a world of its own."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.app import App
from runner.log import muted
from runner.testing.asked import unsteady
from runner.testing.endings import Ending
from runner.testing.env import TestEnv
from runner.testing.exploring.cases import Case, Point, points
from runner.testing.exploring.rules import Broken, Check, Outcome, broken_by, checked, steady
from runner.testing.ledger import Ledger
from runner.workflow import Workflow

#: The same id in each run: what is derived from it (uuids, idempotency keys) is the same too.
ID = "explored"

#: Makes the world of a run: empties fakes, puts in stubs. It may be async.
Prepare = Callable[[TestEnv], object] | Callable[[TestEnv], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is explored, and how it is looked at."""

    app: App
    workflow: Workflow[Any, Any]
    input: Any
    now: datetime
    prepare: Prepare | None = None
    check: Check | None = None
    ledger: Ledger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of a case."""

    case: Case
    outcome: Outcome
    points: tuple[Point, ...]
    broken: Broken | None


async def run(subject: Subject, case: Case, expected: Outcome | None = None) -> Ran:
    """Run the workflow with this going wrong, and look at what it came to."""
    if subject.ledger is not None:
        subject.ledger.clear()
    with muted():  # hundreds of planned crashes are no news
        async with TestEnv(subject.app, now=subject.now, strict=False) as env:
            ending = await _played(subject, case, env)
            broken = await _unsteady(subject, env) or broken_by(ending, case, expected, subject.ledger)
            if broken is None and subject.check is not None:
                broken = await checked(subject.check, ending)
            found = points(env.recorded, env.calls(), ID)
            return Ran(case=case, outcome=Outcome.of(ending), points=found, broken=broken)


async def _played(subject: Subject, case: Case, env: TestEnv) -> Ending:
    if subject.prepare is not None:
        prepared: Any = subject.prepare(env)
        if inspect.isawaitable(prepared):
            await prepared
    for fault in case.faults:
        fault.plan(env)
    handle = await env.client.start(subject.workflow, subject.input, id=ID)
    for signal, payload in case.signals if case.early else ():
        await handle.signal(signal, payload)
    return await env.ending(handle, signals=() if case.early else case.signals)


async def _unsteady(subject: Subject, env: TestEnv) -> Broken | None:
    history = await env.client.history(ID)
    return steady(unsteady(subject.app, subject.workflow, history.execution, history.entries))
