"""From any value to a plain one: what msgpack packs as it is, with nothing lost on the way.

Exact types only: a subclass of ``dict`` or ``str`` would come back as its base. Objects with fields
become maps, enums their values; it takes a type hint to bring those back.
"""

from __future__ import annotations

import collections
import collections.abc
import enum
import inspect
import pathlib
from collections.abc import Callable, Iterable
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
    """One pass over a value. ``sort``: dicts by key, for a digest. ``careful``: look into every text."""

    __slots__ = ("careful", "hashed", "nodes", "sort")

    def __init__(self, *, sort: bool = False, careful: bool = False) -> None:
        self.nodes = 1
        self.hashed = 0  # > 0: inside a set or a key
        self.sort = sort
        self.careful = careful

    def value(self, value: Any, depth: int = 1) -> Any:
        """Raises Misfit, with the path, for what cannot be stored."""
        kind = type(value)
        if kind in NATIVE:
            if self.careful and kind is str:
                _check_text(value)
            return value
        return _writer(kind)(self, value, depth)

    def items(self, values: list[Any] | tuple[Any, ...], depth: int) -> Any:
        self.enter(len(values), depth)
        if self.flat(values):
            return values
        lowered: list[Any] = []
        for index, item in enumerate(values):
            try:
                lowered.append(self.value(item, depth + 1))
            except Misfit as misfit:
                raise misfit.within(f"[{index}]")  # noqa: B904 - the same one, on its way out
        return lowered

    def enter(self, children: int, depth: int) -> None:
        self.nodes += children
        if depth > MAX_DEPTH:
            raise Misfit(TOO_DEEP)
        if self.nodes > MAX_NODES:
            raise Misfit(TOO_MANY)

    def flat(self, values: Iterable[Any]) -> bool:
        """True when nothing among ``values`` needs a look of its own: the common case, at C speed."""
        return not self.careful and NATIVE.issuperset(map(type, values))


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Misfit(
            f"a text with half of a surrogate pair (at {error.start}) is no Unicode; "
            "encode it to bytes, e.g. with os.fsencode"
        ) from None


def _list(lowering: Lowering, value: list[Any], depth: int) -> Any:
    return lowering.items(value, depth)


def _tuple(lowering: Lowering, value: tuple[Any, ...], depth: int) -> list[Any]:
    lowering.enter(1, depth)
    return [TUPLE, *lowering.items(value, depth)]


def _dict(lowering: Lowering, value: dict[Any, Any], depth: int) -> Any:
    lowering.enter(2 * len(value), depth)
    keys = list(value) if lowering.flat(value) else _hashables(lowering, value, depth + 1, "key")
    values = list(value.values())
    if not lowering.flat(values):
        for index, (key, item) in enumerate(value.items()):
            try:
                values[index] = lowering.value(item, depth + 1)
            except Misfit as misfit:
                raise misfit.within(key_step(key))  # noqa: B904
    pairs = list(zip(keys, values, strict=True))
    if lowering.sort:
        pairs.sort(key=lambda pair: pack(pair[0]))
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
    if len({value if kind in NATIVE else (kind, pack(value)) for value in lowered if (kind := type(value))}) < len(lowered):
        raise Misfit(f"holds a {role} twice once enum members are stored as their values; use one of both")
    return lowered


def _shaped(shape: Shape) -> _Write:
    def write(lowering: Lowering, value: Any, depth: int) -> Any:
        fields = {} if shape.tag is None else dict([shape.tag])
        for field in shape.fields:
            try:
                fields[field.wire] = getattr(value, field.attr)
            except AttributeError:
                raise Misfit("has no value").within(f".{field.attr}") from None
        return _map(lowering, fields, depth)

    return write


def _map(lowering: Lowering, fields: dict[str, Any], depth: int) -> Any:
    if lowering.hashed:
        raise Misfit("an object with fields cannot be a key or a member of a set; use a list or a tuple")
    return _dict(lowering, fields, depth)


def _model(lowering: Lowering, value: Any, depth: int) -> Any:
    # round_trip leaves out computed fields: the model could not be built from them.
    try:
        dumped = value.model_dump(mode="python", round_trip=True)
    except Exception as error:
        raise Misfit(f"model_dump() of {type_name(type(value))} raised {type(error).__name__}") from error
    return _map(lowering, dumped, depth) if type(dumped) is dict else lowering.value(dumped, depth)


def _enum(lowering: Lowering, value: enum.Enum, depth: int) -> Any:
    return lowering.value(value.value, depth)


def _scalar(kind: type) -> _Write:
    code, write = WRITERS[kind]
    return lambda _, value, __: ExtType(code, write(value))


_WRITERS: dict[type, _Write] = {list: _list, tuple: _tuple, dict: _dict, set: _set, frozenset: _frozenset}
_WRITERS |= {kind: _scalar(kind) for kind in WRITERS}


@lru_cache(maxsize=4096)
def _writer(kind: type) -> _Write:
    if kind in _WRITERS:
        return _WRITERS[kind]
    if issubclass(kind, enum.Enum):
        return _enum
    if pydantic_model(kind):
        return _model
    shape = shape_of(kind)
    if shape is None:
        return _refuse
    return _tuple if shape.positional else _shaped(shape)


def _refuse(_: Lowering, value: Any, __: int) -> Any:
    raise Misfit(f"a value of type {type_name(type(value))} cannot be stored; {_cure(value)}")


_CONVERTIBLE = (dict, list, tuple, set, frozenset, str, bytes, int, float)
_ITERABLES = (
    range,
    collections.deque,
    collections.abc.Iterator,
    collections.abc.KeysView,
    collections.abc.ValuesView,
    collections.abc.ItemsView,
)


def _cure(value: Any) -> str:
    if inspect.isawaitable(value):
        return "await it first"
    for base in _CONVERTIBLE:
        if isinstance(value, base):
            return f"it would come back as a plain {base.__name__}: convert it with {base.__name__}(...) first"
    for base in WRITERS:
        if isinstance(value, base):
            return f"it would come back as a plain {base.__name__}: make it one first"
    if isinstance(value, _ITERABLES):
        return "convert it with list(...) first"
    if isinstance(value, memoryview):
        return "convert it with bytes(...) first"
    if isinstance(value, pathlib.PurePath):
        return "convert it with str(...) first"
    return "return a dataclass, a pydantic, msgspec or attrs model, or plain values"
