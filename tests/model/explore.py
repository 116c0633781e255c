"""Every state that can be reached, looked at: an explicit-state search for any protocol that can list its moves.

Breadth first, so that what is found wrong is found on a shortest way. Two questions are answered:

* is there a state in which something is wrong (safety)?
* is there a state from which no faultless way leads to the end (nothing gets stuck)? By then every fault has
  happened that ever will: whatever the state, time, the scheduler and one worker must be able to finish it.
"""

from __future__ import annotations

import gc
from array import array
from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S", bound=Hashable)

#: What happens, whether it is a fault, and what the world looks like then.
Move = tuple[str, bool, S]


class Finding(NamedTuple, Generic[S]):
    """What is wrong with ``state``, and a shortest way to it."""

    what: str
    way: tuple[str, ...]
    state: S

    def __str__(self) -> str:
        return "\n".join((f"{self.what}, after", *(f"  {n:2}. {move}" for n, move in enumerate(self.way, 1))))


class Report(NamedTuple, Generic[S]):
    states: int
    transitions: int
    finding: Finding[S] | None


class _Search(Generic[S]):
    """The states found so far, numbered in the order of their finding, and the faultless moves between them."""

    def __init__(self, start: S) -> None:
        self.states = [start]
        self.transitions = 0
        self.into: list[array[int]] = [array("I")]  # by state: from where a faultless move leads to it
        self._numbers = {start: 0}
        self._parents = array("I", [0])
        self._names = [""]

    def walk(self, number: int, moves: Iterable[Move[S]]) -> None:
        for name, fault, state in moves:
            self.transitions += 1
            to = self._numbers.setdefault(state, len(self.states))
            if to == len(self.states):
                self.states.append(state)
                self.into.append(array("I"))
                self._parents.append(number)
                self._names.append(name)
            if not fault:
                self.into[to].append(number)

    def finding(self, what: str, number: int) -> Finding[S]:
        state = self.states[number]
        way: list[str] = []
        while number:
            way.append(self._names[number])
            number = self._parents[number]
        return Finding(what, tuple(reversed(way)), state)

    def stuck(self, ends: list[int]) -> int | None:
        """The first state from which no faultless way leads to one of ``ends``."""
        alive = bytearray(len(self.states))
        for number in ends:
            alive[number] = 1
        ahead = ends
        while ahead:
            for before in self.into[ahead.pop()]:
                if not alive[before]:
                    alive[before] = 1
                    ahead.append(before)
        first = alive.find(0)
        return None if first < 0 else first


@contextmanager
def _no_garbage() -> Generator[None, None, None]:
    """States are tuples of tuples: looking for cycles among millions of them would take a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def explore(
    start: S, moves: Callable[[S], Iterable[Move[S]]], wrong: Callable[[S], str], ended: Callable[[S], bool]
) -> Report[S]:
    """All states that ``moves`` leads to from ``start``, of which there must be an end.

    ``wrong`` says what is the matter with a state ("": nothing); the search ends at the first that is.
    """
    search = _Search(start)
    with _no_garbage():
        finding = _first_wrong(search, moves, wrong) or _first_stuck(search, ended)
    return Report(len(search.states), search.transitions, finding)


def _first_wrong(
    search: _Search[S], moves: Callable[[S], Iterable[Move[S]]], wrong: Callable[[S], str]
) -> Finding[S] | None:
    number = 0
    while number < len(search.states):
        state = search.states[number]
        if what := wrong(state):
            return search.finding(what, number)
        search.walk(number, moves(state))
        number += 1
    return None


def _first_stuck(search: _Search[S], ended: Callable[[S], bool]) -> Finding[S] | None:
    stuck = search.stuck([number for number, state in enumerate(search.states) if ended(state)])
    return None if stuck is None else search.finding("nothing faultless leads to an end", stuck)
