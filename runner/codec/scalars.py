"""Scalars that plain msgpack has no form for, as msgpack extension types.

===== ========== =====================================================================
code  type       data
===== ========== =====================================================================
1     mark       one byte: what the array that it opens really is (see ``wire``)
2     int        beyond 64 bits: two's complement, big-endian
3     datetime   ISO 8601 without a zone, ``~`` when fold=1, and then of the zone its
                 ``@Area/City``, or ``/`` and its offset in microseconds, ``#`` and its name
4     date       ISO 8601
5     time       as datetime
6     timedelta  days, seconds, microseconds: three 32-bit integers
7     Decimal    its text, exact in every digit and exponent
8     UUID       16 bytes
9     complex    two doubles
10    bytearray  its bytes
===== ========== =====================================================================

Codes are for ever: stored payloads hold them. A code that is not listed is refused when read.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from msgpack import ExtType

from runner.codec.misfit import Misfit, type_name

MARK = 1
_INT, _DATETIME, _DATE, _TIME, _TIMEDELTA, _DECIMAL, _UUID, _COMPLEX, _BYTEARRAY = range(2, 11)

_Clock = TypeVar("_Clock", datetime, time)

_DAYS_SECONDS_MICROS = struct.Struct(">iii")
_MICROSECOND = timedelta(microseconds=1)
_TWO_DOUBLES = struct.Struct(">dd")
# ZoneInfo opens a file by this name: nothing but the names of zones may reach it.
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}")


def write_int(value: object) -> ExtType:
    """Called by msgpack for the one thing that it cannot pack here: an int beyond 64 bits."""
    if type(value) is not int:
        raise TypeError(f"{type_name(type(value))} reached the packer")
    return ExtType(_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _read_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _clock_text(value: datetime | time) -> bytes:
    fold = "~" if value.fold else ""
    return f"{value.replace(tzinfo=None).isoformat()}{fold}{_zone_text(value.tzinfo)}".encode()


def _zone_text(zone: tzinfo | None) -> str:
    if zone is None:
        return ""
    if type(zone) is ZoneInfo and _ZONE_KEY.fullmatch(zone.key or ""):  # read from a file, it has no key
        return f"@{zone.key}"
    if type(zone) is timezone or _from_pydantic(zone):
        return _fixed_text(zone)
    raise Misfit(f"a time zone of type {type_name(type(zone))} cannot be stored; use zoneinfo.ZoneInfo(key) or UTC")


def _fixed_text(zone: tzinfo) -> str:
    # Not in ISO 8601: Python reads the offsets below a second that it writes as UTC.
    offset = zone.utcoffset(None) or timedelta(0)
    name = zone.tzname(None)
    named = type(zone) is timezone and name != timezone(offset).tzname(None)
    return f"/{offset // _MICROSECOND}#{name}" if named else f"/{offset // _MICROSECOND}"


def _from_pydantic(zone: tzinfo) -> bool:
    """A fixed offset as pydantic makes them, in every datetime that it parsed: comes back as the standard one."""
    module = sys.modules.get("pydantic_core")
    return module is not None and type(zone) is module.TzInfo


def _read_clock(parse: Callable[[str], _Clock]) -> Callable[[bytes], _Clock]:
    def read(data: bytes) -> _Clock:
        text, named, name = data.decode().partition("#")
        text, zoned, key = text.partition("@")
        text, fixed, offset = text.partition("/")
        zone: tzinfo | None = None
        if zoned:
            zone = _zone(key)
        elif fixed:
            apart = timedelta(microseconds=int(offset))
            zone = timezone(apart, name) if named else timezone(apart)
        return parse(text.removesuffix("~")).replace(tzinfo=zone, fold=int(text.endswith("~")))

    return read


def _zone(key: str) -> tzinfo:
    if _ZONE_KEY.fullmatch(key) is None:
        raise Misfit("names a time zone in a way that no time zone is named")
    try:
        return ZoneInfo(key)
    except (KeyError, OSError, ValueError):
        raise Misfit(f"is in time zone {key!r}, which this machine does not know; install or update tzdata") from None


def _write_timedelta(value: timedelta) -> bytes:
    return _DAYS_SECONDS_MICROS.pack(value.days, value.seconds, value.microseconds)


def _read_timedelta(data: bytes) -> timedelta:
    return timedelta(*_DAYS_SECONDS_MICROS.unpack(data))


def _write_complex(value: complex) -> bytes:
    return _TWO_DOUBLES.pack(value.real, value.imag)


def _read_complex(data: bytes) -> complex:
    return complex(*_TWO_DOUBLES.unpack(data))


_TABLE: tuple[tuple[type, int, Callable[[Any], bytes], Callable[[bytes], Any]], ...] = (
    (datetime, _DATETIME, _clock_text, _read_clock(datetime.fromisoformat)),
    (date, _DATE, lambda value: value.isoformat().encode(), lambda data: date.fromisoformat(data.decode())),
    (time, _TIME, _clock_text, _read_clock(time.fromisoformat)),
    (timedelta, _TIMEDELTA, _write_timedelta, _read_timedelta),
    (Decimal, _DECIMAL, lambda value: str(value).encode(), lambda data: Decimal(data.decode())),
    (UUID, _UUID, lambda value: value.bytes, lambda data: UUID(bytes=data)),
    (complex, _COMPLEX, _write_complex, _read_complex),
    (bytearray, _BYTEARRAY, bytes, bytearray),
)

#: Exact type -> its code and how its data is written.
WRITERS: dict[type, tuple[int, Callable[[Any], bytes]]] = {cls: (code, write) for cls, code, write, _ in _TABLE}
#: Code -> how its data is read.
READERS: dict[int, Callable[[bytes], Any]] = {_INT: _read_int, **{code: read for _, code, _, read in _TABLE}}
