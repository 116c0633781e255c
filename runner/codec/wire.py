"""Plain values to bytes and back. A plain value is what ``lower`` makes: what msgpack packs as it is.

An array whose first member is a *mark* is no list: ``t`` a tuple, ``s`` a set, ``f`` a frozenset,
``d`` a dict with keys that no msgpack map can have, as key, value, key, value.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgpack import ExtType, packb, unpackb

from runner.codec.limits import MAX_COLLISIONS, MAX_DEPTH, MAX_NODES, check_hashes
from runner.codec.misfit import Misfit
from runner.codec.scalars import MARK, READERS, write_int
from runner.codec.scan import CONTAINER_HEADS, EXT_HEADS, scan

TUPLE, SET, FROZENSET, DICT = (ExtType(MARK, kind) for kind in (b"t", b"s", b"f", b"d"))

#: What a sealed payload begins with: the one byte that msgpack never writes, nor does UTF-8.
SEALED = b"\xc1"

_LEAVES = bytes(set(range(256)) - set(CONTAINER_HEADS) - set(EXT_HEADS))
# msgpack makes Timestamps of extension type -1 by itself, without asking the hook.
_TIMESTAMP = re.compile(rb"\xd6\xff|\xd7\xff|\xc7\x0c\xff")
_UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, struct.error)


def pack(plain: object) -> bytes:
    """Raises UnicodeEncodeError for text that is no Unicode."""
    return bytes(packb(plain, default=write_int))


def unpack(blob: bytes) -> Any:
    """The value that was packed. Raises Misfit when it is over a limit or was never packed here.

    Without extension types no hooks are needed: the keys that are left (texts, and numbers of 64
    bits, of which few share a hash) cannot be made to collide.
    """
    if blob.startswith(SEALED):
        raise Misfit(
            "is sealed, and cannot be opened here: give the App the payload codec, with the key, that it was sealed with"
        )
    try:
        heads = blob.translate(None, _LEAVES)
        has_ext = bool(heads.translate(None, CONTAINER_HEADS))
        if len(heads) > MAX_DEPTH or len(blob) > MAX_NODES or (has_ext and _TIMESTAMP.search(blob)):
            scan(blob)
        return _read(blob) if has_ext else unpackb(blob, strict_map_key=False)
    except _UNREADABLE as error:
        raise Misfit(f"the stored bytes cannot be read ({type(error).__name__})") from error


def unpack_record(blob: bytes) -> Any:
    """The members of a record of ours, in which payloads are opaque. Raises Misfit as ``unpack`` does.

    Plain values only: no extension types, texts as keys. What is small needs no look beforehand: every value takes a byte.
    """
    try:
        if len(blob) > MAX_NODES:
            scan(blob)
        return unpackb(blob, strict_map_key=True, max_ext_len=0)
    except _UNREADABLE as error:
        raise Misfit(f"the stored bytes cannot be read ({type(error).__name__})") from error


def _read(blob: bytes) -> Any:
    reader = _Reader()
    value = unpackb(
        blob,
        strict_map_key=False,
        ext_hook=reader.ext,
        list_hook=reader.array,
        object_pairs_hook=_map,
    )
    if reader.marks:
        raise ValueError("a mark that opens no array")
    return value


@dataclass(frozen=True, slots=True)
class _Mark:
    build: Callable[[list[Any]], Any]


class _Reader:
    """The hooks of one call of unpackb. ``marks`` were read and not used yet."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks = 0

    def ext(self, code: int, data: bytes) -> Any:
        if code == MARK:
            self.marks += 1
            return _MARKS[data]
        return READERS[code](data)

    def array(self, items: list[Any]) -> Any:
        if not items or type(items[0]) is not _Mark:
            return items
        self.marks -= 1
        return items[0].build(items[1:])


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    if len(pairs) > MAX_COLLISIONS:
        check_hashes([key for key, _ in pairs])
    return dict(pairs)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return _map(list(zip(items[::2], items[1::2], strict=True)))


def _set(items: list[Any]) -> set[Any]:
    check_hashes(items)
    return set(items)


def _frozenset(items: list[Any]) -> frozenset[Any]:
    return frozenset(_set(items))


_MARKS = {b"t": _Mark(tuple), b"s": _Mark(_set), b"f": _Mark(_frozenset), b"d": _Mark(_pairs)}
