"""Each example runs, in a process of its own, as whoever reads it would run it."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from runner.describe import Node, describe
from tests.docs.blocks import marked
from tests.docs.programs import run
from tests.servers import ROOT

EXAMPLES = ROOT / "examples"
#: What each says of its story, in this order, but for logs.
PRINTED = {
    "quickstart.py": ["tea for 3 coins"],
    "approval.py": ["parcel from shelf-7, receipt-4200, approved by ann"],
    "demo.py": ["  Waiting cost nothing"],
    "order.py": [
        "  charge   12, key order-7/1/charge",
        "  charge   12, key order-7/1/charge",
        "  mail     order 7 is on its way: parcel-7",
        "  -> parcel-7, paid with r1",
        "  refund   r2, key order-8/1/rollback:charge",
        "  release  shelf of piano",
        "  -> not delivered: nobody carries a piano",
        "  -> not delivered: 90000 is over the limit",
    ],
    "payroll.py": [
        "payday at 09:00 on the 28th",
        "payday@20250328T080000Z: salaries: 7000",
        "payday@20250428T070000Z: salaries: 7000",
        "bonus: 500",
        "paused: the bank moves",
        "salaries: 7000",
        "reminded: hand in your hours",
        "reminded: hand in your hours",
    ],
    "agent.py": [
        "Tea is wet, if it is not dry: the library says so, the laboratory says so, the archive says so",
        "  withdrawn: draft 2, stored as health/1/store-2",
        "  withdrawn: draft 1, stored as health/1/store-1",
        "execution 'health' of 'answer' was cancelled: the board has second thoughts",
    ],
    "onboarding.py": [
        "  mail     to mae: reminder 2: ada comes",
        "ada starts with laptop of ada, badge of ada@example.com, and a plan: meet everybody",
        "  mail     to ada: how was month 3?",
        "3 months later: ada stays",
        "  closed   bob@example.com",
        "bob cannot start: no laptops until next year",
    ],
}
LONGEST = 150


def test_every_example_is_known_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PRINTED)


def test_the_readme_says_how_to_run_the_others() -> None:
    (block,) = marked("examples")
    assert [shlex.join(words) for words in block.commands()] == [
        f"python examples/{name}.py" for name in ("order", "onboarding", "payroll", "agent")
    ]


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_an_example_is_short_enough_to_be_read(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) < LONGEST


@pytest.mark.parametrize("name", ["agent", "onboarding", "order", "payroll"])
def test_an_example_can_be_described_to_its_end(name: str) -> None:
    app = importlib.import_module(f"examples.{name}").app
    flows = [describe(workflow, known=app.find) for workflow in app.workflows()]
    assert flows and not any(flow.truncated for flow in flows)
    assert [node for flow in flows for node in walked(flow.nodes) if node.kind == "unknown"] == []


def walked(nodes: Iterable[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        for arm in node.branches:
            yield from walked(arm.nodes)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PRINTED))
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    said = iter(run(str(EXAMPLES / name), folder=tmp_path, seconds=110).splitlines())
    missing = [line for line in PRINTED[name] if not any(line in one for one in said)]
    assert missing == []


def test_the_demo_notices_money_that_moved_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from kill_and_resume.checks import RESULT, check
    from kill_and_resume.ledger import Ledger

    ledger = Ledger(tmp_path / "ledger")
    for what, step in [("called", "charge"), ("money", "charge"), ("money", "charge")]:
        ledger.write(what, step, "key")
    broken = {one.text for one in check(ledger, died_of=-9, ended_with=0, result=RESULT) if not one.holds}
    assert "the money moved once" in broken
    assert "charge was cut off: called once by each process" in broken
