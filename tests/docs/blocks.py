"""Code blocks of the documentation, with the mark in front of them: `<!-- run -->` and the like."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.servers import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """`mark` is empty for a block without one."""

    page: Path
    line: int
    language: str
    mark: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """The lines of a shell block that run something, as words, without comments."""
        for line in self.code.splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start("code")), found["language"], found["mark"] or "", found["code"])
        for found in _BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def marked(mark: str) -> list[Block]:
    return [block for block in BLOCKS if block.mark == mark]


def runnable() -> list[tuple[Block, list[str]]]:
    """Each `run` block, with the lines that the `prints` block right behind it wants to see."""
    after = {id(block): following for block, following in pairwise(BLOCKS)}
    return [(block, _printed(after.get(id(block)))) for block in marked("run")]


def _printed(block: Block | None) -> list[str]:
    return block.code.splitlines() if block is not None and block.mark == "prints" else []
