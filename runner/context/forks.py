"""Side by side: what ``ctx.gather``, ``ctx.map`` and ``ctx.race`` are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Never, TypeVar

from runner.codec import encode
from runner.context.base import writable
from runner.core.branches import Raised, Won
from runner.core.calls import Call, asked, branch
from runner.core.commands import Decision, Fork, Part, Place
from runner.core.places import show
from runner.core.replay import Replay
from runner.errors import HistoryMismatch, UsageError

T = TypeVar("T")

Branched = Call[T] | Coroutine[Any, Any, T]


def gather_fork(where: Place, branches: Sequence[Branched[Any]], *, return_exceptions: bool) -> Fork:
    parts = [Part(str(index), lambda one=one: coroutine_of(one)) for index, one in enumerate(branches)]  # type: ignore[misc]
    return Fork(id=None, where=where, kind="gather", parts=parts, return_exceptions=return_exceptions)


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
    check_names(f"ctx.map({id!r})", names)
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise UsageError(f"ctx.map({id!r}): the key {twice!r} comes twice; each item needs a key of its own")
    if limit is not None and limit < 1:
        raise UsageError(f"ctx.map({id!r}): max_concurrency={limit}, at least 1")
    takes = bool(_taken(fn))
    parts = [
        Part(name, lambda item=item: started(fn, (item,) if takes else (), f"ctx.map({id!r})"))  # type: ignore[misc]
        for name, item in zip(names, all_items, strict=True)
    ]
    return Fork(id=id, where=where, kind="map", parts=parts, limit=limit, scoped=True)


async def race(replay: Replay, id: str, where: Place, branches: Mapping[str, Branched[Any]]) -> tuple[str, Any]:
    """The first branch to end, with its name; recorded, so that no later code decides it otherwise."""
    parts = [Part(name, lambda one=one: coroutine_of(one)) for name, one in branches.items()]  # type: ignore[misc]
    won: Won = await asked(replay, Fork(id=id, where=where, kind="race", parts=parts, first=True))
    if isinstance(won.outcome, Raised) and not isinstance(won.outcome.error, Exception):
        raise won.outcome.error  # cancelled as a whole: nobody won
    name = await asked(replay, Decision(id=id, where=where, kind="race", payload=encode(won.name)))
    if name != won.name:
        diverged(
            replay, f"race {id!r} is recorded as won by {name!r}, the code at {show(where)} has {won.name!r} first"
        )
    if isinstance(won.outcome, Raised):
        raise won.outcome.error
    return name, won.outcome.value


def check_branches(name: str, branches: Iterable[object]) -> None:
    """Raises UsageError for what cannot be a branch."""
    for one in branches:
        if not isinstance(one, Call | Coroutine):
            raise UsageError(f"{name} takes ctx calls and coroutines of them, not {type(one).__name__}")


def check_names(name: str, names: Iterable[str]) -> None:
    """Raises UsageError for a name that no entry's id can hold: of every name inside the branch it is a part."""
    for one in names:
        if not writable(one):
            raise UsageError(f"{name}: {one!r:.200} cannot name a branch: it has characters that UTF-8 cannot write")


def coroutine_of(one: Branched[Any]) -> Coroutine[Any, Any, Any]:
    return branch(one) if isinstance(one, Call) else one


async def started(make: Callable[..., Any], arguments: tuple[Any, ...], what: str) -> Any:
    """Make a branch and run it, all of it in the branch that awaits this."""
    made = make(*arguments)
    check_branches(what, [made])
    return await made


def diverged(replay: Replay, difference: str) -> Never:
    """No handler of the user's is asked what to make of it: the history is left for code that knows it."""
    error = HistoryMismatch(difference)
    replay.fail(error)
    raise error


def needs_one(make: Callable[..., Any]) -> bool:
    """True when it takes an argument and has no default for it: ``lambda name=name: ...`` binds what it needs itself."""
    return any(one.default is one.empty for one in _taken(make))


def _taken(make: Callable[..., Any]) -> list[inspect.Parameter]:
    """What it can be given by position."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # built in: it says nothing, so it gets what it is for
        return [inspect.Parameter("any", inspect.Parameter.POSITIONAL_ONLY)]
    return [one for one in parameters if one.kind is not one.KEYWORD_ONLY and one.kind is not one.VAR_KEYWORD]
