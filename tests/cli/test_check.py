"""`runner check`: all findings at once, and nothing opened."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def checked(call, project):
    def check(text: str, *options: str):
        (project / "checked_app.py").write_text(text)
        sys.modules.pop("checked_app", None)
        return call("check", "--app", "checked_app:app", *options)

    yield check
    sys.modules.pop("checked_app", None)


GOOD = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Any
from runner import App, Context, Signal

app = App("shop")
JSON = Any

@dataclass(frozen=True)
class Order:
    amount: int

@app.workflow("approve", version=3, queue="gpu", category="orders", signals=[Signal("yes")], defaults=Order(1))
async def approve(ctx: Context, order: Order) -> JSON: ...

@app.workflow()
async def plain(ctx: Context) -> None: ...
"""

BAD = """
from __future__ import annotations
from runner import App, Context

app = App("shop")

@app.workflow(defaults=object())
async def one(ctx: Context, order: Ordr) -> Missing: ...

@app.workflow(defaults=5)
async def two(ctx: Context) -> None: ...

@app.workflow(defaults="five")
async def three(ctx: Context, number: int) -> None: ...
"""


def test_a_good_app_is_listed(checked):
    told = checked(GOOD, "--json")
    assert (told.code, told.err) == (0, "")
    approve, plain = told.json()["workflows"]
    assert approve == {
        "name": "approve",
        "version": 3,
        "queue": "gpu",
        "input": "checked_app.Order",
        "result": "Any",
        "signals": ["yes"],
        "category": "orders",
    }
    assert (plain["input"], plain["result"], plain["signals"]) == (None, "None", None)
    assert told.json()["findings"] == []
    assert "approve   3        gpu" in checked(GOOD).out


def test_a_bad_one_ends_with_2_and_all_findings(checked):
    told = checked(BAD)
    assert told.code == 2
    assert "'one' version 1: the annotation of 'order', 'Ordr', cannot be resolved" in told.err
    assert "'one' version 1: the annotation of its result, 'Missing', cannot be resolved" in told.err
    assert "'one' version 1: defaults" in told.err
    assert "'two' version 1: has defaults but takes no input" in told.err
    assert "'three' version 1: defaults" in told.err
    assert "Traceback" not in told.err


def test_an_app_without_workflows(checked):
    told = checked("from runner import App\napp = App('shop')\n")
    assert told.code == 2
    assert "has no workflow" in told.err


def test_an_app_that_does_not_load(checked):
    told = checked("from runner import App\napp = 5\n")
    assert (told.code, told.out) == (2, "")
    assert "not an App" in told.err
