"""Text for people: what comes from data cannot move the cursor, forge a line or hide one."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    """The text with every control and formatting character shown escaped, but for those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters, the last an ellipsis when something is left out."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
