"""Attributes: one text for each value everywhere, and what cannot be indexed is refused."""

from __future__ import annotations

import pytest

from runner.attributes import MAX_COUNT, attribute_texts
from runner.errors import UsageError


def test_names_are_sorted_and_values_have_one_text():
    packed = attribute_texts({"b": 1, "a": "ä\n", "c": True, "d": 1.0})
    assert packed == (("a", '"\\u00e4\\n"'), ("b", "1"), ("c", "true"), ("d", "1.0"))
    assert attribute_texts(None) == attribute_texts({}) == ()


@pytest.mark.parametrize(
    "values",
    [
        {"a": None},
        {"a": [1]},
        {"a": b"x"},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "x" * 2_000},
        {"a b": 1},
        {"": 1},
        {f"a{number}": 1 for number in range(MAX_COUNT + 1)},
    ],
)
def test_what_cannot_be_found_by_is_refused(values):
    with pytest.raises(UsageError, match="attributes"):
        attribute_texts(values)
