"""Names for the cases of a test: the same in every process, though sets are not."""

from __future__ import annotations


def named(case: object, length: int) -> str:
    """The start of its repr; of a set only the type, for its order changes from process to process."""
    return type(case).__name__ if isinstance(case, set | frozenset) else ascii(case)[:length]
