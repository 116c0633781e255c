"""Forks and decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, overload

from runner.context.base import Base, checked
from runner.context.cases import Case, Default, switch
from runner.context.forks import Branched, check_branches, check_names, gather_fork, map_fork, race
from runner.core.calls import Call, Routine
from runner.errors import UsageError

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
V = TypeVar("V")


class Branching(Base):
    """What runs side by side, and what runs instead of something else."""

    @overload
    def gather(self, a: Branched[T1], /, *, return_exceptions: bool = False) -> Call[tuple[T1]]: ...
    @overload
    def gather(self, a: Branched[T1], b: Branched[T2], /) -> Call[tuple[T1, T2]]: ...
    @overload
    def gather(self, a: Branched[T1], b: Branched[T2], c: Branched[T3], /) -> Call[tuple[T1, T2, T3]]: ...
    @overload
    def gather(
        self, a: Branched[T1], b: Branched[T2], c: Branched[T3], d: Branched[T4], /
    ) -> Call[tuple[T1, T2, T3, T4]]: ...
    @overload
    def gather(self, *branches: Branched[T]) -> Call[tuple[T, ...]]: ...
    @overload
    def gather(self, *branches: Branched[T], return_exceptions: bool) -> Call[tuple[T | BaseException, ...]]: ...
    def gather(self, *branches: Branched[Any], return_exceptions: bool = False) -> Call[Any]:
        """Run ctx calls, or coroutines of them, side by side; their results in the order given.

        When one fails, the others are cancelled and driven to their end, then the failure that was recorded first
        is raised. ``return_exceptions``: failures take the place of results, nothing is cancelled.
        """
        check_branches("ctx.gather", branches)
        fork = gather_fork(self._place("ctx.gather"), branches, return_exceptions=return_exceptions)
        return Call(self._replay, "ctx.gather(...)", fork)

    def map(
        self,
        id: str,
        fn: Callable[[V], Branched[T]],
        items: Iterable[V],
        *,
        key: Callable[[V], object] | None = None,
        max_concurrency: int | None = None,
    ) -> Call[tuple[T, ...]]:
        """Run ``fn(item)``, a ctx call or a coroutine of them, for every item; results in the order of the items.

        At most ``max_concurrency`` (None: all) at once. Ids inside are the item's own: step ``charge`` of the
        item with key ``7`` is recorded as ``<id>[7]/charge``. ``key`` (default: the item's place) keeps them when
        items change places. Fails as ``gather`` does.
        """
        fork = map_fork(checked(id, "ctx.map"), self._place("ctx.map"), fn, items, key, max_concurrency)
        return Call(self._replay, f"ctx.map({id!r})", fork)

    def race(self, id: str, /, **branches: Branched[T]) -> Call[tuple[str, T]]:
        """Run branches side by side until the first ends: its name and its result, or its error.

        The winner is recorded. The others are cancelled and driven to their end; a signal that one of them waited
        for stays in the inbox.
        """
        if not branches:
            raise UsageError(f"ctx.race({id!r}): give it branches, by name")
        check_names(f"ctx.race({id!r})", branches)
        check_branches(f"ctx.race({id!r})", branches.values())
        where = self._place("ctx.race")
        name = checked(id, "ctx.race")
        return Routine(self._replay, f"ctx.race({id!r})", where, lambda: race(self._replay, name, where, branches))

    def switch(self, id: str, value: V, cases: Sequence[Case[V, T]], default: Default[V, T] | None = None) -> Call[T]:
        """Run the first case that matches ``value``, and return what it returns.

        The decision is recorded before the case runs: it stands, though the value be another one on replay.
        Raises NoBranchMatched, where it is awaited, when no case matches and there is no default.
        """
        where = self._place("ctx.switch")
        name = checked(id, "ctx.switch")
        return Routine(
            self._replay,
            f"ctx.switch({id!r})",
            where,
            lambda: switch(self._replay, name, where, value, cases, default),
        )
