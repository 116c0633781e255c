"""What happens to payloads on their way into the store and out of it: encryption, where somebody wants it.

A sealed payload begins with a byte that no other payload begins with. So what was written before there was a payload codec
is still read as it is, and what is sealed already is not sealed again.
"""

from __future__ import annotations

from typing import Protocol

from runner.codec import SEALED
from runner.errors import PayloadError


class PayloadCodec(Protocol):
    """``App(name, payload_codec=...)``: the last on the way in, the first on the way out.

    Both are called on the event loop, in workers and clients, and must be quick: a call that hangs blocks its worker, which
    ends itself, and after MAX_CRASHES such ends the execution is failed as poisoned. Put into the bytes whatever ``decode`` will
    need to know, such as the id of a key: nothing else is kept.
    """

    def encode(self, payload: bytes) -> bytes:
        """What the store is to keep. It need not be the same each time."""
        ...

    def decode(self, payload: bytes) -> bytes:
        """The bytes that ``encode`` was given. Raises any exception for what it cannot read, or does not trust."""
        ...


class Sealing:
    """A payload codec as the store's edges use it; without one, nothing is sealed and nothing sealed can be opened."""

    def __init__(self, codec: PayloadCodec | None) -> None:
        self.codec = codec

    def seal(self, payload: bytes) -> bytes:
        """Empty payloads say that there is none: they stay. Raises PayloadError when the codec raises."""
        if self.codec is None or not payload or payload.startswith(SEALED):
            return payload
        try:
            return SEALED + _bytes(self.codec.encode(payload))
        except Exception as error:
            raise PayloadError(f"the payload codec could not encode: {_said(error)}") from error

    def open(self, payload: bytes) -> bytes:
        """Raises PayloadError for what was sealed and cannot be opened here."""
        if not payload.startswith(SEALED):
            return payload
        if self.codec is None:
            raise PayloadError("it is sealed, and this app has no payload codec: App(..., payload_codec=...)")
        try:
            return _bytes(self.codec.decode(payload.removeprefix(SEALED)))
        except Exception as error:
            raise PayloadError(
                f"the payload codec could not decode it ({_said(error)}): it was changed, or sealed with a key that is not here"
            ) from error

    def open_or_leave(self, payload: bytes) -> bytes:
        """As ``open``, but for what cannot be opened: that stays sealed, and whoever decodes it is told so."""
        try:
            return self.open(payload)
        except PayloadError:
            return payload


def _bytes(made: object) -> bytes:
    """What a codec gave back. Anything else would fail far from here, without a word about the codec."""
    if not isinstance(made, bytes | bytearray | memoryview):
        raise TypeError(f"it returned {type(made).__name__}, not bytes")
    return bytes(made)


def _said(error: Exception) -> str:
    """Some errors of ciphers say nothing but their name."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
