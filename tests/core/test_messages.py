"""Hints from whoever may publish: what none of ours can have said is no hint."""

from __future__ import annotations

import pytest

from runner.messages import Hint, MalformedHint


@pytest.mark.parametrize(("version", "seq"), [(1, 2**53), (1, 2**63), (1, -1), (2**63, 1), (-1, 1)])
def test_numbers_that_nobody_has_counted_are_refused(version: int, seq: int) -> None:
    with pytest.raises(MalformedHint):
        Hint.decode(Hint("a", "flow", version, seq).encode())


def test_a_hint_comes_back_as_it_was() -> None:
    hint = Hint("a", "flow", 3, 2**53 - 1)
    assert Hint.decode(hint.encode()) == hint
