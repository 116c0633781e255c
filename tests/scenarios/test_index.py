"""The list of scenarios names tests that are there."""

from __future__ import annotations

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
    # Not parsed: Python 3.11's parser is confused, now and then, by another thread that parses at the same time.
    return set(re.findall(r"^(?:async )?def (\w+)", (ROOT / path).read_text(), re.MULTILINE))
