"""What an execution that is attempted anew forgets of what it had recorded, and the line where the new attempt begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.records import Entry

#: What no attempt changes: what was asked without an await, marks, a cancel.
_KEPT = frozenset({"patch", "attempt", "cancel"})


def tried_anew(drop: tuple[str, ...], entries: Iterable[Entry]) -> tuple[str, ...]:
    """``drop``, and what was recorded behind the first of these under a name that is a place in the code, or decided by it.

    Where the next attempt goes another way, an unnamed call in the same place is another call, and a race another race.
    """
    all_entries = list(entries)
    since = min((entry.number for entry in all_entries if entry.id in drop), default=None)
    if since is None:
        return drop
    later = (one for one in all_entries if one.number > since and one.id not in drop and one.kind not in _KEPT)
    return (*drop, *(one.id for one in later if one.kind == "race" or one.id.startswith("__")))


def mark(entries: Sequence[Entry], *, error: bytes, attempt: int, at: int, outcome: str = "failed") -> Entry:
    """The line behind attempt number ``attempt``: what stands before it, another attempt need not ask for.

    Counted, not named after the attempt: an operator's retry (outcome ``reopened``) begins with attempt 1 again.
    """
    count = 1 + sum(entry.kind == "attempt" for entry in entries)
    number = 1 + max((entry.number for entry in entries), default=0)
    return Entry(
        number=number,
        id=f"__attempt:{count}",
        kind="attempt",
        outcome=outcome,
        payload=error,
        at=at,
        attempts=attempt,
    )
