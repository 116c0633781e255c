"""Classes with named fields, whatever library made them, seen as one thing: a shape.

Dataclasses, msgspec Structs, attrs classes and typed named tuples differ in how they list their
fields and defaults, and in nothing else that matters here. pydantic models go through their own
methods (see ``pydantic_model``).
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """``wire``: its key in the payload; ``attr``: on the instance; ``argument``: of the constructor (None: none)."""

    wire: str
    attr: str
    argument: str | None
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``tag``: a key and value that tell members of a union of Structs apart."""

    cls: type
    fields: tuple[Field, ...]
    tag: tuple[str, str | int] | None = None
    closed: bool = False  # unknown fields are refused, as the class asks
    positional: bool = False  # a named tuple: travels as a tuple


@lru_cache(maxsize=4096)
def shape_of(cls: type) -> Shape | None:
    """The shape of ``cls``, or None when it is no class with fields."""
    if issubclass(cls, msgspec.Struct):
        return _struct(cls)
    if hasattr(cls, "__attrs_attrs__"):
        return _attrs(cls)
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple(cls)
    return None


@lru_cache(maxsize=4096)
def pydantic_model(cls: type) -> bool:
    """True for subclasses of pydantic's BaseModel; never imports pydantic."""
    module = sys.modules.get("pydantic.main")
    return module is not None and issubclass(cls, module.BaseModel)


def _dataclass(cls: Any) -> Shape:
    missing = dataclasses.MISSING
    return Shape(
        cls=cls,
        fields=tuple(
            Field(
                wire=field.name,
                attr=field.name,
                argument=field.name if field.init else None,
                required=field.init and field.default is missing and field.default_factory is missing,
            )
            for field in dataclasses.fields(cls)
        ),
    )


def _attrs(cls: Any) -> Shape:
    nothing = sys.modules["attr"].NOTHING
    return Shape(
        cls=cls,
        fields=tuple(
            Field(
                wire=field.name,
                attr=field.name,
                argument=field.alias if field.init else None,
                required=field.init and field.default is nothing,
            )
            for field in cls.__attrs_attrs__
        ),
    )


def _struct(cls: type[msgspec.Struct]) -> Shape:
    config = cls.__struct_config__
    names = cls.__struct_fields__
    # The defaults belong to the last fields; keyword-only ones without a default hold a marker.
    defaults = (msgspec.NODEFAULT,) * (len(names) - len(cls.__struct_defaults__)) + cls.__struct_defaults__
    return Shape(
        cls=cls,
        fields=tuple(
            Field(wire=wire, attr=name, argument=name, required=default is msgspec.NODEFAULT)
            for name, wire, default in zip(names, cls.__struct_encode_fields__, defaults, strict=True)
        ),
        tag=None if config.tag is None else (config.tag_field or "type", config.tag),
        closed=config.forbid_unknown_fields,
    )


def _named_tuple(cls: Any) -> Shape:
    return Shape(
        cls=cls,
        fields=tuple(
            Field(wire=name, attr=name, argument=name, required=name not in cls._field_defaults) for name in cls._fields
        ),
        positional=True,
    )
