"""How fast a worker works: the turns that have ended lately, by queue. From any thread."""

from __future__ import annotations

import threading
from collections import Counter

from runner.clock import Ticks, boot_ms

#: What has ended within this long counts, in ms; it is forgotten in pieces of so long.
WINDOW_MS, PIECE_MS = 60_000, 5_000


class Pace:
    """Counts by queue, over the last minute."""

    def __init__(self, ticks: Ticks = boot_ms) -> None:
        self._ticks = ticks
        self._began = ticks()
        self._lock = threading.Lock()
        self._pieces: dict[int, Counter[str]] = {}  # by their number since boot

    def ended(self, queue: str) -> None:
        """A turn of this queue has ended."""
        with self._lock:
            self._pieces.setdefault(self._ticks() // PIECE_MS, Counter())[queue] += 1
            self._forget()

    def lately(self) -> tuple[tuple[tuple[str, int], ...], int]:
        """How many turns have ended, by queue, and within how many ms."""
        with self._lock:
            self._forget()
            counts = sum(self._pieces.values(), Counter[str]())
        return tuple(sorted(counts.items())), min(self._ticks() - self._began, WINDOW_MS)

    def _forget(self) -> None:
        oldest = (self._ticks() - WINDOW_MS) // PIECE_MS
        self._pieces = {number: piece for number, piece in self._pieces.items() if number > oldest}
