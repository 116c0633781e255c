"""From any value to a plain one: what msgpack packs as it is, with nothing lost on the way.

Exact types only: a subclass of ``dict`` or ``str`` would come back as its base. Objects with fields
become maps, enums their values; it takes a type hint to bring those back.
"""

from __future__ import annotations

import collections
import collections.abc
import enum
import pathlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from msgpack import ExtType

from runner.codec.limits import MAX_DEPTH, MAX_NODES, TOO_DEEP, TOO_MANY, check_hashes
from runner.codec.misfit import Misfit, key_step, type_name
from runner.codec.scalars import WRITERS
from runner.codec.shapes import Shape, pydantic_model, shape_of
from runner.codec.wire import DICT, FROZENSET, SET, TUPLE, pack

#: Scalars that msgpack packs as they are.
NATIVE = frozenset({type(None), bool, int, float, str, bytes})

_Write = Callable[["Lowering", Any, int], Any]


class Lowering:
    """One pass over a value. ``sort``: dicts by key, for a digest. ``careful``: look into every text.

    ``exact`` afterwards: the plain value is of the same types as the value, and needs no hint to come back.
    """

    __slots__ = ("exact", "hashed", "native", "nodes", "sort")

    def __init__(self, *, sort: bool = False, careful: bool = False) -> None:
        self.native = frozenset[type]() if careful else NATIVE
        self.exact = True
        self.nodes = 1
        self.hashed = 0  # > 0: inside a set or a key
        self.sort = sort

    def value(self, value: Any, depth: int = 1) -> Any:
        """Raises Misfit, with the path, for what cannot be stored."""
        kind: Any = type(value)
        if kind in self.native:
            return value
        return (_WRITERS.get(kind) or _writer(kind))(self, value, depth)

    def enter(self, children: int, depth: int) -> None:
        self.nodes += children
        if depth > MAX_DEPTH:
            raise Misfit(TOO_DEEP)
        if self.nodes > MAX_NODES:
            raise Misfit(TOO_MANY)

    def flat(self, values: Iterable[Any]) -> bool:
        """True when nothing among ``values`` needs a look of its own: the common case, at C speed."""
        return self.native.issuperset(map(type, values))


def _keep(_: Lowering, value: Any, __: int) -> Any:
    return value


def _text(_: Lowering, text: str, __: int) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Misfit(
            f"a text with half of a surrogate pair (at {error.start}) is no Unicode; "
            "encode it to bytes, e.g. with os.fsencode"
        ) from None
    return text


def _list(lowering: Lowering, value: Sequence[Any], depth: int) -> Sequence[Any]:
    lowering.enter(len(value), depth)
    if lowering.flat(value):
        return value
    lowered: list[Any] = []
    for index, item in enumerate(value):
        try:
            lowered.append(item if type(item) in lowering.native else lowering.value(item, depth + 1))
        except Misfit as misfit:
            raise misfit.within(f"[{index}]")  # noqa: B904 - the same one, on its way out
    return lowered


def _tuple(lowering: Lowering, value: tuple[Any, ...], depth: int) -> list[Any]:
    lowering.enter(1, depth)
    return [TUPLE, *_list(lowering, value, depth)]


def _dict(lowering: Lowering, value: dict[Any, Any], depth: int) -> Any:
    lowering.enter(2 * len(value), depth)
    if not lowering.flat(value):
        return _with_keys(lowering, value, _values(lowering, value, depth), depth)
    check_hashes(value)
    values = value if lowering.flat(value.values()) else _values(lowering, value, depth)
    return dict(_ordered(values.items())) if lowering.sort else values


