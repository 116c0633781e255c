"""The search: a run without faults shows where faults can be put; each is put there in a run of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from runner.app import App
from runner.testing.env import Sent
from runner.testing.exploring.cases import Case, Point, hidden_faults, signal_cases, single_faults
from runner.testing.exploring.report import report
from runner.testing.exploring.rules import Check, Outcome
from runner.testing.exploring.trial import Prepare, Ran, Subject, run
from runner.testing.ledger import Ledger
from runner.workflow import Workflow

I = TypeVar("I")  # noqa: E741 - input


class ExplorationFailed(AssertionError):
    """A workflow does not bear a fault. The text ends with the smallest case as a test, to be kept."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """What was tried: every case, each in a run of its own."""

    cases: tuple[Case, ...]

    def __len__(self) -> int:
        return len(self.cases)


async def explore(
    app: App,
    workflow: Workflow[I, Any],
    input: I | None = None,
    *,
    signals: Sequence[Sent] = (),
    prepare: Prepare | None = None,
    check: Check | None = None,
    ledger: Ledger | None = None,
) -> Exploration:
    """Run a workflow with a fault at every durable point, one at a time, and see that it bears each.

    Faults: the worker dies before a step's effect, between effect and record, and after the record of anything; a step
    fails once, or for good; a cancel comes; signals do not come, come twice, or too early. Where that leads to
    compensations, every fault that may not show is put into those as well. After each run: two replays of what was
    recorded ask for the same, whatever the clock and chance; one idempotency key goes with one set of arguments; a crash,
    and a failure that is tried again, change nothing in how it ends; no compensation fails; what ``ledger`` and
    ``check`` say holds.

    ``signals``: pairs of a signal and its payload, each sent as soon as it is waited for. ``prepare(env)`` is called before
    each run: it empties fakes and puts in stubs. ``check(ending)`` is called after it: it raises AssertionError, or
    returns False. Both may be async. ``ledger`` is cleared before each run; see ``Ledger`` for what must hold.

    Raises ExplorationFailed with the smallest failing case as a test.
    """
    subject = Subject(
        app=app, workflow=workflow, input=input, now=datetime.now(UTC), prepare=prepare, check=check, ledger=ledger
    )
    return await _Search(subject, tuple(signals)).run()


class _Search:
    def __init__(self, subject: Subject, signals: tuple[Sent, ...]) -> None:
        self._subject = subject
        self._signals = signals
        self._tried: list[Case] = []
        self._undone: set[str] = set()  # compensations that faults were put into

    async def run(self) -> Exploration:
        plain = Case(signals=self._signals)
        calm, again = await self._try(plain), await self._try(plain)
        # Steps may return something else each time: then two runs cannot be compared by what they return.
        expected = calm.outcome if calm.outcome == again.outcome else None
        self._new_compensations(calm)
        ran = await self._try_all(single_faults(calm.points, plain), expected)
        ran += await self._try_all(signal_cases(self._signals), None)
        for one in ran:
            await self._try_all(hidden_faults(self._new_compensations(one), one.case), expected and one.outcome)
        return Exploration(tuple(self._tried))

    def _new_compensations(self, ran: Ran) -> list[Point]:
        """Where that run undid what no run before it had undone."""
        found = [point for point in ran.points if point.kind == "compensation" and point.id not in self._undone]
        self._undone.update(point.id for point in found)
        return found

    async def _try_all(self, cases: Iterable[Case], expected: Outcome | None) -> list[Ran]:
        return [await self._try(case, expected) for case in cases]

    async def _try(self, case: Case, expected: Outcome | None = None) -> Ran:
        self._tried.append(case)
        ran = await run(self._subject, case, expected)
        if ran.broken is not None:
            raise ExplorationFailed(report(self._subject, await self._shrunk(ran, expected), len(self._tried)))
        return ran

    async def _shrunk(self, ran: Ran, expected: Outcome | None) -> Ran:
        """Without the signals that it does not take to break the same rule."""
        while ran.case.signals and ran.broken is not None:
            fewer = await run(self._subject, replace(ran.case, signals=ran.case.signals[:-1]), expected)
            if fewer.broken is None or fewer.broken.rule != ran.broken.rule:
                return ran
            ran = fewer
        return ran
