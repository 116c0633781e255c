"""Attributes: what an execution can be found by."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from runner.errors import UsageError
from runner.ids import check_name

#: Attributes that one call may set, and characters that a value may have.
MAX_COUNT, MAX_VALUE = 32, 200

Attribute = str | int | float | bool


def attribute_texts(values: Mapping[str, Attribute] | None, *, what: str = "attributes") -> tuple[tuple[str, str], ...]:
    """Names with their values as JSON, sorted: as stores index them.

    Raises UsageError for a name that is none, for values that are not text, number or bool, and for too much.
    """
    if values is None:
        return ()
    if len(values) > MAX_COUNT:
        raise UsageError(f"{what}: a mapping of at most {MAX_COUNT} names to values")
    return tuple(sorted((check_name(name, what=f"name in {what}"), _text(name, values[name], what)) for name in values))


def _text(name: str, value: object, what: str) -> str:
    if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise UsageError(f"{what}: {name}={value!r:.100} is no text, finite number or bool")
    text = json.dumps(value)
    if len(text) > MAX_VALUE:
        raise UsageError(
            f"{what}: the value of {name} has {len(text)} characters as JSON, at most {MAX_VALUE} are indexed"
        )
    return text
