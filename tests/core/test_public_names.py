"""The front door: every name that it promises is there."""

from __future__ import annotations

import pytest

import runner


@pytest.mark.parametrize("name", runner.__all__)
def test_a_public_name_leads_to_what_it_names(name):
    assert getattr(runner, name).__name__ == name
