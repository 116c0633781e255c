"""One of several: what ``ctx.switch`` is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from runner.codec import encode
from runner.context.forks import Branched, diverged, needs_one, started
from runner.core.calls import asked
from runner.core.commands import Decision, Place
from runner.core.places import show
from runner.core.replay import Replay
from runner.errors import NoBranchMatched, UsageError

V = TypeVar("V")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case(Generic[V, T]):
    """One branch of a ``ctx.switch``.

    ``match``: a function of the switched value, or a value that it must equal. ``run``: makes the branch, a ctx
    call or a coroutine of them; it is given the value if it takes a parameter without a default.
    """

    id: str
    match: Callable[[V], bool] | V
    run: Callable[[V], Branched[T]] | Callable[[], Branched[T]]


#: What runs when no case matches: a case whose ``match`` is not asked, or just what would be its ``run``.
Default = Case[V, T] | Callable[[V], Branched[T]] | Callable[[], Branched[T]]


async def switch(
    replay: Replay, id: str, where: Place, value: Any, cases: Sequence[Case[Any, Any]], default: Any
) -> Any:
    """Decide, record, run. On replay the record decides: no ``match`` is called again."""
    fallback = default if default is None or isinstance(default, Case) else Case("default", None, default)
    known = _by_id(id, [*cases, *([fallback] if fallback is not None else [])])
    chosen = None if _decided(replay, id) else _choose(replay, value, cases, fallback)
    name = await asked(replay, Decision(id=id, where=where, kind="switch", payload=encode(chosen)))
    if name is None:
        raise NoBranchMatched(
            f"switch {id!r} at {show(where)}: no case matches {_short(value)}, and there is no default"
        )
    if name not in known:
        diverged(replay, f"switch {id!r} is recorded as {name!r}, the code at {show(where)} knows {sorted(known)}")
    run = known[name].run
    return await started(run, (value,) if needs_one(run) else (), f"case {name!r} of switch {id!r}")


def _decided(replay: Replay, id: str) -> bool:
    current = replay.current
    return replay.recorded(f"{current.prefix}{id}" if current is not None else id)


def _choose(replay: Replay, value: Any, cases: Iterable[Case[Any, Any]], fallback: Case[Any, Any] | None) -> str | None:
    """The id of the first case that matches. A match that called ctx would not be called again on replay: refused."""
    current, replay.current = replay.current, None
    try:
        for case in cases:
            if case.match(value) if callable(case.match) else case.match == value:
                return case.id
    finally:
        replay.current = current
    return None if fallback is None else fallback.id


def _by_id(id: str, cases: Sequence[Any]) -> dict[str, Case[Any, Any]]:
    for case in cases:
        if not isinstance(case, Case) or not case.id:
            raise UsageError(f"ctx.switch({id!r}): {case!r} is no Case(id, match, run) with an id")
    known = {case.id: case for case in cases}
    if len(known) < len(cases):
        raise UsageError(f"ctx.switch({id!r}): two cases have one id; the record of a decision names it")
    return known


def _short(value: object) -> str:
    return f"{value!r:.200}"
