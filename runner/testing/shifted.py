"""Another time of day, for as long as a replay takes: what reads the clock shows itself by reading another one.

Only what the program's own modules see is changed, and ``datetime`` and ``time`` themselves; nothing installed, and
nothing of Runner's.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

#: So far that every part of a date and a time is another one.
SHIFT = dt.timedelta(days=400, hours=7, minutes=13, seconds=29)

_Globals = dict[str, Any]


class _Like(type):
    """A stand-in for the class it is made from, whose instances are that class's own."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


@contextmanager
def shifted(*more: _Globals, direction: int = 1) -> Generator[None]:
    """Everything that reads the clock reads a later one (``direction`` -1: an earlier one).

    ``more``: globals of functions whose module is gone.
    """
    changed = _replaced(_stand_ins(SHIFT * direction), [*_programs(len(sys.modules)), *more])
    try:
        yield
    finally:
        for names, name, original in reversed(changed):
            names[name] = original


def _stand_ins(shift: dt.timedelta) -> dict[int, Any]:
    """What stands in for each thing that tells the time, by its identity."""
    shift_s = shift.total_seconds()
    real_time, real_time_ns = time.time, time.time_ns

    def of(original: Callable[[float], Any]) -> Callable[..., Any]:
        return lambda seconds=None: original(real_time() + shift_s if seconds is None else seconds)

    made: list[tuple[Any, Any]] = [
        (dt.datetime, _datetime(shift)),
        (dt.date, _date(shift)),
        (real_time, lambda: real_time() + shift_s),
        (real_time_ns, lambda: real_time_ns() + round(shift_s * 1e9)),
        (time.localtime, of(time.localtime)),
        (time.gmtime, of(time.gmtime)),
        (time.ctime, of(time.ctime)),
    ]
    return {id(original): stand_in for original, stand_in in made}


def _datetime(shift: dt.timedelta) -> type:
    real = dt.datetime

    class Datetime(real, metaclass=_Like):  # type: ignore[valid-type, misc]
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return real(*args, **kwargs)

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return real.now(tz) + shift

        @classmethod
        def today(cls) -> Any:
            return real.now() + shift

        @classmethod
        def utcnow(cls) -> Any:
            return real.now(dt.UTC).replace(tzinfo=None) + shift

    return Datetime


def _date(shift: dt.timedelta) -> type:
    real, now = dt.date, dt.datetime.now

    class Date(real, metaclass=_Like):  # type: ignore[valid-type, misc]
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return real(*args, **kwargs)

        @classmethod
        def today(cls) -> Any:
            return (now() + shift).date()

    return Date


def _replaced(stand_ins: dict[int, Any], everywhere: Iterable[_Globals]) -> list[tuple[_Globals, str, Any]]:
    changed: list[tuple[_Globals, str, Any]] = []
    for names in everywhere:
        for name, value in list(names.items()):
            if id(value) in stand_ins:
                changed.append((names, name, value))
                names[name] = stand_ins[id(value)]
    return changed


@lru_cache(1)
def _programs(_modules: int) -> list[_Globals]:
    """The names of ``datetime``, ``time`` and the program's own modules: looked for anew when more are loaded."""
    own = [module for name, module in list(sys.modules.items()) if _is_the_programs(name, module)]
    modules: list[Any] = [dt, time, *own]
    return [vars(module) for module in modules]


def _is_the_programs(name: str, module: Any) -> bool:
    top = name.partition(".")[0]
    file = getattr(module, "__file__", None) or ""
    return top != "runner" and top not in sys.stdlib_module_names and "-packages" not in file
