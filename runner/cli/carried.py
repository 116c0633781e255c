"""Records as they pass the door of ``runner dev``: without what only the process behind it acts upon.

That process relays what an answer says of the outbox, and tells its observers of audit rows; an operator's row goes
in packed, because JSON cannot tell its texts from its bytes.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

import msgspec

from runner.records import AuditEntry, History
from runner.transactions import Delivered, Operate, Operated, Started

_BEHIND_THE_DOOR = ("rows", "parcels")


def _shape(cls: type[Any]) -> type[msgspec.Struct]:
    hints = get_type_hints(cls) | {"audit": bytes | None}
    kept = [(one.name, hints[one.name]) for one in fields(cls) if one.name not in _BEHIND_THE_DOOR]
    return msgspec.defstruct(cls.__name__, kept, frozen=True, kw_only=True)


_SHAPES: dict[type[Any], type[msgspec.Struct]] = {
    cls: _shape(cls) for cls in (Started, Delivered, Operate, Operated, History)
}
_RECORDS = {shape: cls for cls, shape in _SHAPES.items()}


def shape_of(cls: type[Any]) -> type[msgspec.Struct]:
    """What is on the line in the place of a record."""
    return _SHAPES[cls]


def outward(value: Any) -> Any:
    """A record, or a list of them, as it goes onto the line; anything else goes as it is."""
    if isinstance(value, list | tuple):
        return [outward(one) for one in value]
    shape = _SHAPES.get(type(value))
    if shape is None:
        return value
    parts = {name: getattr(value, name) for name in shape.__struct_fields__}
    if isinstance(parts.get("audit"), AuditEntry):
        parts["audit"] = parts["audit"].pack()
    return shape(**parts)


def inward(value: Any) -> Any:
    """The record of what came over the line."""
    if isinstance(value, list):
        return [inward(one) for one in value]
    record = _RECORDS.get(type(value))
    if record is None:
        return value
    parts = msgspec.structs.asdict(value)
    if isinstance(parts.get("audit"), bytes):
        parts["audit"] = AuditEntry.unpack(parts["id"], parts["audit"])
    return record(**parts)
