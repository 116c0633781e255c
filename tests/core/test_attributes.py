"""Attributes: one text for each value everywhere, and what cannot be indexed is refused."""

from __future__ import annotations

from enum import StrEnum

import pytest

from runner.attributes import MAX_ATTRIBUTES, pack_attributes
from runner.errors import UsageError


class Colour(StrEnum):
    RED = "red"


def test_names_are_sorted_and_values_have_one_text():
    packed = pack_attributes({"b": 1, "a": "ä\n", "c": True, "d": 1.0})
    assert packed == (("a", '"\\u00e4\\n"'), ("b", "1"), ("c", "true"), ("d", "1.0"))
    assert pack_attributes(None) == pack_attributes({}) == ()


@pytest.mark.parametrize(
    "values",
    [
        {"a": None},
        {"a": [1]},
        {"a": b"x"},
        {"a": Colour.RED},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "x" * 2_000},
        {"a b": 1},
        {"": 1},
        {f"a{number}": 1 for number in range(MAX_ATTRIBUTES + 1)},
    ],
)
def test_what_cannot_be_found_by_is_refused(values):
    with pytest.raises(UsageError, match="attribute"):
        pack_attributes(values)
