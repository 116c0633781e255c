"""How a plain value becomes what a type hint asks for: one rule per kind of hint.

A value that is an instance of what the hint asks for stays as it is, and so do an ``int`` where a
``float`` is asked for and the concrete container where a ``Sequence`` is. JSON's poorer forms (a
list for a tuple, a text for a date) are converted, for payloads that come from a command line.
Fields that the class does not know are passed over and missing ones get their defaults: during a
deploy, both versions read the same payloads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.codec.lower import Lowering
from runner.codec.misfit import Misfit, key_step, type_name
from runner.codec.shapes import Shape
from runner.codec.wire import pack

#: What the unions of one reading have decided already, by value and union.
Memo = dict[tuple[int, int], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """``passes``: exact types whose values stay as they are, so that whole lists need no look inside.

    ``literal``: claims some values of a scalar type for itself, as an enum does.
    """

    apply: Callable[[Any, Memo], Any]
    passes: frozenset[type] = frozenset()
    literal: bool = False

    def all_pass(self, values: Iterable[Any]) -> bool:
        return self is KEEP or self.passes.issuperset(map(type, values))


KEEP = Rule(lambda value, _: value)


def instance_of(cls: Any) -> Rule:
    """Nothing is built: the value is one already, or does not fit."""

    def apply(value: Any, _: Memo) -> Any:
        try:
            if isinstance(value, cls):
                return value
        except TypeError:  # a Protocol that says nothing at run time
            return value
        raise needed(cls, value)

    return Rule(apply)


def needed(cls: Any, value: Any) -> Misfit:
    name = type_name(cls) if isinstance(cls, type) else str(cls)
    return Misfit(f"{name} is needed, got {type_name(type(value))}")


def scalar(cls: type, *also: type) -> Rule:
    """``also``: types that stand for ``cls`` by common agreement, as int for float."""
    passes = frozenset({cls, *also})

    def apply(value: Any, _: Memo) -> Any:
        if type(value) in passes:
            return value
        raise needed(cls, value)

    return Rule(apply, passes)


NONE = scalar(type(None))


def optional(rule: Rule) -> Rule:
    """Or None."""

    def apply(value: Any, memo: Memo) -> Any:
        return None if value is None else rule.apply(value, memo)

    return Rule(apply, rule.passes | NONE.passes, rule.literal)


def from_text(cls: type, *also: type) -> Rule:
    """Scalars that JSON writes as texts or numbers."""
    passes = frozenset({cls, *also})

    def apply(value: Any, _: Memo) -> Any:
        if type(value) in passes:
            return value
        if type(value) not in (str, int, float):
            raise needed(cls, value)
        try:
            return msgspec.convert(value, cls, strict=type(value) is str)
        except msgspec.ValidationError:
            raise needed(cls, value) from None

    return Rule(apply, passes)


def one_of(values: Sequence[Any]) -> Rule:
    """``Literal``: equal in value and type."""
    wanted = {pack(Lowering().value(value)): value for value in values}

    def apply(value: Any, _: Memo) -> Any:
        found = wanted.get(pack(Lowering().value(value)), KEEP)
        if found is KEEP:
            raise Misfit(f"one of {', '.join(map(repr, values))} is needed")
        return found

    return Rule(apply, literal=True)


def member_of(cls: Any) -> Rule:
    """Enums, by value."""

    def apply(value: Any, _: Memo) -> Any:
        try:
            return cls(value)
        except (ValueError, TypeError):
            pass
        # A member whose value is an object with fields: equal only in its stored form.
        stored = pack(Lowering().value(value))
        for member in cls:
            if pack(Lowering().value(member.value)) == stored:
                return member
        raise Misfit(f"no member of {type_name(cls)} has this value")

    return Rule(apply, literal=True)


def elements(kinds: Any, item: Rule, *, build: Callable[[Any], Any] | None = None) -> Rule:
    """Containers of one kind of item. ``build``: what a list is turned into, if not left a list."""

    def apply(value: Any, memo: Memo) -> Any:
        if isinstance(value, kinds) and type(value) in _CONTAINERS:
            return value if item.all_pass(value) else type(value)(_each(value, item, memo))
        if isinstance(value, kinds):
            return value  # a text is a Sequence, too
        if build is not None and type(value) is list:
            return build(_each(value, item, memo))
        raise needed(kinds, value)

    return Rule(apply)


_CONTAINERS = frozenset({list, tuple, set, frozenset})


def _each(values: Iterable[Any], item: Rule, memo: Memo) -> list[Any]:
    found: list[Any] = []
    for index, value in enumerate(values):
        try:
            found.append(item.apply(value, memo))
        except Misfit as misfit:
            raise misfit.within(f"[{index}]")  # noqa: B904 - the same one, on its way out
    return found


def fixed(items: Sequence[Rule]) -> Rule:
    """``tuple[A, B]``."""

    def apply(value: Any, memo: Memo) -> Any:
        if type(value) not in (tuple, list):
            raise needed(tuple, value)
        if len(value) != len(items):
            raise Misfit(f"{len(items)} items are needed, got {len(value)}")
        return tuple(_by_place(value, items, memo))

    return Rule(apply)


def _by_place(values: Sequence[Any], items: Sequence[Rule], memo: Memo) -> list[Any]:
    found: list[Any] = []
    for index, (item, value) in enumerate(zip(items, values, strict=False)):
        try:
            found.append(item.apply(value, memo))
        except Misfit as misfit:
            raise misfit.within(f"[{index}]")  # noqa: B904
    return found


def mapping(kinds: Any, key: Rule, item: Rule) -> Rule:
    def apply(value: Any, memo: Memo) -> Any:
        if type(value) is not dict or not isinstance(value, kinds):
            raise needed(kinds, value)
        if key.all_pass(value) and item.all_pass(value.values()):
            return value
        return {_key(key, name, memo): _at(key_step(name), item, it, memo) for name, it in value.items()}

    return Rule(apply)


def _key(rule: Rule, key: Any, memo: Memo) -> Any:
    return _at("<key>", rule, key, memo)


def _at(step: str, rule: Rule, value: Any, memo: Memo) -> Any:
    try:
        return rule.apply(value, memo)
    except Misfit as misfit:
        raise misfit.within(step)  # noqa: B904


def typed_dict(fields: Mapping[str, Rule], required: frozenset[str]) -> Rule:
    def apply(value: Any, memo: Memo) -> Any:
        if type(value) is not dict:
            raise needed(dict, value)
        _check_present(required, value)
        return {name: _at(key_step(name), fields.get(name, KEEP), it, memo) for name, it in value.items()}

    return Rule(apply)


def _check_present(required: Iterable[str], value: Mapping[Any, Any]) -> None:
    for name in required:
        if name not in value:
            raise Misfit("is missing, and has no default").within(f".{name}")


def shaped(shape: Shape, hints: Mapping[str, Rule]) -> Rule:
    """Classes with named fields, from a map."""
    plan = [(field, hints.get(field.attr, KEEP)) for field in shape.fields]
    required = [field.wire for field in shape.fields if field.required]

    def apply(value: Any, memo: Memo) -> Any:
        if type(value) is not dict:
            raise needed(shape.cls, value)
        _check_tag(shape, value)
        _check_present(required, value)
        arguments: dict[str, Any] = {}
        later: dict[str, Any] = {}
        for field, rule in plan:
            if field.wire in value:
                item = value[field.wire]
                if type(item) not in rule.passes:
                    item = _at(f".{field.wire}", rule, item, memo)
                if field.argument is None:
                    later[field.attr] = item
                else:
                    arguments[field.argument] = item
        return _build(shape.cls, arguments, later)

    return Rule(apply)


def _check_tag(shape: Shape, value: dict[Any, Any]) -> None:
    tag = shape.tag
    if tag is None and not shape.closed:
        return
    if tag is not None and value.get(tag[0], tag[1]) != tag[1]:
        raise Misfit(f"{tag[1]!r} is needed").within(f".{tag[0]}")
    if shape.closed:
        known = {field.wire for field in shape.fields} | ({tag[0]} if tag is not None else set())
        for name in value.keys() - known:
            raise Misfit(f"{type_name(shape.cls)} has no such field").within(key_step(name))


def _build(cls: type, arguments: Mapping[str, Any], later: Mapping[str, Any]) -> Any:
    try:
        built = cls(**arguments)
        for attr, value in later.items():
            object.__setattr__(built, attr, value)  # past a frozen class's own
    except Exception as error:
        raise Misfit(f"{type_name(cls)} refuses these fields: {type(error).__name__}: {str(error)[:200]}") from error
    return built


def named_tuple(shape: Shape, hints: Mapping[str, Rule]) -> Rule:
    rules = [hints.get(field.attr, KEEP) for field in shape.fields]
    least = sum(field.required for field in shape.fields)

    def apply(value: Any, memo: Memo) -> Any:
        if type(value) not in (tuple, list):
            raise needed(shape.cls, value)
        if len(value) < least:
            raise Misfit(f"at least {least} items are needed, got {len(value)}")
        return shape.cls(*_by_place(value, rules, memo))

    return Rule(apply)


def model(cls: Any) -> Rule:
    """Models of pydantic, by their own validation."""

    def apply(value: Any, _: Memo) -> Any:
        try:
            return cls.model_validate(value, by_alias=True, by_name=True)
        except ValueError as error:
            raise _first_complaint(error) from error

    return Rule(apply)


def _first_complaint(error: Any) -> Misfit:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    misfit = Misfit(first["msg"])
    for place in reversed(first["loc"]):
        misfit.within(key_step(place))
    return misfit
