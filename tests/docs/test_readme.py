"""What the documentation shows is what happens."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from runner.cli.root import root
from tests.docs.blocks import BLOCKS, Block, marked, runnable
from tests.docs.programs import run
from tests.servers import ROOT


@pytest.mark.parametrize(("block", "printed"), runnable(), ids=str)
def test_a_program_runs_and_prints_what_it_says(block: Block, printed: list[str], tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.code)
    said = run(str(program), folder=tmp_path).splitlines()
    assert [line for line in said if line in printed] == printed


def test_there_are_programs_to_run() -> None:
    assert len(runnable()) >= 4
    assert all(printed for _, printed in runnable())


def test_the_first_example_is_the_file_that_runs_and_is_short() -> None:
    (block,) = marked("file: examples/quickstart.py")
    assert block.code == (ROOT / "examples/quickstart.py").read_text()
    assert sum(bool(line.strip()) for line in block.code.splitlines()) <= 15


def commands() -> list[tuple[Block, list[str]]]:
    shell = [block for block in BLOCKS if block.language == "sh"]
    return [(block, words) for block in shell for words in block.commands() if words[0] == "runner"]


@pytest.mark.parametrize(
    ("block", "words"), commands(), ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_a_command_exists_with_its_arguments(block: Block, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_APP", "examples.approval:app")
    parse(root, words)


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Raises when click would not take these words; runs nothing."""
    ctx = command.make_context(words[0], words[1:], parent=parent)
    if isinstance(command, click.Group):
        rest = [*ctx._protected_args, *ctx.args]
        inner = command.get_command(ctx, rest[0])
        assert inner is not None, f"there is no command {words[0]} {rest[0]}"
        parse(inner, rest, ctx)