def _ordered(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """By the bytes of the keys: keys of several types compare no other way."""
    return sorted(pairs, key=lambda pair: pack(pair[0]))


def _values(lowering: Lowering, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    lowered = {}
    for key, item in value.items():
        try:
            lowered[key] = item if type(item) in lowering.native else lowering.value(item, depth + 1)
        except Misfit as misfit:
            raise misfit.within(key_step(key))  # noqa: B904
    return lowered


def _with_keys(lowering: Lowering, value: dict[Any, Any], values: dict[Any, Any], depth: int) -> Any:
    """For keys that need a look of their own."""
    keys = _hashables(lowering, value, depth + 1, "key")
    pairs = list(zip(keys, values.values(), strict=True))
    if lowering.sort:
        pairs = _ordered(pairs)
    if list not in map(type, keys):
        return dict(pairs)
    lowering.enter(1, depth)
    return [DICT, *(part for pair in pairs for part in pair)]


def _set(lowering: Lowering, value: set[Any], depth: int) -> list[Any]:
    return [SET, *_members(lowering, value, depth)]


def _frozenset(lowering: Lowering, value: frozenset[Any], depth: int) -> list[Any]:
    return [FROZENSET, *_members(lowering, value, depth)]


def _members(lowering: Lowering, value: collections.abc.Set[Any], depth: int) -> list[Any]:
    """Ordered by their bytes: the order of a set is another one in every process."""
    lowering.enter(1 + len(value), depth)
    return sorted(_hashables(lowering, value, depth + 1, "member"), key=pack)


def _hashables(lowering: Lowering, values: collections.abc.Collection[Any], depth: int, role: str) -> list[Any]:
    check_hashes(values)
    lowering.hashed += 1
    try:
        lowered = [lowering.value(value, depth) for value in values]
    except Misfit as misfit:
        raise misfit.within(f"<{role}>")  # noqa: B904
    lowering.hashed -= 1
    # An enum member and its value are two keys before, and would be one after.
    distinct = {value if kind in NATIVE else (kind, pack(value)) for value in lowered if (kind := type(value))}
    if len(distinct) < len(lowered):
        raise Misfit(f"holds a {role} twice once enum members are stored as their values; use one of both")
    return lowered


def _shaped(shape: Shape) -> _Write:
    tag = {} if shape.tag is None else dict([shape.tag])
    names = [(field.wire, field.attr) for field in shape.fields]

    def write(lowering: Lowering, value: Any, depth: int) -> Any:
        try:
            fields = tag | {wire: getattr(value, attr) for wire, attr in names}
        except AttributeError as error:
            raise Misfit(f"a field of {type_name(shape.cls)} has no value: {error}") from None
        return _map(lowering, fields, depth)

    return write


def _named_tuple(lowering: Lowering, value: tuple[Any, ...], depth: int) -> list[Any]:
    lowering.exact = False
    return _tuple(lowering, value, depth)


def _map(lowering: Lowering, fields: dict[str, Any], depth: int) -> Any:
    lowering.exact = False
    if lowering.hashed:
        raise Misfit("an object with fields cannot be a key or a member of a set; use a list or a tuple")
    return _dict(lowering, fields, depth)


def _model(lowering: Lowering, value: Any, depth: int) -> Any:
    lowering.exact = False
    # round_trip leaves out computed fields: the model could not be built from them.
    try:
        dumped = value.model_dump(mode="python", round_trip=True)
    except Exception as error:
        raise Misfit(f"model_dump() of {type_name(type(value))} raised {type(error).__name__}") from error
    return _map(lowering, dumped, depth) if type(dumped) is dict else lowering.value(dumped, depth)


def _enum(lowering: Lowering, value: enum.Enum, depth: int) -> Any:
    lowering.exact = False
    return lowering.value(value.value, depth)


def _scalar(kind: type) -> _Write:
    code, write = WRITERS[kind]
    return lambda _, value, __: ExtType(code, write(value))


_WRITERS: dict[type, _Write] = {
    **{kind: _text if kind is str else _keep for kind in NATIVE},
    **{kind: _scalar(kind) for kind in WRITERS},
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
}


@lru_cache(maxsize=4096)
def _writer(kind: Any) -> _Write:
    if issubclass(kind, enum.Enum):
        return _enum
    if pydantic_model(kind):
        return _model
    shape = shape_of(kind)
    if shape is None:
        return _refuse
    return _named_tuple if shape.positional else _shaped(shape)


def _refuse(_: Lowering, value: Any, __: int) -> Any:
    raise Misfit(f"a value of type {type_name(type(value))} cannot be stored; {_cure(value)}")


_CONVERTIBLE = (dict, list, tuple, set, frozenset, str, bytes, int, float)
_VIEWS = (collections.abc.KeysView, collections.abc.ValuesView, collections.abc.ItemsView)
_CURES: tuple[tuple[Any, str], ...] = (
    (collections.abc.Awaitable, "await it first"),
    ((range, collections.deque, collections.abc.Iterator, *_VIEWS), "convert it with list(...) first"),
    (memoryview, "convert it with bytes(...) first"),
    (pathlib.PurePath, "convert it with str(...) first"),
    (BaseException, "raise it, or return its text"),
)


def _cure(value: Any) -> str:
    for base in (*_CONVERTIBLE, *WRITERS):
        if isinstance(value, base):
            return f"it would come back as a plain {base.__name__}: make it one with {base.__name__}(...) first"
    for kinds, cure in _CURES:
        if isinstance(value, kinds):
            return cure
    return "return a dataclass, a pydantic, msgspec or attrs model, or plain values"
