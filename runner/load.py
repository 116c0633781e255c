"""What a worker says of its work with every heartbeat: enough to tell what a queue waits for, and what runs for long."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LongStep:
    """A step's attempt that has run for ``for_ms`` so far, by the worker's own clock; ``timeout_ms`` is its limit."""

    execution_id: str
    step: str
    attempt: int
    for_ms: int
    timeout_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """As of a heartbeat.

    ``busy``: executions it has in hand. ``ended``: turns that have ended, by queue, within the last ``over_ms`` (a minute, or less
    when it is younger). ``steps``: the longest of the attempts that have run for some seconds. ``max_crashes``: so many in a
    row it lets an execution have.
    """

    busy: int = 0
    ended: tuple[tuple[str, int], ...] = ()
    over_ms: int = 0
    steps: tuple[LongStep, ...] = ()
    max_crashes: int = 0

    def row(self) -> tuple[Any, ...]:
        """For msgpack."""
        return self.busy, self.ended, self.over_ms, [astuple(one) for one in self.steps], self.max_crashes

    @classmethod
    def of_row(cls, row: tuple[Any, ...]) -> Load:
        busy, ended, over_ms, steps, max_crashes, *_ = row
        return cls(
            busy=busy,
            ended=tuple((queue, count) for queue, count in ended),
            over_ms=over_ms,
            steps=tuple(
                LongStep(execution_id=execution_id, step=step, attempt=attempt, for_ms=for_ms, timeout_ms=timeout_ms)
                for execution_id, step, attempt, for_ms, timeout_ms in steps
            ),
            max_crashes=max_crashes,
        )


#: Of a worker that has not said.
NO_LOAD = Load()


#: Of a worker that has only begun, nothing is concluded from less than this, in ms.
_AT_LEAST_MS = 5_000
_MINUTE_MS = 60_000


def turns_per_minute(load: Load, queue: str | None = None) -> float:
    """How fast it works off a queue (None: all of its queues)."""
    turns = sum(count for name, count in load.ended if queue in (None, name))
    return turns * _MINUTE_MS / max(load.over_ms, _AT_LEAST_MS)
