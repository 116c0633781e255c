"""The checker: from what the ledger says and what the store holds at the end, to what is wrong. Pure.

The ledger's lines:

| kind | fields |
|---|---|
| ``started`` | ``number``, ``execution``: a start of order ``number`` was acknowledged |
| ``signalled`` | ``number``, ``execution``, ``value``, ``taken``: a signal was acknowledged |
| ``refused`` | ``number``, ``error``: a producer was refused what nothing stands against |
| ``called`` | ``execution``, ``step``, ``called_at``, ``given`` (the token of the step before it) |
| ``effect`` | ``execution``, ``step``, ``token`` (of this call) |
| ``stopped``, ``continued`` | ``victim``: a process was stopped, and goes on |
| ``died`` | ``victim``, ``code``: a process ended that nobody had killed |
| ``unexplained`` | ``execution``, ``said``: asked why it does not go on, nobody knew |
| ``unsound`` | ``subject``, ``code``, ``said``: a check of the store found this, twice |
| ``unwakeable`` | ``execution``, ``code``, ``said``: nothing would wake it, by the look of a leader |
| ``losses`` | ``rewound``, ``orphaned``: so many losses the hints have told of; ``forged``: so many of each were made up |

When a result was recorded is not asked of anybody's clock: a step is called when all before it is recorded, so the first
call of a later step, or the end of the execution, says that it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.e2e.ledger import Line
from tests.faults.program import STEPS, Report, has_child, signals_of, value_of

#: The store's clock and ours are compared over a connection: so much they may differ, in seconds.
SLACK_S = 0.05

LOST = "lost"  # a start was acknowledged, and the store does not know it
STUCK = "stuck"  # it has not ended, and nothing happens any more
FAILED = "failed"  # it ended otherwise than by its own return
DOUBLED = "doubled"  # a step was called after its result had been recorded
AFTER_END = "after_end"  # a step was called after its execution had ended
CHANGED = "changed"  # a recorded result became another one
TWICE = "twice"  # one order became two executions, or an execution is nobody's
WRONG = "wrong"  # the result is not the function of number and signals that it should be
SIGNAL_LOST = "signal_lost"
SIGNAL_DOUBLED = "signal_doubled"
SIGNAL_ORDER = "signal_order"
EARLY = "early"  # a timer fired before its time
REFUSED = "refused"  # a producer was refused for no reason
DIED = "died"  # a process ended by itself
LEFT_OVER = "left_over"  # the store keeps something that nothing needs any more
UNEXPLAINED = "unexplained"  # `runner why` could not say what it waits for
UNSOUND = "unsound"  # `runner fsck` found something
UNWAKEABLE = "unwakeable"  # the leader's metric is not 0
FALSE_ALARM = "false_alarm"  # more losses were told of than hints were forged, of a store that loses nothing
KINDS = (
    *(LOST, STUCK, FAILED, DOUBLED, AFTER_END, CHANGED, TWICE, WRONG),
    *(SIGNAL_LOST, SIGNAL_DOUBLED, SIGNAL_ORDER, EARLY, REFUSED, DIED, LEFT_OVER),
    *(UNEXPLAINED, UNSOUND, UNWAKEABLE, FALSE_ALARM),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """What the store says of one execution when all is over. ``ended_at`` is on the ledger's clock."""

    id: str
    workflow: str
    status: str
    number: int
    parent: str = ""
    ended_at: float | None = None
    report: Report | None = None
    steps: tuple[tuple[str, str], ...] = ()  # the recorded ones in their order, with the tokens of their results
    inbox: tuple[str, ...] = ()  # the values of its signals, in their order
    error: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. ``execution`` is empty where it is about none."""

    kind: str
    execution: str
    said: str


def check(lines: Sequence[Line], finals: Iterable[Final], left: Mapping[str, int] | None = None) -> list[Finding]:
    """Everything that is wrong. ``left``: what the store holds beside executions that have ended, by kind and count."""
    known = {final.id: final for final in finals}
    by_kind: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_kind[line["kind"]].append(line)
    return [
        *_acknowledged(by_kind, known),
        *_families(by_kind, known),
        *(finding for final in known.values() for finding in _ended(final)),
        *_signals(by_kind["signalled"], known),
        *_calls(by_kind, known),
        *_results(by_kind, known),
        *_processes(by_kind),
        *_tools(by_kind),
        *(Finding(LEFT_OVER, "", f"{count} {what}") for what, count in (left or {}).items() if count),
    ]


# -- executions -----------------------------------------------------------------------------------


def _acknowledged(lines: Mapping[str, list[Line]], finals: Mapping[str, Final]) -> Iterator[Finding]:
    for execution, number in _asked(lines).items():
        if execution not in finals:
            yield Finding(LOST, execution, f"the start of order {number} was acknowledged")
    for line in lines["refused"]:
        yield Finding(REFUSED, "", f"order {line['number']}: {line['error']}")


def _asked(lines: Mapping[str, list[Line]]) -> dict[str, int]:
    return {line["execution"]: line["number"] for line in lines["started"]}


def _families(lines: Mapping[str, list[Line]], finals: Mapping[str, Final]) -> Iterator[Finding]:
    """One execution for each order that was acknowledged, and one child where it has one."""
    asked = _asked(lines)
    of_number: dict[int, set[str]] = defaultdict(set)
    children: dict[str, set[str]] = defaultdict(set)
    for execution, number in asked.items():
        of_number[number].add(execution)
    for final in finals.values():
        if final.parent:
            children[final.parent].add(final.id)
        else:
            of_number[final.number].add(final.id)
            if final.id not in asked:
                yield Finding(TWICE, final.id, f"order {final.number}: no start of this execution was acknowledged")
    for number, executions in of_number.items():
        if len(executions) > 1:
            yield Finding(TWICE, min(executions), f"order {number} became {len(executions)} executions")
    for parent in {*children, *(id for id, one in finals.items() if one.workflow == "order")}:
        wanted = _children_wanted(finals.get(parent))
        if wanted is not None and len(children[parent]) != wanted:
            yield Finding(TWICE, parent, f"it has {len(children[parent])} children, not {wanted}")


def _children_wanted(parent: Final | None) -> int | None:
    if parent is None:
        return 0
    return int(has_child(parent.number)) if parent.status == "completed" else None


def _ended(final: Final) -> Iterator[Finding]:
    if final.ended_at is None:
        yield Finding(STUCK, final.id, f"it is {final.status}")
    elif final.report is None or final.status != "completed":
        yield Finding(FAILED, final.id, f"it ended {final.status}: {final.error}")
    else:
        yield from _completed(final, final.report)


def _completed(final: Final, report: Report) -> Iterator[Finding]:
    if final.workflow == "order" and report.value != value_of(final.number):
        yield Finding(WRONG, final.id, f"order {final.number} gave {report.value}, not {value_of(final.number)}")
    if report.early:
        yield Finding(EARLY, final.id, "its sleep was over before its time")
    recorded = [step for step, _ in final.steps]
    if sorted(recorded) != sorted(STEPS[final.workflow]):
        yield Finding(WRONG, final.id, f"its journal has the steps {recorded}")
    if final.workflow == "order":
        yield from _heard(final.id, "its waits were given", report.heard, signals_of(final.number))


# -- signals --------------------------------------------------------------------------------------


def _signals(lines: Iterable[Line], finals: Mapping[str, Final]) -> Iterator[Finding]:
    """What was acknowledged lies in the inbox, once, in the order of the acknowledgements."""
    told: dict[str, dict[str, None]] = defaultdict(dict)
    for line in lines:
        told[line["execution"]][line["value"]] = None
        if not line["taken"]:
            yield Finding(SIGNAL_LOST, line["execution"], f"{line['value']!r} came after the end of what waits for it")
    for execution, values in told.items():
        if execution in finals:
            yield from _heard(execution, "its inbox has", finals[execution].inbox, list(values))


def _heard(execution: str, where: str, heard: Sequence[str], wanted: Sequence[str]) -> Iterator[Finding]:
    said = f"{where} {list(heard)}, sent were {list(wanted)}"
    if set(wanted) - set(heard):
        yield Finding(SIGNAL_LOST, execution, said)
    elif len(heard) > len(set(heard)) or set(heard) - set(wanted):
        yield Finding(SIGNAL_DOUBLED, execution, said)
    elif list(heard) != list(wanted):
        yield Finding(SIGNAL_ORDER, execution, said)


# -- calls ----------------------------------------------------------------------------------------


def _calls(lines: Mapping[str, list[Line]], finals: Mapping[str, Final]) -> Iterator[Finding]:
    """No step is called once its result is recorded, and none at all after the end."""
    interrupted = {id(line) for line in _interrupted(lines)}
    late = [one for final, calls in _by_execution(lines["called"], finals) for one in _late(final, calls)]
    excused = [line for line, _ in late if id(line) in interrupted]
    for line, finding in late:
        if len(excused) > 1 or line not in excused:
            yield finding


def _late(final: Final, calls: Sequence[Line]) -> Iterator[tuple[Line, Finding]]:
    recorded = _recorded(calls, STEPS[final.workflow])
    for line in calls:
        at, step = line["called_at"], line["step"]
        if final.ended_at is not None and at > final.ended_at + SLACK_S:
            said = f"{step!r} was called {at - final.ended_at:.3f} s after the end"
            yield line, Finding(AFTER_END, final.id, said)
        elif at > recorded.get(step, at):
            said = f"{step!r} was called {at - recorded[step]:.3f} s after it was recorded"
            yield line, Finding(DOUBLED, final.id, said)


def _interrupted(lines: Mapping[str, list[Line]]) -> Iterator[Line]:
    """The calls that may have been made before their process was stopped, and tell of it only afterwards.

    Between the look at its lease and the first line of a body nothing can keep a process from being stopped. Its loop is
    one thread, so it is the first call that it tells of when it goes on. Those are a few microseconds: once in
    thousands of stops. One in a run is taken for that; two are a worker that does not look at its lease.
    """
    calls: dict[int, list[Line]] = defaultdict(list)
    for line in lines["called"]:
        calls[line["pid"]].append(line)
    for gone_on in lines["continued"]:
        later = (line for line in calls[gone_on["victim"]] if line["called_at"] >= gone_on["at"])
        first = min(later, key=lambda line: float(line["called_at"]), default=None)
        if first is not None:
            yield first


def _by_execution(lines: Iterable[Line], finals: Mapping[str, Final]) -> Iterator[tuple[Final, list[Line]]]:
    by_execution: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_execution[line["execution"]].append(line)
    for execution, its in by_execution.items():
        if execution in finals:
            yield finals[execution], its


def _recorded(calls: Iterable[Line], steps: Sequence[str]) -> dict[str, float]:
    """When each step was certainly recorded: at the first call of any that comes after it."""
    recorded: dict[str, float] = {}
    for line in calls:
        for earlier in steps[: steps.index(line["step"])]:
            recorded[earlier] = min(recorded.get(earlier, line["called_at"]), line["called_at"])
    return recorded


def _results(lines: Mapping[str, list[Line]], finals: Mapping[str, Final]) -> Iterator[Finding]:
    """Whoever was shown the result of a step was shown the same one, and a call has made it."""
    made: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in lines["effect"]:
        made[line["execution"], line["step"]].add(line["token"])
    shown: dict[tuple[str, str], set[str]] = defaultdict(set)
    for final, calls in _by_execution(lines["called"], finals):
        before = {later: earlier for earlier, later in pairwise(STEPS[final.workflow])}
        for line in calls:
            if line["step"] in before:
                shown[final.id, before[line["step"]]].add(line["given"])
    for final in finals.values():
        reported = final.report.tokens if final.report is not None else {}
        for step, token in (
            *final.steps,
            *((step, reported[step]) for step in STEPS[final.workflow] if step in reported),
        ):
            shown[final.id, step].add(token)
    for (execution, step), tokens in shown.items():
        if len(tokens) > 1:
            yield Finding(CHANGED, execution, f"{step!r} was shown with {len(tokens)} results")
        elif not tokens <= made[execution, step]:
            yield Finding(CHANGED, execution, f"{step!r} was shown with a result that no call of it made")


# -- processes ------------------------------------------------------------------------------------


def _processes(lines: Mapping[str, list[Line]]) -> Iterator[Finding]:
    for line in lines["died"]:
        yield Finding(DIED, "", f"process {line['victim']} ({line.get('role', '?')}) ended with {line['code']}")


# -- what the tools said --------------------------------------------------------------------------


def _tools(lines: Mapping[str, list[Line]]) -> Iterator[Finding]:
    for line in lines["unexplained"]:
        yield Finding(UNEXPLAINED, line["execution"], line["said"])
    for line in lines["unsound"]:
        yield Finding(UNSOUND, line["subject"], f"{line['code']}: {line['said']}")
    for line in lines["unwakeable"]:
        yield Finding(UNWAKEABLE, line["execution"], f"{line['code']}: {line['said']}")
    for line in lines["losses"]:
        for what, count in line["forged"].items():
            if line[what] > count:
                yield Finding(
                    FALSE_ALARM, "", f"{line[what]} executions are told of as {what}, {count} hints were forged"
                )


def tell(lines: Iterable[Line], finding: Finding, say: Callable[[str], object]) -> None:
    """The ledger of the finding's execution, and of what struck meanwhile, in the order of time."""
    about = [line for line in lines if line.get("execution") in (finding.execution, None)]
    mine = [line["at"] for line in about if line.get("execution") == finding.execution]
    first, last = (min(mine), max(mine)) if mine else (0.0, float("inf"))
    for line in sorted(about, key=lambda line: float(line.get("called_at", line["at"]))):
        if first - 5 <= line["at"] <= last + 5 or line.get("execution"):
            rest = {key: value for key, value in line.items() if key not in ("at", "kind", "execution")}
            say(f"{line['at'] - first:+9.3f} s  {line['kind']:<10} {rest}")
