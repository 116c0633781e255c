"""Time as a test wants it: it stands still while code runs, and moves when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime


class SkipClock:
    """The clock of a test's store, in ms since 1970. From any thread."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def __call__(self) -> int:
        return self._now_ms

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms / 1000, UTC)

    def skip_to(self, moment_ms: int) -> None:
        """Move to ``moment_ms``; never back."""
        self._now_ms = max(self._now_ms, moment_ms)
