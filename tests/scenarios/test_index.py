"""The list of scenarios names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.servers import ROOT

LIST = Path(__file__).with_name("README.md")
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
#: Of schedules: their tests are with them.
ELSEWHERE = {36, 37, 38, 39, 40}
SCENARIOS = {int(number): TEST.findall(tests) for number, _, tests in ROW.findall(LIST.read_text())}


def test_every_scenario_is_listed():
    assert set(SCENARIOS) == set(range(1, 82)) - ELSEWHERE


@pytest.mark.parametrize("number", sorted(SCENARIOS))
def test_a_scenario_names_tests_that_are_there(number):
    assert SCENARIOS[number]
    for path, name in SCENARIOS[number]:
        assert name in functions(path), f"{path}::{name}"


def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
