"""What a journal holds that the code never asked for, in words: the code is not the one that recorded it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runner.core.commands import Opened
from runner.core.places import show
from runner.records import Entry

#: Entries that nothing has to ask for: questions without an await, marks of attempts.
UNASKED = frozenset({"patch", "attempt"})
#: What an operator had undone, the code need not know of.
UNDOING = UNASKED | {"rollback", "compensation"}
_SHOWN = 3


def left_over(
    entries: Iterable[Entry], open: Mapping[str, Opened], *, ended: bool, unasked: frozenset[str] = UNASKED
) -> str | None:
    """The difference between ``entries``, which nothing asked for, and what is asked instead; or None.

    ``unasked``: the kinds that need not be asked for. Only what this attempt recorded counts: an earlier one may have gone another way.
    """
    entries = sorted(entries, key=lambda entry: entry.number)
    since = max((entry.number for entry in entries if entry.kind == "attempt"), default=0)
    missed = [entry for entry in entries if entry.number > since and entry.kind not in unasked]
    if not missed:
        return None
    recorded = ", ".join(f"{entry.kind} {entry.id!r}" for entry in missed[:_SHOWN])
    return f"recorded, and not asked for: {recorded}{_more(len(missed))}; {_asked(open, ended=ended)}"


def _asked(open: Mapping[str, Opened], *, ended: bool) -> str:
    if ended:
        return "the code comes to its end instead"
    asked = [f"{one.command.kind} {one.id!r} at {show(one.command.where)}" for one in open.values()]
    return f"the code asks for {', '.join(asked[:_SHOWN])}{_more(len(asked))} instead" if asked else "the code waits"


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""
