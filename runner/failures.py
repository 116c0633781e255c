"""The record of a failure: enough to explain it, and to raise it again without running anything.

Only classes that were registered (``@app.error``) come back as themselves, and without a call of their
``__init__``: what a store holds can name a class, never choose one.
"""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from runner.codec import decode, encode
from runner.codec.raised import pack_raised, unpack_raised
from runner.errors import qualified_name

#: In bytes of UTF-8, as all sizes of what is stored.
MAX_MESSAGE = 4_096
MAX_TRACEBACK = 8_192

_Known = Mapping[str, type[BaseException]]


class _Row(NamedTuple):
    """A failure as it is stored. A later version may add to the end, with a default."""

    type: str
    message: str
    bases: tuple[str, ...]
    traceback: str
    step: str | None
    attempts: int
    payload: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong. ``bases``: the qualified names of the error's classes, its own first.

    ``payload`` holds the arguments and fields of a registered class; None for all others, and when
    they cannot be stored.
    """

    type: str
    message: str
    bases: tuple[str, ...]
    traceback: str
    step: str | None
    attempts: int
    payload: bytes | None

    @classmethod
    def of(cls, error: BaseException, *, known: _Known, step: str | None = None, attempts: int = 1) -> Self:
        """The record of ``error``; its texts are cut to 4 KiB and 8 KiB. Raises nothing, whatever the error is."""
        kind = type(error)
        bases = tuple(qualified_name(base) for base in kind.__mro__ if issubclass(base, BaseException))
        return cls(
            type=bases[0],
            message=said(error),
            bases=bases,
            traceback=_traceback(error),
            step=step,
            attempts=attempts,
            payload=pack_raised(error) if known.get(bases[0]) is kind else None,
        )

    def pack(self) -> bytes:
        row = (self.type, self.message, self.bases, self.traceback, self.step, self.attempts, self.payload)
        return encode(list(row), what="failure")

    @classmethod
    def unpack(cls, blob: bytes) -> Self:
        """Raises PayloadError for bytes that are no failure."""
        return cls(**decode(blob, _Row, what="failure")._asdict())


def rebuild(failure: Failure, known: _Known) -> BaseException | None:
    """The error itself when its class is registered here; None otherwise."""
    cls = known.get(failure.type)
    return None if cls is None or failure.payload is None else unpack_raised(cls, failure.payload)


def sound(error: BaseException) -> BaseException:
    """The error; or one that tells of it where the mere question of its class raises, which every handler asks."""
    try:
        isinstance(error, _Asked)
    except BaseException:  # noqa: BLE001 - as in said
        return RuntimeError(f"{qualified_name(type(error))}, whose __class__ raises: {said(error)}")
    return error


class _Asked(Exception):
    """No error is one of these."""


def said(error: BaseException) -> str:
    """The error's message, whatever its class does to keep it: bounded, and fit to be stored and logged."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - a broken __str__ must not hide the failure, nor end the worker
        text = "(its message could not be made)"
    return _stored(text)[:MAX_MESSAGE].decode(errors="ignore")


def _traceback(error: BaseException) -> str:
    """The end of the traceback, without local variables: they hold secrets."""
    try:
        text = "".join(tracebacks.format_exception(error, limit=-20, chain=True))
    except Exception:  # noqa: BLE001 - as in said
        text = "(its traceback could not be made)"
    return _stored(text)[-MAX_TRACEBACK:].decode(errors="ignore")


def _stored(text: str) -> bytes:
    # Names of files and bytes from outside reach messages as lone surrogates.
    return text.encode(errors="backslashreplace")
