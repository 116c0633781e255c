"""Decisions and forks: what ``ctx.switch``, ``ctx.map`` and ``ctx.race`` are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Never, TypeVar

from runner.codec import encode
from runner.core.branches import Raised, Won
from runner.core.calls import Call, asked, branch
from runner.core.commands import Decision, Fork, Part, Place
from runner.core.places import show
from runner.core.replay import Replay
from runner.errors import HistoryMismatch, NoBranchMatched, UsageError

V = TypeVar("V")
T = TypeVar("T")

Branched = Call[T] | Coroutine[Any, Any, T]


@dataclass(frozen=True, slots=True)
class Case(Generic[V, T]):
    """One branch of a ``ctx.switch``.

    ``match``: a function of the switched value, or a value that it must equal. ``run``: makes the branch, a ctx
    call or a coroutine of them; it is given the value if it takes a parameter.
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
        _diverged(replay, f"switch {id!r} is recorded as {name!r}, the code at {show(where)} knows {sorted(known)}")
    return await started(known[name].run, (value,), f"case {name!r} of switch {id!r}")


async def race(replay: Replay, id: str, where: Place, branches: Mapping[str, Branched[Any]]) -> tuple[str, Any]:
    """The first branch to end, with its name; recorded, so that no later code decides it otherwise."""
    parts = [Part(name, lambda one=one: coroutine_of(one)) for name, one in branches.items()]  # type: ignore[misc]
    won: Won = await asked(replay, Fork(id=id, where=where, kind="race", parts=parts, first=True))
    if isinstance(won.outcome, Raised) and not isinstance(won.outcome.error, Exception):
        raise won.outcome.error  # cancelled as a whole: nobody won
    name = await asked(replay, Decision(id=id, where=where, kind="race", payload=encode(won.name)))
    if name != won.name:
        _diverged(
            replay, f"race {id!r} is recorded as won by {name!r}, the code at {show(where)} has {won.name!r} first"
        )
    if isinstance(won.outcome, Raised):
        raise won.outcome.error
    return name, won.outcome.value


def map_fork(
    id: str,
    where: Place,
    fn: Callable[[Any], Any],
    items: Iterable[Any],
    key: Callable[[Any], Any] | None,
    limit: int | None,
) -> Fork:
    """One part per item, under the item's key or place. Raises UsageError for a key that comes twice."""
    all_items = list(items)
    names = [str(index) if key is None else str(key(item)) for index, item in enumerate(all_items)]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise UsageError(f"ctx.map({id!r}): the key {twice!r} comes twice; each item needs a key of its own")
    if limit is not None and limit < 1:
        raise UsageError(f"ctx.map({id!r}): max_concurrency={limit}, at least 1")
    parts = [
        Part(name, lambda item=item: started(fn, (item,), f"ctx.map({id!r})"))  # type: ignore[misc]
        for name, item in zip(names, all_items, strict=True)
    ]
    return Fork(id=id, where=where, kind="map", parts=parts, limit=limit, scoped=True)


def gather_fork(where: Place, branches: Sequence[Branched[Any]], *, return_exceptions: bool) -> Fork:
    parts = [Part(str(index), lambda one=one: coroutine_of(one)) for index, one in enumerate(branches)]  # type: ignore[misc]
    return Fork(id=None, where=where, kind="gather", parts=parts, return_exceptions=return_exceptions)


def check_branches(name: str, branches: Iterable[object]) -> None:
    """Raises UsageError for what cannot be a branch."""
    for one in branches:
        if not isinstance(one, Call | Coroutine):
            raise UsageError(f"{name} takes ctx calls and coroutines of them, not {type(one).__name__}")


def coroutine_of(one: Branched[Any]) -> Coroutine[Any, Any, Any]:
    return branch(one) if isinstance(one, Call) else one


async def started(make: Callable[..., Any], arguments: tuple[Any, ...], what: str) -> Any:
    """Make a branch and run it, all of it in the branch that awaits this."""
    made = make(*arguments) if _takes_any(make) else make()
    check_branches(what, [made])
    return await made


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


def _by_id(id: str, cases: Sequence[Case[Any, Any]]) -> dict[str, Case[Any, Any]]:
    for case in cases:
        if not isinstance(case, Case) or not isinstance(case.id, str) or not case.id:
            raise UsageError(f"ctx.switch({id!r}): {case!r} is no Case(id, match, run) with a text as its id")
    known = {case.id: case for case in cases}
    if len(known) < len(cases):
        raise UsageError(f"ctx.switch({id!r}): two cases have one id; the record of a decision names it")
    return known


def _takes_any(make: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # built in: it says nothing, so it gets what it is for
        return True
    return any(one.kind is not one.KEYWORD_ONLY and one.kind is not one.VAR_KEYWORD for one in parameters)


def _diverged(replay: Replay, difference: str) -> Never:
    """No handler of the user's is asked what to make of it: the history is left for code that knows it."""
    error = HistoryMismatch(difference)
    replay.fail(error)
    raise error


def _short(value: object) -> str:
    return f"{value!r:.200}"
