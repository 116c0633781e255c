"""When each partition must next be looked at: the scheduler sleeps until then."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

#: One duty in one partition.
Place = tuple[str, int]


class Agenda:
    """For every duty and partition the store's time at which it has something to do, as far as is known."""

    def __init__(self, duties: Iterable[str], partitions: int) -> None:
        self._duties = tuple(duties)
        self._partitions = partitions
        self._next: dict[Place, int | None] = {
            (duty, partition): 0 for duty in self._duties for partition in range(partitions)
        }

    def due(self, now: int) -> list[Place]:
        """What there is to do now."""
        return [place for place, moment in self._next.items() if moment is not None and moment <= now]

    def learn(self, partition: int, moments: Mapping[str, int | None]) -> None:
        """What the store's indexes say of a partition."""
        for duty in self._duties:
            self._next[duty, partition] = moments.get(duty)

    def next(self, beside: Collection[Place] = ()) -> int | None:
        """The earliest moment of all but these."""
        moments = (moment for place, moment in self._next.items() if place not in beside)
        return min((moment for moment in moments if moment is not None), default=None)
