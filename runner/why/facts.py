"""All that reasons are made of, as it was found at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from runner.fleet import lives
from runner.load import LongStep
from runner.records import AuditEntry, Execution, History, Leadership, Wait, WorkerInfo
from runner.store.standing import Standing
from runner.why.reason import Why

#: What belongs to a scheduler, and has not been done for so long, is overdue, in ms.
OVERDUE_MS = 5_000

NOBODY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Who is there. ``away``: what could not be asked (workers, leader, broker …), and why."""

    workers: tuple[WorkerInfo, ...] = ()
    leader: Leadership | None = None
    away: Mapping[str, str] = field(default_factory=lambda: NOBODY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the asker's own code says of the workflow. ``signals`` None: any."""

    signals: frozenset[str] | None
    max_attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """An execution that is waited for. ``execution`` None: there is none. ``why``: of some that have not ended."""

    execution: Execution | None
    why: Why | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``depth``: hints in its queue at the broker (None: no such queue), where the broker was ``asked``.

    ``others``: by id, the executions that it waits for; those that could not be read are missing. ``schedule``: the one that
    started it. ``latency_ms``: what the store took to answer. ``in_one``: worker and scheduler are one process, on a file.
    """

    history: History
    standing: Standing
    fleet: Fleet
    trail: tuple[AuditEntry, ...] = ()
    children: frozenset[str] = frozenset()
    others: Mapping[str, Other] = field(default_factory=lambda: MappingProxyType({}))
    asked: bool = False
    depth: int | None = None
    declared: Declared | None = None
    schedule: str = ""
    latency_ms: int = 0
    in_one: bool = False

    @property
    def execution(self) -> Execution:
        return self.history.execution

    @property
    def id(self) -> str:
        return self.history.execution.id

    @property
    def now(self) -> int:
        return self.history.now

    @property
    def owned(self) -> bool:
        return self.execution.lease_until is not None

    @property
    def ready(self) -> bool:
        return self.standing.offered_at is not None

    @property
    def waits(self) -> tuple[Wait, ...]:
        """Those that end first come first; then the oldest."""
        return tuple(
            sorted(
                self.history.waits,
                key=lambda wait: (wait.deadline is None, wait.deadline or 0, wait.opened_at, wait.id),
            )
        )

    @property
    def live(self) -> tuple[WorkerInfo, ...]:
        """The workers that live."""
        return tuple(one for one in self.fleet.workers if lives(one, self.now))

    def knows(self, source: str) -> bool:
        return source not in self.fleet.away

    @property
    def leaderless(self) -> bool:
        return self.knows("leader") and self.fleet.leader is None

    def overdue(self, at: int | None) -> bool:
        """It should have happened at that moment, and has not."""
        return at is not None and at + OVERDUE_MS <= self.now

    def last(self, kind: str, **fields: str) -> AuditEntry | None:
        """The last line of its audit trail of this kind, and with these fields."""
        for row in reversed(self.trail):
            if row.kind == kind and all(row.fields.get(name) == value for name, value in fields.items()):
                return row
        return None

    def since(self, kind: str, **fields: str) -> int | None:
        row = self.last(kind, **fields)
        return None if row is None else row.at

    def long_steps(self) -> dict[str, tuple[LongStep, int]]:
        """Attempts of its steps that its worker has told of, by step id, with the moment of each one's beginning."""
        return {
            step.step: (step, worker.seen_at - step.for_ms)
            for worker in self.live
            if worker.id == self.execution.worker
            for step in worker.load.steps
            if step.execution_id == self.id
        }
