"""Signals that have arrived and do not help, and those that cannot arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from runner.detail import unread
from runner.why.codes import ReasonCode
from runner.why.facts import Facts
from runner.why.reason import Reason, command

#: Names that are at least so alike are told of: 1 is equal.
ALIKE = 0.7
#: So many names of unread signals are told of.
MAX_NAMES = 5


def signals(facts: Facts) -> Iterator[Reason]:
    waited = [wait.name for wait in facts.waits if wait.kind == "signal"]
    yield from _undeclared(facts, waited)
    arrived = [item for item in unread(facts.history) if item.kind == "signal"]
    counts = Counter(item.name for item in arrived)
    first = {item.name: item.at for item in reversed(arrived)}
    for name, count in list(counts.items())[:MAX_NAMES]:
        meant = None if name in waited else similar(name, waited)
        if meant is not None:
            yield _similar(facts, name, meant, first[name])
        else:
            yield _unread(name, count, first[name], waited=name in waited)


def similar(name: str, waited: Sequence[str]) -> str | None:
    """The name that was probably meant, or None."""
    folded = {one.casefold(): one for one in waited}
    found = get_close_matches(name.casefold(), folded, n=1, cutoff=ALIKE)
    return folded[found[0]] if found else None


def _similar(facts: Facts, name: str, meant: str, at: int) -> Reason:
    return Reason(
        code=ReasonCode.SIMILAR_SIGNAL,
        text=f"a signal {name!r} has arrived, and nothing reads it: was {meant!r} meant?",
        since=at,
        cure=command("executions", "signal", facts.id, meant, "PAYLOAD"),
        data={"signal": name, "meant": meant},
    )


def _unread(name: str, count: int, at: int, *, waited: bool) -> Reason:
    times = "a signal" if count == 1 else f"{count} signals"
    then = "what waits for it reads it next" if waited else "kept until its code waits for it"
    text = f"{times} {name!r} arrived, unread: {then}"
    return Reason(code=ReasonCode.UNREAD_SIGNAL, text=text, since=at, data={"signal": name, "count": count})


def _undeclared(facts: Facts, waited: Sequence[str]) -> Iterator[Reason]:
    declared = None if facts.declared is None else facts.declared.signals
    for name in dict.fromkeys(waited):
        if declared is not None and name not in declared:
            yield Reason(
                code=ReasonCode.UNDECLARED_SIGNAL,
                text=f"workflow {facts.execution.workflow!r} does not declare signal {name!r}: "
                f"clients with its code refuse to send it",
                cure="add it to signals=[...] of @app.workflow; meanwhile send it with --namespace instead of --app",
                data={"signal": name, "declared": sorted(declared)},
            )
