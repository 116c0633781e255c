"""SECURITY.md is true: each threat has a control, and names tests that are there."""

from __future__ import annotations

import re

import pytest

from tests.servers import ROOT

ROW = re.compile(r"^\| (?!threat|---)([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
THREATS = {threat: (control, tests) for threat, control, tests in ROW.findall((ROOT / "SECURITY.md").read_text())}
HERE = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/security").glob("test_*.py")}


def named(tests: str) -> list[str]:
    return re.findall(r"`([^`]+)`", tests)


@pytest.mark.parametrize("threat", THREATS)
def test_a_threat_has_a_control_and_tests_that_are_there(threat: str) -> None:
    control, tests = THREATS[threat]
    assert control.strip()
    assert named(tests)
    for path in named(tests):
        assert re.search(r"^(async )?def test_", (ROOT / path).read_text(), re.MULTILINE), path


def test_every_test_of_security_is_named() -> None:
    assert len(THREATS) >= 16
    said = {path for _, tests in THREATS.values() for path in named(tests)}
    assert HERE - said == {"tests/security/test_threats.py"}
