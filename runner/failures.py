"""The record of a failure: enough to explain it, and to raise it again without running anything.

Only classes that were registered (``@app.error``) come back as themselves, and without a call of their
``__init__``: what a store holds can name a class, never choose one.
"""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, Self

import msgpack

from runner.codec import decode, encode
from runner.errors import PayloadError, qualified_name

MAX_MESSAGE = 4_096
MAX_TRACEBACK = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong. ``bases``: the qualified names of the error's classes, its own first.

    ``payload`` holds the arguments and fields of a registered class; None for all others.
    """

    type: str
    message: str
    bases: tuple[str, ...]
    traceback: str
    step: str | None
    attempts: int
    payload: bytes | None

    @classmethod
    def of(
        cls,
        error: BaseException,
        *,
        known: Mapping[str, type[BaseException]],
        step: str | None = None,
        attempts: int = 1,
    ) -> Self:
        """The record of ``error``; its texts are cut to 4 KiB and 8 KiB."""
        bases = tuple(qualified_name(base) for base in type(error).__mro__ if issubclass(base, BaseException))
        return cls(
            type=bases[0],
            message=_message(error)[:MAX_MESSAGE],
            bases=bases,
            traceback=_traceback(error),
            step=step,
            attempts=attempts,
            payload=_payload(error) if bases[0] in known else None,
        )

    def pack(self) -> bytes:
        return bytes(msgpack.packb(astuple(self), unicode_errors="replace"))

    @classmethod
    def unpack(cls, blob: bytes) -> Self:
        type, message, bases, traceback, step, attempts, payload, *_ = msgpack.unpackb(blob)
        return cls(
            type=type,
            message=message,
            bases=tuple(bases),
            traceback=traceback,
            step=step,
            attempts=attempts,
            payload=payload,
        )


def rebuild(failure: Failure, known: Mapping[str, type[BaseException]]) -> BaseException | None:
    """The error itself when its class is registered here; None otherwise."""
    cls = known.get(failure.type)
    if cls is None or failure.payload is None:
        return None
    content = decode(failure.payload, what=f"fields of {failure.type}")
    args = tuple(content["args"])
    error = cls.__new__(cls, *args)
    error.args = args
    for name, value in content["fields"].items():
        setattr(error, name, value)
    return error


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the failure
        return "(its message could not be made)"


def _traceback(error: BaseException) -> str:
    """The end of the traceback, without local variables: they hold secrets."""
    text = "".join(tracebacks.format_exception(error, limit=-20, chain=True))
    return text[-MAX_TRACEBACK:]


def _payload(error: BaseException) -> bytes | None:
    try:
        return encode({"args": error.args, "fields": _fields(error)}, what=f"fields of {type(error).__name__}")
    except PayloadError:
        return None


def _fields(error: BaseException) -> dict[str, Any]:
    slots = [name for base in type(error).__mro__ for name in getattr(base, "__slots__", ())]
    fields = {name: getattr(error, name) for name in slots if hasattr(error, name)}
    return {**fields, **{name: value for name, value in vars(error).items() if not name.startswith("__")}}
