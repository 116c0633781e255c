"""A walk over packed bytes that builds nothing: counts values and depth, refuses what is over a limit."""

from __future__ import annotations

from runner.codec.limits import MAX_DEPTH, MAX_NODES, TOO_DEEP, TOO_MANY
from runner.codec.misfit import Misfit
from runner.codec.scalars import MARK, READERS

#: Heads of containers and of extension types. The same bytes occur inside texts and numbers, so
#: counting them never counts too few.
CONTAINER_HEADS = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
EXT_HEADS = bytes([*range(0xC7, 0xCA), *range(0xD4, 0xD9)])

_CODES = frozenset({MARK, *READERS})
# Bytes that follow a head of fixed size (floats, integers); for the others, the width of the length.
_FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_TEXT = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXT = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_ARRAY = {0xDC: 2, 0xDD: 4}
_MAP = {0xDE: 2, 0xDF: 4}


def _skip(head: int) -> int:
    """Bytes to skip behind ``head`` when that is known from it alone, otherwise -1."""
    if 0xA0 <= head < 0xC0:
        return head - 0xA0
    if head < 0x80 or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
        return 0
    return _FIXED.get(head, -1)


_SKIP = tuple(_skip(head) for head in range(256))


def scan(blob: bytes) -> int:
    """The number of values in ``blob``.

    Raises Misfit over a limit or for an unknown extension type; IndexError where bytes are missing.
    """
    at, nodes, left = 0, 1, 1
    outer: list[int] = []  # what is still to come in each container around
    while True:
        while left == 0:
            if not outer:
                return nodes
            left = outer.pop()
        left -= 1
        skip = _SKIP[blob[at]]
        if skip >= 0:
            at += 1 + skip
            continue
        at, children = _open(blob, at)
        if children is None:
            continue
        nodes += children
        outer.append(left)
        left = children
        if nodes > MAX_NODES:
            raise Misfit(TOO_MANY)
        if len(outer) > MAX_DEPTH:
            raise Misfit(TOO_DEEP)


def _open(blob: bytes, at: int) -> tuple[int, int | None]:
    """Where to go on behind a head whose size depends on more than itself, and its children if a container."""
    head = blob[at]
    if head < 0x90:
        return at + 1, 2 * (head - 0x80)
    if head < 0xA0:
        return at + 1, head - 0x90
    if head in _TEXT:
        start, size = _length(blob, at, _TEXT[head])
        return start + size, None
    if head in _ARRAY:
        return _length(blob, at, _ARRAY[head])
    if head in _MAP:
        start, pairs = _length(blob, at, _MAP[head])
        return start, 2 * pairs
    return _ext(blob, at), None


def _ext(blob: bytes, at: int) -> int:
    head = blob[at]
    start, size = _length(blob, at, _EXT[head]) if head in _EXT else (at + 1, 1 << (head - 0xD4))
    if head == 0xC1 or blob[start] not in _CODES:
        raise Misfit("holds something that this version cannot read")
    return start + 1 + size


def _length(blob: bytes, at: int, width: int) -> tuple[int, int]:
    start = at + 1 + width
    return start, int.from_bytes(blob[at + 1 : start], "big")
