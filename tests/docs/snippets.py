"""Snippets of docs/workflows.md: each is a workflow, run after the lines that the page begins with.

The mark `<!-- snippet: workflow, input -->` says what is started; a list behind it, what is sent: pairs of a signal and
its payload. What the snippet prints, and last what it returns, is in the `prints` block behind it.
"""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from runner import RunnerError
from tests.docs.blocks import BLOCKS, Block, marked

MARK = "snippet: "


def snippets() -> list[tuple[Block, list[str]]]:
    """Each snippet, with the lines that it prints."""
    return [
        (block, after.code.splitlines())
        for block, after in pairwise(BLOCKS)
        if block.mark.startswith(MARK) and after.mark == "prints"
    ]


def source(block: Block) -> str:
    """The page's first lines, the snippet, and a name for what its mark starts."""
    (preamble,) = marked("preamble")
    return f"{preamble.code}\n\n{block.code}\n\nplayed = ({block.mark.removeprefix(MARK)})\n"


async def play(block: Block, folder: Path) -> str:
    """Run it: what the workflow returned, or how it ended."""
    module = _imported(source(block), folder / f"snippet_{block.page.stem}_{block.line}.py")
    workflow, given, *sent = module.played
    async with module.app.embedded() as client:
        handle = await client.start(workflow, given, id="e1")
        for signal, payload in sent[0] if sent else []:
            await handle.signal(signal, payload)
        return (await _ended(handle)).replace(module.__file__ or "", "page.py")


async def _ended(handle: Any) -> str:
    try:
        return str(await handle.result(timeout=30))
    except RunnerError as error:
        return f"{type(error).__name__}: {error}"


def _imported(code: str, path: Path) -> ModuleType:
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
