"""The examples are what a typed service may look like: both checkers take them, and find what is wrong in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.checkers import mypy, pyright
from tests.servers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

FILES = (
    "agent.py",
    "approval.py",
    "demo.py",
    "onboarding.py",
    "order.py",
    "payroll.py",
    "quickstart.py",
    "kill_and_resume",
)
TIMED_OUT = 'case TimedOut():\n            await ctx.step("refund", refund, receipt)\n            return "expired"\n'
FORGOTTEN = {
    TIMED_OUT: "",
    'ctx.step("charge", charge, order)': 'ctx.step("charge", charge, order.id)',
}


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    folder = tmp_path / "examples"
    shutil.copytree(ROOT / "examples", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_the_examples_are_typed(checker, examples: Path) -> None:
    assert checker(examples, *FILES) == ""


@pytest.mark.parametrize("checker", [mypy, pyright])
@pytest.mark.parametrize(("right", "wrong"), FORGOTTEN.items(), ids=["no arm for the timeout", "wrong step argument"])
def test_what_is_wrong_is_found(checker, right: str, wrong: str, examples: Path) -> None:
    program = examples / "approval.py"
    code = program.read_text()
    assert code.count(right) == 1
    program.write_text(code.replace(right, wrong))
    assert "approval.py" in checker(examples, *FILES)
