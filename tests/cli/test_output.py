"""What is shown: whole, harmless, and for programs the same on every terminal."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from pydantic import BaseModel

from runner.cli.output import as_json, moment, put_table, span
from runner.cli.text import printable, shortened
from runner.cli.values import input_for, read_attributes, read_json
from runner.errors import PayloadError, UsageError
from runner.workflow import Workflow

NASTY = "a\x1b[31m\nb\u202ec\x9bd\U000e0041é"


def test_control_characters_are_shown_escaped():
    assert printable(NASTY) == r"a\x1b[31m\nb\u202ec\x9bd\U000e0041é"
    assert printable("a\nb", keep="\n") == "a\nb"


def test_json_keeps_the_value_and_moves_no_cursor():
    text = as_json({"text": NASTY}, indent=2)
    assert json.loads(text) == {"text": NASTY}
    assert printable(text, keep="\n") == text
    assert "é" in text


@dataclass
class Order:
    amount: Decimal
    at: datetime


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    name: str


class Odd:
    def __str__(self):
        return "odd"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Order(Decimal("1.10"), datetime(2026, 1, 2, tzinfo=UTC)), {"amount": "1.10", "at": "2026-01-02T00:00:00Z"}),
        ({1: (2, 3), "x": {4}}, {"1": [2, 3], "x": [4]}),
        (2**70, 2**70),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"ab", "YWI="),
        (timedelta(seconds=1), "PT1S"),
        (Colour.RED, "red"),
        (Model(name="x"), {"name": "x"}),
        (Odd(), "odd"),
    ],
)
def test_any_value_has_a_json_form(value, plain):
    assert json.loads(as_json(value)) == plain


def test_moments_and_spans():
    assert moment(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"
    assert moment(None) is None
    assert [span(ms) for ms in (5, 1500, 3_723_000)] == ["5 ms", "1.5 s", "1:02:03"]


def test_a_table_in_a_pipe_is_aligned_and_cuts_nothing_off(capsys):
    put_table(("id", "name"), [("x" * 150, "a\tb"), ("y", "c")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["id".ljust(152) + "name", "x" * 150 + "  a\\tb", "y".ljust(152) + "c"]


def test_a_table_on_a_terminal_loses_nothing(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    put_table(("id", "name"), [("x" * 30, "y" * 30), ("[bold]", "z")])
    told = capsys.readouterr().out
    assert told.count("x") == 30
    assert told.count("y") == 30
    assert "[bold]" in told


def test_shortened_says_so():
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abcd", 4) == "abcd"


# -- values in ----------------------------------------------------------------------------------------------


def test_json_from_text_file_and_standard_input(tmp_path, monkeypatch):
    (tmp_path / "x.json").write_text('{"a": 1}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))
    assert read_json('{"a": 1}', what="input") == {"a": 1}
    assert read_json(f"@{tmp_path / 'x.json'}", what="input") == {"a": 1}
    assert read_json("-", what="input") == {"a": 1}
    assert read_json(None, what="input") is None


@pytest.mark.parametrize("text", ["ann", "{", "@/nowhere", "[" * 100_000])
def test_what_is_no_json(text):
    with pytest.raises(UsageError, match="input"):
        read_json(text, what="input")


def workflow(input_type, *, takes_input=True):
    async def flow(ctx): ...

    return Workflow(
        fn=flow,
        name="flow",
        version=1,
        queue="default",
        takes_input=takes_input,
        input_type=input_type,
        output_type=None,
    )


def test_json_becomes_the_input_type():
    given = {"amount": "1.10", "at": "2026-01-02T00:00:00Z"}
    assert input_for(workflow(Order), given) == Order(Decimal("1.10"), datetime(2026, 1, 2, tzinfo=UTC))


def test_an_input_that_does_not_fit_is_named_by_its_path():
    with pytest.raises(PayloadError, match=r"input\.at"):
        input_for(workflow(Order), {"amount": "1"})


def test_attributes_are_json_where_they_can_be():
    given = ["customer=ann", "vip=true", "n=7", "rate=0.5", 'code="7"', "odd=a=b", "empty="]
    assert read_attributes(given) == {
        "customer": "ann",
        "vip": True,
        "n": 7,
        "rate": 0.5,
        "code": "7",
        "odd": "a=b",
        "empty": "",
    }
    with pytest.raises(UsageError, match="name=value"):
        read_attributes(["customer"])
