"""The state diagram in the docs: drawn from the table that the code runs.

`python -m tests.docs.diagram` draws it again.
"""

from __future__ import annotations

from runner.core.status import diagram
from tests.servers import ROOT

PAGE = ROOT / "docs/how-it-works.md"
BEGIN, END = "<!-- diagram: begin -->\n", "<!-- diagram: end -->\n"


def redrawn(text: str) -> str:
    """The page with the diagram of now between its marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost its marks: {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}```mermaid\n{diagram()}```\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text()))
