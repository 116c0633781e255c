"""Each example runs, in a process of its own, as whoever reads it would run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.programs import run
from tests.servers import ROOT

EXAMPLES = ROOT / "examples"
#: What each prints last, but for logs.
PRINTED = {
    "quickstart.py": "tea for 3 coins",
    "approval.py": "parcel from shelf-7, receipt-4200, approved by ann",
    "demo.py": "  Waiting cost nothing",
}


def test_every_example_is_known_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PRINTED)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PRINTED))
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    assert PRINTED[name] in run(str(EXAMPLES / name), folder=tmp_path, seconds=110)


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
