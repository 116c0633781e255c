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
#: What is right, what is wrong, and the beginning of the line at which a checker says so.
MISTAKES = (
    (
        '        case TimedOut():\n            await ctx.step("refund", refund, receipt)\n            return "expired"\n',
        "",
        "match await ctx.wait_for_signal(",
    ),
    ('ctx.step("charge", charge, order)', 'ctx.step("charge", charge, order.id)', 'receipt = await ctx.step("charge"'),
)


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    folder = tmp_path / "examples"
    shutil.copytree(ROOT / "examples", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_the_examples_are_typed(checker, examples: Path) -> None:
    assert checker(examples, *FILES) == ""


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_wrong_is_found(checker, examples: Path) -> None:
    """All mistakes at once, for a checker takes longer to begin than to find them."""
    program = examples / "approval.py"
    code = program.read_text()
    for right, wrong, _ in MISTAKES:
        assert code.count(right) == 1
        code = code.replace(right, wrong)
    program.write_text(code)
    told = checker(examples, "approval.py")
    for _, _, beginning in MISTAKES:
        (line,) = (number for number, line in enumerate(code.splitlines(), 1) if line.lstrip().startswith(beginning))
        assert f"approval.py:{line}" in told
