"""Is what comes out what went in? Types are compared on every level, values by their bytes."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

from runner.codec.lower import NATIVE, Lowering
from runner.codec.misfit import Misfit, key_step, type_name
from runner.codec.shapes import pydantic_model, shape_of
from runner.codec.wire import pack


def check_types(before: Any, after: Any) -> None:
    """Raises Misfit, with the path, where ``after`` is of another type than ``before``."""
    kind = type(before)
    if kind is not type(after):
        raise Misfit(
            f"{type_name(kind)} goes in and {type_name(type(after))} comes out; "
            f"annotate it with {type_name(kind)} where it is declared (return type, parameter, field or payload type)"
        )
    if kind in NATIVE or isinstance(before, enum.Enum):
        return
    for step, one, other in _children(before, after):
        try:
            check_types(one, other)
        except Misfit as misfit:
            raise misfit.within(step)  # noqa: B904 - the same one, on its way out


def check_bytes(before: Any, after: Any) -> None:
    """Raises Misfit, with the path, where ``after`` is stored in other bytes than ``before``."""
    if _stored(before) == _stored(after):
        return
    if type(before) not in NATIVE:
        for step, one, other in _children(before, after):
            try:
                check_bytes(one, other)
            except Misfit as misfit:
                raise misfit.within(step)  # noqa: B904
    raise Misfit(
        "comes back changed; leave it as it is in __init__, __post_init__ and validators, or store it otherwise"
    )


def _stored(value: Any) -> bytes:
    return pack(Lowering().value(value))


def _children(before: Any, after: Any) -> Iterable[tuple[str, Any, Any]]:
    match before:
        case list() | tuple():
            return ((f"[{index}]", one, other) for index, (one, other) in enumerate(zip(before, after, strict=False)))
        case dict():
            return _dict_children(before, after)
        case set() | frozenset():
            ordered = (sorted(members, key=_stored) for members in (before, after))
            return (("<member>", one, other) for one, other in zip(*ordered, strict=False))
        case _:
            return _fields(before, after)


def _dict_children(before: dict[Any, Any], after: dict[Any, Any]) -> Iterable[tuple[str, Any, Any]]:
    for (key, one), (other_key, other) in zip(before.items(), after.items(), strict=False):
        yield "<key>", key, other_key
        yield key_step(key), one, other


def _fields(before: Any, after: Any) -> Iterable[tuple[str, Any, Any]]:
    kind: Any = type(before)
    if pydantic_model(kind):
        names = [*kind.model_fields, *(before.model_extra or ())]
    else:
        shape = shape_of(kind)
        names = [field.attr for field in shape.fields] if shape is not None else []
    return ((f".{name}", getattr(before, name), getattr(after, name)) for name in names)
