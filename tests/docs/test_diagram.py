from __future__ import annotations

import pytest

from tests.docs.diagram import PAGE, redrawn


def test_the_diagram_is_that_of_the_table() -> None:
    text = PAGE.read_text()
    assert text == redrawn(text), "draw it again: python -m tests.docs.diagram"


def test_a_page_without_its_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="marks"):
        redrawn("no marks here")
