"""Payloads: values of users' programs to bytes and back, the same in value and type.

``roundtrip`` is for every value on its way into the store (input, result, signal): it returns the
bytes, and the value as every later reading of them will give it. ``decode`` is that reading.

What is kept exactly, without any hint: None, bool, int of any size, float (NaN comes back as NaN),
complex, str, bytes, bytearray, list, tuple, dict with hashable keys, set, frozenset, datetime (naive,
with a fixed offset or a ``ZoneInfo``, with its fold), date, time, timedelta, Decimal, UUID. With a
hint: dataclasses, msgspec Structs, attrs classes, pydantic models, TypedDict, NamedTuple, enums,
unions and generics of all these. Everything else is refused with the path, the type and the cure.

Nothing that is read is ever executed, imported or looked up by name.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from runner.codec.hints import Hints, resolve_hints
from runner.codec.limits import MAX_PAYLOAD
from runner.codec.lower import Lowering
from runner.codec.misfit import Misfit
from runner.codec.same import check_bytes, check_types
from runner.codec.typed import build
from runner.codec.wire import SEALED, pack, unpack, unpack_record
from runner.errors import PayloadError, PayloadTooLarge

__all__ = ["MAX_PAYLOAD", "SEALED", "Hints", "decode", "digest", "encode", "resolve_hints", "roundtrip", "unpack_as"]


def encode(value: object, *, what: str = "value", limit: int = MAX_PAYLOAD) -> bytes:
    """The bytes of ``value``: the same for the same value, dicts in their own order, sets in a fixed one.

    Raises PayloadError, with the path inside ``what`` and the cure, for what cannot be stored, and
    PayloadTooLarge for more than ``limit`` bytes.
    """
    try:
        blob, _ = _encode(value)
    except Misfit as misfit:
        raise misfit.at(what) from misfit.__cause__
    _check_size(blob, what, limit)
    return blob


def decode(blob: bytes, hint: Any = Any, *, what: str = "value", limit: int = MAX_PAYLOAD) -> Any:
    """The value of ``blob``: plain, or rebuilt as ``hint`` says.

    Unknown fields are passed over, missing ones get their defaults. Raises PayloadError, with the
    path inside ``what``, when the bytes are none of ``encode``'s or do not fit the hint.
    """
    _check_size(blob, what, limit)
    try:
        return build(unpack(blob), hint)
    except Misfit as misfit:
        raise misfit.at(what) from misfit.__cause__


def roundtrip(value: Any, hint: Any = Any, *, what: str = "value", limit: int = MAX_PAYLOAD) -> tuple[bytes, Any]:
    """The bytes of ``value``, and the value that they give back with ``hint``: equal in value and type.

    Raises PayloadError, with the path inside ``what``, both types and the cure, when they would not be.
    """
    try:
        blob, exact = _encode(value)
        _check_size(blob, what, limit)
        plain = unpack(blob)
        again = build(plain, hint)
        if again is not plain or not exact:
            _check_same(value, again, blob)
    except Misfit as misfit:
        raise misfit.at(what) from misfit.__cause__
    return blob, again


def _check_same(value: Any, again: Any, blob: bytes) -> None:
    check_types(value, again)
    stored, _ = _encode(again)
    if stored != blob:
        check_bytes(value, again)


def unpack_as(blob: bytes, what: str, members: int = 0) -> Any:
    """The members of one of Runner's own records; every msgpack of ours that comes from a store is read here.

    Raises PayloadError for what is over the limits on values and depth, for what none of ours holds (extension types,
    keys that are no texts), and for what is no list of at least so many ``members``.
    """
    try:
        read = unpack_record(blob)
    except Misfit as misfit:
        raise misfit.at(what) from misfit.__cause__
    if members and not (isinstance(read, list) and len(read) >= members):
        raise PayloadError(f"{what}: the stored bytes are none of ours: a list of {members} was expected", path=what)
    return read


def digest(value: object, *, what: str = "value") -> str:
    """A fingerprint of ``value`` (SHA-256, in hex): the same in every process and for dicts in any order.

    Raises PayloadError as ``encode`` does.
    """
    try:
        blob, _ = _encode(value, sort=True)
        return sha256(blob).hexdigest()
    except Misfit as misfit:
        raise misfit.at(what) from misfit.__cause__


def _encode(value: object, *, sort: bool = False) -> tuple[bytes, bool]:
    """The bytes, and whether they give back ``value`` without a hint."""
    lowering = Lowering(sort=sort)
    try:
        return pack(lowering.value(value)), lowering.exact
    except UnicodeEncodeError:
        Lowering(careful=True).value(value)  # finds the text, and says where
        raise


def _check_size(blob: bytes, what: str, limit: int) -> None:
    if len(blob) > limit:
        raise PayloadTooLarge(
            f"{what}: {len(blob):,} bytes, over the limit of {limit:,}; keep the data elsewhere and pass a reference",
            path=what,
        )
