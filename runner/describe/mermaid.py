"""A flow as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator

from runner.describe.flow import Flow, Node
from runner.describe.words import words

#: The shapes of Mermaid: what opens and closes them.
_BOX, _STADIUM, _DIAMOND, _HEXAGON = ("[", "]"), ("([", "])"), ("{", "}"), ("{{", "}}")
_SHAPES = {
    "sleep": _STADIUM,
    "wait_for_signal": _STADIUM,
    "wait_for_execution": _STADIUM,
    "switch": _DIAMOND,
    "race": _HEXAGON,
    "gather": _HEXAGON,
    "map": _HEXAGON,
}


def mermaid(flow: Flow) -> str:
    """The text of a flowchart, from top to bottom: branches part at their node, and meet at the one after it."""
    chart = _Chart()
    ends = chart.line([("start", "")], flow.nodes)
    start, done = f"    start([{_quoted(flow.workflow)}])", ["    done([end])"] if ends else []
    return "\n".join(["flowchart TD", start, *chart.lines, *done, *_arrows(ends, "done"), ""])


#: Where lines come from: a node, and what is written on the arrow.
_Ends = list[tuple[str, str]]


class _Chart:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self._count = 0

    def line(self, ends: _Ends, nodes: tuple[Node, ...]) -> _Ends:
        """Draws ``nodes`` one after the other behind ``ends``; where what follows is to begin."""
        for node in nodes:
            ends = self._node(ends, node)
        return ends

    def _node(self, ends: _Ends, node: Node) -> _Ends:
        self._count += 1
        name = f"n{self._count}"
        opens, closes = _SHAPES.get(node.kind, _BOX)
        self.lines += [f"    {name}{opens}{_quoted(words(node))}{closes}", *_arrows(ends, name)]
        if node.kind in ("unknown", "continue_as_new"):
            return []  # nothing comes after it
        if not node.branches:
            return [(name, "")]
        return [end for arm in node.branches for end in self.line([(name, arm.id)], arm.nodes)]


def _arrows(ends: _Ends, name: str) -> Iterator[str]:
    for origin, label in ends:
        yield f"    {origin} -->{f'|{_quoted(label)}|' if label else ''} {name}"


def _quoted(text: str) -> str:
    """In quotes, for a name could be a word of Mermaid's; it knows no backslash: its own signs are written as entities."""
    for sign, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        text = text.replace(sign, entity)
    return f'"{" ".join(text.split())}"'
