"""The checker judges: a good ledger has no findings, and each bad one exactly its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.e2e.ledger import Line
from tests.faults import checker
from tests.faults.checker import KINDS, Final, check, tell
from tests.faults.program import STEPS, Report, signals_of, value_of

ORDER, CHILD = "e-20", "e-20.parcel"


@dataclass
class Story:
    """What a run without any fault would leave: order 20, which has a child, told as it should be."""

    lines: list[Line] = field(default_factory=list)
    finals: dict[str, Final] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    clock: float = 0.0

    def write(self, kind: str, **fields: object) -> Line:
        self.clock += 1.0
        self.lines.append({"kind": kind, "at": self.clock, "pid": 1, **fields})
        return self.lines[-1]

    def call(
        self, step: str, *, execution: str = ORDER, given: str = "", token: str | None = None, pid: int = 1
    ) -> str:
        self.write("called", execution=execution, step=step, given=given, called_at=self.clock + 1.0, pid=pid)
        made = token or f"{step}-made"
        self.write("effect", execution=execution, step=step, token=made)
        return made

    def alter(self, id: str, **changes: object) -> None:
        self.finals[id] = replace(self.finals[id], **changes)  # type: ignore[arg-type]

    def report(self, **changes: object) -> None:
        report = self.finals[ORDER].report
        assert report is not None
        self.alter(ORDER, report=replace(report, **changes))  # type: ignore[arg-type]

    def kinds(self) -> list[str]:
        return [finding.kind for finding in check(self.lines, self.finals.values(), self.left)]


@pytest.fixture
def story() -> Story:
    one = Story()
    one.write("started", number=20, execution=ORDER)
    for value in signals_of(20):
        one.write("signalled", number=20, execution=ORDER, value=value, taken=True)
    token = ""
    for step in STEPS["order"][:3]:
        token = one.call(step, given=token)
    one.call("wrap", execution=CHILD)
    one.finals[CHILD] = final(CHILD, "parcel", 7, ended_at=one.clock + 0.5, parent=ORDER)
    for step in STEPS["order"][3:]:
        token = one.call(step, given=token)
    one.finals[ORDER] = final(ORDER, "order", 20, ended_at=one.clock + 0.5, inbox=tuple(signals_of(20)))
    return one


def final(id: str, workflow: str, number: int, **fields: object) -> Final:
    tokens = {step: f"{step}-made" for step in STEPS[workflow]}
    heard = list(signals_of(number)) if workflow == "order" else []
    report = Report(value_of(number), heard, tokens, early=False)
    common = {"status": "completed", "report": report, "steps": tuple(tokens.items())}
    return Final(id=id, workflow=workflow, number=number, **common, **fields)  # type: ignore[arg-type]


def test_a_run_as_it_should_be_has_no_findings(story: Story) -> None:
    assert story.kinds() == []


def test_what_a_dead_worker_had_in_flight_may_be_called_again(story: Story) -> None:
    again = Story()
    again.write("started", number=3, execution="e-3")
    again.call("reserve", execution="e-3", token="by a worker that died")
    token = ""
    for step in STEPS["order"]:
        token = again.call(step, execution="e-3", given=token)
    again.finals["e-3"] = final("e-3", "order", 3, ended_at=again.clock + 1, inbox=tuple(signals_of(3)))
    assert again.kinds() == []


def test_an_acknowledged_start_that_the_store_does_not_know_is_lost(story: Story) -> None:
    story.write("started", number=21, execution="e-21")
    assert story.kinds() == [checker.LOST]


def test_an_execution_that_has_not_ended_is_stuck(story: Story) -> None:
    story.alter(CHILD, status="sleeping", ended_at=None, report=None)
    assert story.kinds() == [checker.STUCK]


@pytest.mark.parametrize("status", ["failed", "cancelled", "compensation_failed"])
def test_an_execution_that_ended_otherwise_has_failed(story: Story, status: str) -> None:
    story.alter(CHILD, status=status, report=None)
    assert story.kinds() == [checker.FAILED]


def test_a_step_that_is_called_after_its_result_was_used_is_doubled(story: Story) -> None:
    late = story.write("called", execution=ORDER, step="charge", given="reserve-made")
    late["called_at"] = next(line["called_at"] for line in story.lines if line.get("step") == "pack") + 0.2
    assert story.kinds() == [checker.DOUBLED]


def test_any_call_after_the_end_is_told(story: Story) -> None:
    story.write("called", execution=ORDER, step="invoice", given="ship-made", called_at=story.clock + 0.6)
    assert story.kinds() == [checker.AFTER_END]


def stopped_and_late(story: Story, pid: int, *, calls: int = 1) -> None:
    story.write("stopped", victim=pid)
    story.write("continued", victim=pid)
    for _ in range(calls):
        line = story.write("called", execution=ORDER, step="invoice", given="ship-made", pid=pid)
        line["called_at"] = story.clock


def test_one_call_may_have_been_made_before_its_process_was_stopped(story: Story) -> None:
    stopped_and_late(story, 9)
    assert story.kinds() == []
    stopped_and_late(story, 8)
    assert story.kinds() == [checker.AFTER_END] * 2, "one in a run, not one a stop"


def test_a_second_call_was_made_afterwards(story: Story) -> None:
    stopped_and_late(story, 9, calls=2)
    assert story.kinds() == [checker.AFTER_END]


def test_that_another_process_was_stopped_is_no_excuse(story: Story) -> None:
    story.write("continued", victim=8)
    story.write("called", execution=ORDER, step="invoice", given="ship-made", pid=9, called_at=story.clock + 1)
    assert story.kinds() == [checker.AFTER_END]


def test_a_result_that_was_shown_and_is_another_later_has_changed(story: Story) -> None:
    line = next(line for line in story.lines if line["kind"] == "called" and line["step"] == "ship")
    line["given"] = "another"
    assert story.kinds() == [checker.CHANGED]


def test_a_reported_result_that_is_not_the_recorded_one_has_changed(story: Story) -> None:
    story.call("invoice", given="ship-made", token="another")
    story.report(tokens={"invoice": "another"})
    story.alter(ORDER, ended_at=story.clock + 1)
    assert story.kinds() == [checker.CHANGED]


def test_a_recorded_result_that_nobody_made_has_changed(story: Story) -> None:
    story.lines = [line for line in story.lines if (line["kind"], line.get("step")) != ("effect", "wrap")]
    assert story.kinds() == [checker.CHANGED]


def test_one_order_that_became_two_executions_is_there_twice(story: Story) -> None:
    story.write("started", number=20, execution="e-20-again")
    story.finals["e-20-again"] = replace(story.finals[ORDER], id="e-20-again", status="running", ended_at=None)
    assert sorted(story.kinds()) == sorted([checker.TWICE, checker.STUCK, checker.CHANGED, *[checker.CHANGED] * 4])


def test_an_execution_that_nobody_asked_for_is_told(story: Story) -> None:
    story.lines = [line for line in story.lines if line["kind"] != "started"]
    assert story.kinds() == [checker.TWICE]


def test_a_second_child_is_told_and_a_missing_one(story: Story) -> None:
    missing = story.finals.pop(CHILD)
    assert story.kinds() == [checker.TWICE]
    story.finals |= {CHILD: missing, "other": replace(missing, id="other", steps=(), report=None, status="failed")}
    assert sorted(story.kinds()) == sorted([checker.TWICE, checker.FAILED])


def test_a_wrong_value_is_told(story: Story) -> None:
    story.report(value=1)
    assert story.kinds() == [checker.WRONG]


def test_a_journal_with_other_steps_is_told(story: Story) -> None:
    story.alter(ORDER, steps=story.finals[ORDER].steps[:-1])
    assert story.kinds() == [checker.WRONG]


def test_a_timer_that_fired_early_is_told(story: Story) -> None:
    story.report(early=True)
    assert story.kinds() == [checker.EARLY]


Heard = Callable[[Sequence[str]], list[str]]


@pytest.mark.parametrize(
    ("heard", "kind"),
    [
        (lambda sent: [sent[0]], checker.SIGNAL_LOST),
        (lambda sent: [sent[0], *sent], checker.SIGNAL_DOUBLED),
        (lambda sent: [*sent, "of nobody"], checker.SIGNAL_DOUBLED),
        (lambda sent: [*reversed(sent)], checker.SIGNAL_ORDER),
    ],
)
@pytest.mark.parametrize("where", ["inbox", "report"])
def test_signals_are_heard_once_and_in_order(story: Story, heard: Heard, kind: str, where: str) -> None:
    if where == "inbox":
        story.alter(ORDER, inbox=tuple(heard(signals_of(20))))
    else:
        story.report(heard=heard(signals_of(20)))
    assert story.kinds() == [kind]


def test_a_signal_that_came_too_late_is_lost(story: Story) -> None:
    story.lines[1]["taken"] = False
    assert story.kinds() == [checker.SIGNAL_LOST]


def test_a_producer_that_was_refused_is_told(story: Story) -> None:
    story.write("refused", number=5, error="UnknownExecution: …")
    assert story.kinds() == [checker.REFUSED]


def test_a_process_that_died_by_itself_is_told(story: Story) -> None:
    story.write("died", victim=4, role="worker", code=70)
    assert story.kinds() == [checker.DIED]


def test_what_is_left_in_the_store_is_told(story: Story) -> None:
    story.left = {"leases": 0, "ready": 2}
    assert story.kinds() == [checker.LEFT_OVER]


def test_what_the_tools_found_is_told(story: Story) -> None:
    story.write("unexplained", execution=ORDER, said="it is stuck in silence")
    story.write("unsound", subject=ORDER, code="index_missing", said="it is not in by:status")
    story.write("unwakeable", execution=CHILD, code="unheard", said="by the leader's look")
    assert story.kinds() == [checker.UNEXPLAINED, checker.UNSOUND, checker.UNWAKEABLE]


def test_losses_that_nobody_made_up_are_told(story: Story) -> None:
    story.write("losses", rewound=3, orphaned=2, forged={"rewound": 3, "orphaned": 5})
    assert story.kinds() == [], "a forged hint may be lost on its way"
    story.write("losses", rewound=4, orphaned=6, forged={"rewound": 3, "orphaned": 5})
    assert story.kinds() == [checker.FALSE_ALARM] * 2


def test_every_verdict_has_been_given_here() -> None:
    """A verdict that no bad ledger brings about is none."""
    text = __loader__.get_data(__file__).decode()  # type: ignore[name-defined]
    assert {kind for kind in KINDS if f"checker.{kind.upper()}" not in text} == set()


def test_the_story_of_a_finding_is_told_in_the_order_of_time(story: Story) -> None:
    story.write("called", execution=ORDER, step="invoice", given="ship-made", called_at=story.clock + 0.6)
    story.write("started", number=21, execution="e-21")
    (finding, _) = check(story.lines, story.finals.values())[::-1][:2]
    said: list[str] = []
    tell(story.lines, finding, said.append)
    assert [line.split()[2] for line in said[:3]] == ["started", "signalled", "signalled"]
    assert "invoice" in said[-1]
    assert not any("e-21" in line or "wrap" in line for line in said)
