"""Exceptions of registered classes to bytes and back, without a call of their ``__init__``.

What is kept: ``args``, the instance's attributes (notes among them) and its slots. Hints for them
are the class's annotations and the parameters of its ``__init__``. Causes and tracebacks stay behind.
"""

from __future__ import annotations

from types import MemberDescriptorType
from typing import Any

from runner.codec.hints import field_hints, resolve_hints
from runner.codec.lower import Lowering
from runner.codec.misfit import Misfit
from runner.codec.same import check_types
from runner.codec.typed import build
from runner.codec.wire import pack, unpack

#: Bytes of all arguments and fields of one exception.
MAX_RAISED = 65_536

_HEAP_TYPE = 1 << 9


def pack_raised(error: BaseException) -> bytes | None:
    """The bytes that ``unpack_raised`` makes an equal exception of; None when there are none."""
    for typed in (True, False):
        try:
            blob = _pack(error, typed=typed)
            again = _unpack(type(error), unpack(blob))
            check_types(_content(error), _content(again))
            if len(blob) <= MAX_RAISED and _pack(again, typed=typed) == blob:
                return blob
        except Exception:  # noqa: BLE001, S112 - __new__ and setters are the user's: whatever they raise, it does not travel
            continue
    return None


def unpack_raised(cls: type[BaseException], blob: bytes) -> BaseException | None:
    """The exception, or None when the class is no longer what it was."""
    try:
        return _unpack(cls, unpack(blob))
    except Exception:  # noqa: BLE001 - as in pack_raised
        return None


def _pack(error: BaseException, *, typed: bool) -> bytes:
    return pack(Lowering().value({"typed": typed, **_content(error)}))


def _content(error: BaseException) -> dict[str, Any]:
    return {"args": error.args, "fields": dict(vars(error)), "slots": _slots(error)}


def _slots(error: BaseException) -> dict[str, Any]:
    return {
        name: getattr(error, name)
        for cls in type(error).__mro__
        if cls.__flags__ & _HEAP_TYPE
        for name, member in vars(cls).items()
        if isinstance(member, MemberDescriptorType) and hasattr(error, name)
    }


def _unpack(cls: type[BaseException], content: dict[str, Any]) -> BaseException:
    parameters = resolve_hints(cls).params
    hints = {**parameters, **field_hints(cls)}
    # What `super().__init__` was given need not be what `__init__` was given: tried both ways when packed.
    wanted = list(parameters.values()) if content["typed"] else []
    args = tuple(_args(content["args"], wanted))
    root: Any = next(base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE)
    error: BaseException = root.__new__(cls, *args)
    root.__init__(error, *args)  # the builtin one: sets args, and what only C code can, as UnicodeError's fields
    vars(error).update(_fields(content["fields"], hints))
    for name, value in _fields(content["slots"], hints).items():
        object.__setattr__(error, name, value)
    return error


def _args(plain: tuple[Any, ...], hints: list[Any]) -> list[Any]:
    if type(plain) is not tuple:
        raise Misfit("args are no tuple")
    return [build(value, hints[index] if index < len(hints) else Any) for index, value in enumerate(plain)]


def _fields(plain: dict[str, Any], hints: dict[str, Any]) -> dict[str, Any]:
    return {name: build(value, hints.get(name, Any)) for name, value in plain.items()}
