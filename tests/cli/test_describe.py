"""`runner describe`: a tree for people, a document for programs, a chart for pages."""

from __future__ import annotations

import sys

import pytest

FLOWS = """
from __future__ import annotations
from dataclasses import dataclass
from runner import App, Case, Context

app = App("flows")

@dataclass(frozen=True)
class Order:
    id: str
    amount: int = 1

def step() -> None: raise SystemExit(9)

@app.workflow("pay", version=2, defaults=Order("demo"))
async def pay(ctx: Context, order: Order) -> None:
    await ctx.step("charge", step).options(compensate=step, timeout=5)
    await ctx.switch("size", order.amount, [Case("big \\x1b[31m", 9, lambda: ctx.sleep(60, id='"nap"'))], lambda: ctx.note("<small>"))
    await ctx.step(f"ship-{order.id}", step)
    await ctx.race("last", one=ctx.sleep(1), two=ctx.sleep(2))

@app.workflow()
async def lost(ctx: Context) -> None:
    raise ValueError("which way")
"""


@pytest.fixture
def described(call, project):
    (project / "described_app.py").write_text(FLOWS)
    sys.modules.pop("described_app", None)
    yield lambda *words: call("describe", *words, "--app", "described_app:app")
    sys.modules.pop("described_app", None)


def test_the_tree_is_indented_and_harmless(described):
    told = described("pay")
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines() == [
        "pay (version 2)",
        "  step charge (step) within 0:00:05 compensated",
        "  switch size",
        "    big \\x1b[31m:",
        '      sleep "nap" 0:01:00',
        "    default:",
        "      note <small>",
        "  step ship-demo (step)",
        "  race last",
        "    one:",
        "      sleep 0:00:01",
        "    two:",
        "      sleep 0:00:02",
    ]


def test_the_document_says_what_each_node_has(described):
    told = described("pay", '{"id": "7"}', "--json").json()
    assert (told["workflow"], told["version"], told["truncated"]) == ("pay", 2, False)
    assert told["nodes"][0] == {"kind": "step", "id": "charge", "name": "step", "compensates": True, "timeout_s": 5.0}
    assert told["nodes"][1]["branches"][0]["nodes"] == [{"kind": "sleep", "id": '"nap"', "duration_s": 60.0}]
    assert told["nodes"][2]["id"] == "ship-7"
    assert described("pay", '{"id": "7"}', "--format", "json").json() == told


def test_the_chart_parts_at_a_switch_and_meets_behind_it(described):
    lines = [line.strip() for line in described("pay", "--format", "mermaid").out.splitlines()]
    assert lines[0] == "flowchart TD"
    assert 'n2{"switch size"}' in lines
    assert 'n3(["sleep #quot;nap#quot; 0:01:00"])' in lines
    assert 'n4["note #lt;small#gt;"]' in lines
    assert {'n2 -->|"default"| n4', "n3 --> n5", "n4 --> n5", "n7 --> done", "n8 --> done"} <= set(lines)
    assert not [line for line in lines if "\x1b" in line]


def test_a_flow_that_is_not_known_to_its_end_says_why(described):
    told = described("lost")
    assert told.code == 0
    assert "unknown ValueError: which way (at " in told.out
    assert "done" not in described("lost", "--format", "mermaid").out


def test_what_cannot_be_described_is_refused(described):
    assert described("nowhere").code == 4
    refused = described("pay", '{"id": 7}')
    assert (refused.code, refused.out) == (2, "")
    assert "input.id" in refused.err
    assert described("pay", "--json", "--format", "mermaid").code == 2
