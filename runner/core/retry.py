"""How often and how far apart a failing step or execution is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from runner.durations import to_ms
from runner.errors import UsageError

Duration = timedelta | float | int

#: The first pause, and the longest, of a policy that does not say, in ms.
FIRST_MS, LONGEST_MS = 500, 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A retry policy; durations are timedelta or seconds.

    Attempt n is followed by a pause of ``initial * multiplier ** (n - 1)``, at most
    ``max_interval``, spread evenly over ± ``jitter`` (a fraction) of itself. ``initial`` None: half a second, or
    ``max_interval`` where that is shorter; ``max_interval`` None: a minute, or ``initial`` where that is longer. Tried at
    most ``max_attempts`` times in all, not at all again for errors that are instances of ``non_retryable`` (of an execution: also for a
    step that failed with one), and not when the next
    attempt would begin more than ``give_up_after`` (None: no such limit) after the first one began.

    Raises UsageError when built with values that make no sense, such as an ``initial`` above the ``max_interval``.
    """

    max_attempts: int = 3
    initial: Duration | None = None
    multiplier: float = 2.0
    max_interval: Duration | None = None
    jitter: float = 0.2
    non_retryable: tuple[type[BaseException], ...] = ()
    give_up_after: Duration | None = None

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise UsageError(f"Retry(max_attempts={self.max_attempts}): at least 1, the first attempt counts")
        if not 0 <= self.jitter <= 1:
            raise UsageError(f"Retry(jitter={self.jitter}): a fraction between 0 and 1")
        if self.multiplier < 1:
            raise UsageError(f"Retry(multiplier={self.multiplier}): at least 1")
        for name in ("initial", "max_interval", "give_up_after"):
            if (duration := getattr(self, name)) is not None:
                to_ms(duration, what=f"Retry({name})")
        if self.initial is not None and self._first_ms > self._ceiling_ms:
            raise UsageError(
                f"Retry(initial={self.initial}, max_interval={self.max_interval}): the first pause is longer than the "
                "longest; give a larger max_interval, or none: then it is at least initial"
            )

    def retries(self, error: BaseException, attempt: int) -> bool:
        """True when attempt number ``attempt``, which ended with ``error``, is to be followed by another."""
        return attempt < self.max_attempts and not isinstance(error, self.non_retryable)

    def gives_up(self, elapsed_ms: int) -> bool:
        """True when an attempt that begins ``elapsed_ms`` after the first one began would be too late."""
        return self.give_up_after is not None and elapsed_ms > to_ms(self.give_up_after)

    def delay_ms(self, attempt: int, chance: float) -> int:
        """The pause after attempt number ``attempt``; ``chance`` in [0, 1) picks the place within the jitter."""
        # The exponent is capped: past it the ceiling rules, and a float would overflow.
        plain = min(self._first_ms * self.multiplier ** min(attempt - 1, 64), self._ceiling_ms)
        return round(plain * (1 + self.jitter * (2 * chance - 1)))

    @property
    def _first_ms(self) -> int:
        return FIRST_MS if self.initial is None else to_ms(self.initial)

    @property
    def _ceiling_ms(self) -> int:
        return max(LONGEST_MS, self._first_ms) if self.max_interval is None else to_ms(self.max_interval)


ONCE = Retry(max_attempts=1)
