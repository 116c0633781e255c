"""A node in one line, for people."""

from __future__ import annotations

from runner.describe.flow import Node


def words(node: Node) -> str:
    """What it is, what it is called, and what bounds it."""
    return " ".join(part for part in (node.kind.replace("_", " "), *_named(node), *_more(node)) if part)


def _named(node: Node) -> tuple[str, ...]:
    if node.kind == "step" and node.name == node.id:
        return (node.id,)
    return (node.id, f"({node.name})" if node.id and node.name else node.name)


def _more(node: Node) -> tuple[str, ...]:
    return (
        "" if node.duration is None else str(node.duration),
        "" if node.timeout is None else f"within {node.timeout}",
        "compensated" if node.compensates else "",
        node.reason,
    )
