"""docs/workflows.md is true: every snippet runs and prints what the page says, and both type checkers take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import BLOCKS, Block
from tests.docs.checkers import mypy, pyright
from tests.docs.snippets import MARK, play, snippets, source


@pytest.mark.parametrize(("block", "printed"), snippets(), ids=str)
async def test_a_snippet_runs_and_prints_what_it_says(
    block: Block, printed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await play(block, tmp_path)
    assert [*capsys.readouterr().out.splitlines(), result] == printed


def test_every_snippet_says_what_it_prints() -> None:
    assert len(snippets()) == sum(block.mark.startswith(MARK) for block in BLOCKS) >= 20


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_the_snippets_are_typed(checker, tmp_path: Path) -> None:
    for block, _ in snippets():
        (tmp_path / f"snippet_{block.line}.py").write_text(source(block))
    assert checker(tmp_path, *(path.name for path in tmp_path.glob("*.py"))) == ""
