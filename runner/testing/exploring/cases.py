"""What may go wrong: every fault at every durable point of a run, the simplest and earliest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from runner.records import Entry
from runner.signals import Signal
from runner.testing.calls import Call
from runner.testing.env import Sent, TestEnv
from runner.testing.faults import WHEN, When

#: Entries that are no points of their own: they ride along with others, or are a fault's own trace.
_NO_POINTS = ("attempt", "cancel", "patch")
_MOMENTS: dict[str, str] = {
    "before_effect": "before {}",
    "after_effect": "between the effect of {} and its record",
    "after_commit": "right after {} was recorded",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One journal entry of a run; ``retried``: a step that is tried again when it fails."""

    id: str
    kind: str
    retried: bool
    root: bool  # of the explored execution itself, not of a child

    @property
    def is_step(self) -> bool:
        return self.kind in ("step", "compensation")


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault. ``where``: the id of a journal entry; of ``double`` the name of a signal.

    ``hidden``: it may not show in how the execution ends; ``exact``: nor in what it returns.
    """

    what: Literal["crash", "fail", "cancel", "double"]
    where: str
    when: When = "after_commit"
    times: int | None = 1
    hidden: bool = False
    exact: bool = False

    def plan(self, env: TestEnv) -> None:
        match self.what:
            case "crash":
                env.crash_at(self.where, self.when)
            case "fail":
                env.fail_at(self.where, when=self.when, times=self.times)
            case "cancel":
                env.cancel_at(self.where)
            case "double":
                env.double_signal(self.where)

    @property
    def code(self) -> str:
        """The same, as a line of a test."""
        match self.what:
            case "crash":
                return f"env.crash_at({self.where!r}, {self.when!r})"
            case "fail":
                times = "" if self.times is None else f", times={self.times}"
                return f"env.fail_at({self.where!r}, when={self.when!r}{times})"
            case "cancel":
                return f"env.cancel_at({self.where!r})"
            case "double":
                return f"env.double_signal({self.where!r})"

    def __str__(self) -> str:
        match self.what:
            case "crash":
                return f"the worker dies {_MOMENTS[self.when].format(repr(self.where))}"
            case "fail":
                often = "for good" if self.times is None else "once"
                return f"{self.where!r} fails {often}{', after its effect' if self.when == 'after_effect' else ''}"
            case "cancel":
                return f"a cancel comes right after {self.where!r} was recorded"
            case "double":
                return f"signal {self.where!r} is sent twice"


@dataclass(frozen=True, slots=True)
class Case:
    """A run to be made: what goes wrong in it, and the signals that come.

    ``early``: they come before it has begun. ``missing``: how many of those it is usually sent do not come.
    """

    faults: tuple[Planned, ...] = ()
    signals: tuple[Sent, ...] = ()
    early: bool = False
    missing: int = 0

    @property
    def hidden(self) -> bool:
        """True when it must end as it does without the last fault …"""
        return bool(self.faults) and self.faults[-1].hidden

    @property
    def exact(self) -> bool:
        """… and return the same."""
        return bool(self.faults) and self.faults[-1].exact

    def __str__(self) -> str:
        what = [str(fault) for fault in self.faults]
        if self.early:
            what.append("its signals come before it has begun")
        if self.missing:
            what.append(f"only {len(self.signals)} signals come" if self.signals else "no signal comes")
        return " and ".join(what) or "nothing goes wrong"


def points(recorded: Iterable[tuple[str, Entry]], calls: Iterable[Call], root: str) -> tuple[Point, ...]:
    """The durable points of a run, in the order in which they were recorded; each id once."""
    retried = {call.step for call in calls if call.retried}
    found: dict[str, Point] = {}
    for execution_id, entry in recorded:
        if entry.kind not in _NO_POINTS:
            point = Point(entry.id, entry.kind, entry.id in retried, execution_id == root)
            found.setdefault(entry.id, point)
    return tuple(found.values())


def single_faults(along: Iterable[Point], case: Case) -> Iterator[Case]:
    """The case with one fault more, at each of these points."""
    for point in along:
        for fault in _faults_at(point):
            yield replace(case, faults=(*case.faults, fault))


def hidden_faults(along: Iterable[Point], case: Case) -> Iterator[Case]:
    """Of those, the ones that may not show."""
    return (one for one in single_faults(along, case) if one.hidden)


def signal_cases(signals: Sequence[Sent]) -> Iterator[Case]:
    """Signals that do not come, come twice, or come before anybody waits for them."""
    sent = tuple(signals)
    for count in reversed(range(len(sent))):
        yield Case(signals=sent[:count], missing=len(sent) - count)
    for name in dict.fromkeys(signal.name if isinstance(signal, Signal) else signal for signal, _ in sent):
        yield Case(faults=(Planned("double", name),), signals=sent)
    if sent:
        yield Case(signals=sent, early=True)


def _faults_at(point: Point) -> Iterator[Planned]:
    for when in WHEN if point.is_step else WHEN[-1:]:
        yield Planned("crash", point.id, when, hidden=True, exact=True)
    if point.is_step:
        # Where it is tried again, with its effect done: whoever is not idempotent shows it.
        yield Planned("fail", point.id, "after_effect" if point.retried else "before_effect", hidden=point.retried)
        yield Planned("fail", point.id, "before_effect", times=None)
    if point.root:
        yield Planned("cancel", point.id)
