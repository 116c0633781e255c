"""Durations and moments as users write them, turned into the milliseconds that the store keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runner.errors import UsageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
#: Redis keeps deadlines as doubles, exact to 2**53: a thousand years from now are far below that.
_LONGEST = timedelta(days=365_250)


def to_ms(duration: timedelta | float, *, what: str = "duration") -> int:
    """Whole milliseconds, rounded up: nothing is ever due early.

    Raises UsageError, naming ``what``, for anything but a ``timedelta`` or a number of seconds
    between zero and a thousand years.
    """
    length = duration if isinstance(duration, timedelta) else _seconds(duration, what)
    if length < timedelta(0):
        raise UsageError(f"{what}: a duration cannot be negative, got {length.total_seconds():g} s")
    if length > _LONGEST:
        raise UsageError(f"{what}: longer than a thousand years; leave it out if there is no limit")
    return -(-length // _MS)


def to_moment_ms(moment: datetime, *, what: str = "moment") -> int:
    """Milliseconds since 1970, rounded up.

    Raises UsageError, naming ``what``, for anything but a datetime with a time zone, and for one before 1970.
    """
    if not isinstance(moment, datetime):
        raise UsageError(f"{what}: a datetime with a time zone is needed, got {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise UsageError(
            f"{what}: a datetime without a time zone means another moment on every machine; add tzinfo=UTC"
        )
    if moment < _EPOCH:
        raise UsageError(f"{what}: a moment before 1970 cannot be stored")
    return -(-(moment - _EPOCH) // _MS)


def _seconds(duration: float, what: str) -> timedelta:
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise UsageError(f"{what}: a timedelta or a number of seconds is needed, got {type(duration).__name__}")
    if duration != duration:  # noqa: PLR0124 - only NaN differs from itself
        raise UsageError(f"{what}: NaN is no duration")
    try:
        return timedelta(seconds=duration)
    except OverflowError:
        raise UsageError(f"{what}: {'negative' if duration < 0 else 'longer than a thousand years'}") from None
