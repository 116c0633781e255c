"""What a cron expression may look like: the part of the language that every cron reads alike.

Five fields (minute, hour, day of month, month, day of week) of lists of ``*``, numbers, three-letter names, ranges and steps;
``L`` for the last day of a month and ``fri#2`` for its second Friday; or a macro. What the library would take
beyond that is refused: chance (``R``), whose ticks would differ on every machine, seconds, and what it reads otherwise than
it looks (``5-5`` as every minute).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import starmap
from types import MappingProxyType

from runner.errors import UsageError

MACROS: Mapping[str, str] = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_SIZES = (60, 24, 31, 12, 7)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NUMBERS = {name: number for names, first in ((_MONTHS, 1), (_DAYS, 0)) for number, name in enumerate(names, first)}
_VALUE = r"\d{1,2}|[a-z]{3}"
_ITEM = re.compile(rf"(?:\*|(?P<low>{_VALUE})(?:-(?P<high>{_VALUE}))?)(?:/(?P<step>\d{{1,3}}))?", re.ASCII)
_NTH = re.compile(rf"(?:{_VALUE})#[1-5]", re.ASCII)


def five_fields(expression: str) -> tuple[str, ...]:
    """In small letters, macros written out. Of an expression that ``check_cron`` takes there are five."""
    text = expression.strip().lower()
    return tuple(MACROS.get(text, text).split())


def check_cron(expression: str) -> None:
    """Raises UsageError, naming the field and the cure, for what is not of this language (numbers out of bounds apart)."""
    if not isinstance(expression, str):
        raise UsageError(f"cron: a text such as '0 9 * * *' is needed, got {type(expression).__name__}")
    fields = five_fields(expression)
    complaint = _shape(fields) or next(filter(None, starmap(_complaint, enumerate(fields))), "") or _days(fields)
    if complaint:
        raise UsageError(f"cron {expression[:80]!a}: {complaint}")


def _shape(fields: tuple[str, ...]) -> str:
    if fields and fields[0].startswith("@"):
        return f"no such macro; there are {', '.join(MACROS)}"
    if len(fields) != 5:
        cure = "; for seconds use interval=" if len(fields) == 6 else ""
        return f"{len(fields)} field(s), five are needed ({', '.join(_FIELDS)}){cure}"
    return ""


def _complaint(place: int, field: str) -> str:
    """What is wrong with a field, or nothing."""
    return next(filter(None, (_wrong(place, item) for item in field.split(","))), "")


def _wrong(place: int, item: str) -> str:
    if (item == "l" and place == 2) or (place == 4 and _NTH.fullmatch(item)):
        return ""
    match = _ITEM.fullmatch(item)
    if match is None:
        return f"{_FIELDS[place]} {item[:20]!a} is not '*', a number, a name, a range or a step of one"
    return _wrong_step(place, match["step"]) or _wrong_range(place, match["low"], match["high"], match["step"])


def _wrong_step(place: int, step: str | None) -> str:
    if step is None or 1 <= int(step) <= _SIZES[place]:
        return ""
    return f"a step of {step} in the {_FIELDS[place]}, which has {_SIZES[place]} values; use interval= for longer ones"


def _wrong_range(place: int, low: str | None, high: str | None, step: str | None) -> str:
    if low is None or high is None:
        return ""
    first, last = _number(low), _number(high)
    # Sunday is 0 and 7: of all ranges that end where they began, only 0-7 means the whole week.
    if first == last or (place == 4 and (first, last) == (7, 0)):
        return f"the range {low}-{high} in the {_FIELDS[place]} has one value: write {low}"
    if first > last and step is not None:
        return f"a step of the range {low}-{high} in the {_FIELDS[place]}, which goes over its end: write a list"
    return ""


def _days(fields: tuple[str, ...]) -> str:
    """``L`` and ``#`` beside another rule for the day are read in different ways by different crons."""
    day, week_day = fields[2], fields[4]
    if ("l" in day and week_day != "*") or ("#" in week_day and day != "*"):
        return "'L' and '#' go with '*' in the other field of the day only"
    return ""


def _number(value: str) -> int:
    """Of a number or a name; -1 of a name that there is not, which croniter refuses."""
    return int(value) if value.isdecimal() else _NUMBERS.get(value, -1)
