"""How a worker works."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.store.crashes import MAX_CRASHES


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works. ``lease_s``: how long an execution stays ours without a sign of life.

    ``in_place_s``: a turn stays for a retry that is at most this far away, instead of suspending and being woken again.
    ``max_crashes``: an execution whose turns broke, or that lost its worker, so often in a row is given up.
    ``stall_s``: a process whose event loop is blocked for so long ends itself (with ``watch_loop``).
    """

    queues: tuple[str, ...] = ("default",)
    concurrency: int = 100
    lease_s: float = 10.0
    in_place_s: float = 2.0
    grace_s: float = 30.0
    threads: int = 32
    max_crashes: int = MAX_CRASHES
    stall_s: float = 10.0
    build: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    watch_loop: bool = True

    @property
    def lease_ms(self) -> int:
        return round(self.lease_s * 1000)

    def prefetch(self) -> Mapping[str, int]:
        """The slots, split over the queues: the broker never hands out more than there are."""
        share, rest = divmod(self.concurrency, len(self.queues))
        return {queue: max(1, share + (index < rest)) for index, queue in enumerate(self.queues)}
