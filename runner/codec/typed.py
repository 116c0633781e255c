"""From a type hint to its rule."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from runner.codec import rules
from runner.codec.hints import field_hints, substitute
from runner.codec.rules import KEEP, NONE, Memo, Rule
from runner.codec.shapes import pydantic_model, shape_of
from runner.codec.unions import one_rule_of

_SCALARS: dict[Any, Rule] = {
    Any: KEEP,
    object: KEEP,
    inspect.Parameter.empty: KEEP,
    None: NONE,
    type(None): NONE,
    bool: rules.scalar(bool),
    int: rules.scalar(int, bool),
    float: rules.scalar(float, int, bool),
    complex: rules.scalar(complex, float, int, bool),
    str: rules.scalar(str),
    typing.LiteralString: rules.scalar(str),
    bytes: rules.from_text(bytes),
    bytearray: rules.from_text(bytearray),
    datetime: rules.from_text(datetime),
    date: rules.from_text(date, datetime),
    time: rules.from_text(time),
    timedelta: rules.from_text(timedelta),
    Decimal: rules.from_text(Decimal),
    UUID: rules.from_text(UUID),
}

_WRAPPERS = (typing.Annotated, typing.Required, typing.NotRequired, typing.Final, typing.ClassVar)


def rule_of(hint: Any) -> Rule:
    """The rule of any hint. A hint that says nothing about values lets them be."""
    try:
        return _cached(hint)
    except TypeError:  # no hash: Annotated with a dict in it, say
        return _rule(hint)


def build(plain: Any, hint: Any) -> Any:
    """``plain`` as ``hint`` asks for it. Raises Misfit, with the path."""
    memo: Memo = {}
    return rule_of(hint).apply(plain, memo)


@lru_cache(maxsize=4096)
def _cached(hint: Any) -> Rule:
    return _rule(hint)


def _rule(hint: Any) -> Rule:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _WRAPPERS:
        return rule_of(arguments[0])
    if origin is None and hint in _SCALARS:
        return _SCALARS[hint]
    if origin is typing.Literal:
        return rules.one_of(arguments)
    if origin is typing.Union or isinstance(hint, types.UnionType):
        return _union(arguments)
    if isinstance(hint, typing.NewType):
        return rule_of(hint.__supertype__)
    if hasattr(origin or hint, "__value__"):  # `type Name = ...`
        return rule_of(_alias(hint, origin, arguments))
    cls = origin or hint
    return _class_rule(hint, cls, arguments) if isinstance(cls, type) else KEEP


def _union(arguments: tuple[Any, ...]) -> Rule:
    members = [argument for argument in arguments if argument is not type(None)]
    rule = one_rule_of([_inner(member) for member in members], _said(arguments)) if members[1:] else _inner(members[0])
    return rule if len(members) == len(arguments) else rules.optional(rule)


def _said(arguments: tuple[Any, ...]) -> str:
    return " | ".join(getattr(argument, "__qualname__", str(argument)) for argument in arguments)


def _alias(hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if origin is None:
        return hint.__value__
    return substitute(origin.__value__, dict(zip(origin.__type_params__, arguments, strict=False)))


def _inner(hint: Any) -> Rule:
    """The rule of a hint within another one. Classes and aliases may name themselves, as trees do: later."""
    cls = typing.get_origin(hint) or hint
    if hasattr(cls, "__value__") or (isinstance(cls, type) and cls not in _SCALARS and not _plain_container(cls)):
        return _later(hint)
    return rule_of(hint)


def _plain_container(cls: type) -> bool:
    return cls.__module__ in ("builtins", "collections.abc") or issubclass(cls, enum.Enum)


def _later(hint: Any) -> Rule:
    made: list[Rule] = []

    def apply(value: Any, memo: Memo) -> Any:
        if not made:
            made.append(rule_of(hint))
        return made[0].apply(value, memo)

    return Rule(apply)


def _class_rule(hint: Any, cls: Any, arguments: tuple[Any, ...]) -> Rule:
    if issubclass(cls, enum.Enum):
        return rules.member_of(cls)
    if pydantic_model(cls):
        return rules.model(hint)
    if typing.is_typeddict(cls):
        return _typed_dict(hint, cls)
    shape = shape_of(cls)
    if shape is not None:
        make = rules.named_tuple if shape.positional else rules.shaped
        return make(shape, {name: _inner(it) for name, it in field_hints(hint).items()})
    return _container_rule(cls, arguments)


def _typed_dict(hint: Any, cls: Any) -> Rule:
    hints = field_hints(hint)
    optional = {name for name, it in hints.items() if typing.get_origin(it) is typing.NotRequired}
    asked = {name for name, it in hints.items() if typing.get_origin(it) is typing.Required}
    return rules.typed_dict(
        {name: _inner(it) for name, it in hints.items()}, frozenset((cls.__required_keys__ | asked) - optional)
    )


def _container_rule(cls: type, arguments: tuple[Any, ...]) -> Rule:
    if cls is tuple:
        return _tuple(arguments)
    if issubclass(cls, collections.abc.Mapping) and (cls is dict or inspect.isabstract(cls)):
        key, item = arguments if len(arguments) == 2 else (Any, Any)
        return rules.mapping(cls, _inner(key), _inner(item))
    if cls in _BUILD or (issubclass(cls, collections.abc.Iterable) and inspect.isabstract(cls)):
        return rules.elements(cls, _inner(arguments[0]) if len(arguments) == 1 else KEEP, build=_build_of(cls))
    return rules.instance_of(cls)


def _tuple(arguments: tuple[Any, ...]) -> Rule:
    if not arguments or any(typing.get_origin(argument) is typing.Unpack for argument in arguments):
        return rules.elements(tuple, KEEP, build=tuple)
    if len(arguments) == 2 and arguments[1] is ...:
        return rules.elements(tuple, _inner(arguments[0]), build=tuple)
    return rules.fixed([_inner(argument) for argument in arguments])


_BUILD: dict[type, Callable[[Any], Any] | None] = {list: None, set: set, frozenset: frozenset}


def _build_of(cls: type) -> Callable[[Any], Any] | None:
    if issubclass(cls, collections.abc.Set) and cls not in _BUILD:
        return set
    return _BUILD.get(cls)
