"""AMQP as it goes over the wire, as far as is needed to lose deliveries and nothing else."""

from __future__ import annotations

import struct

_HEADER = struct.Struct("!BHI")  # type, channel, size; what follows ends with one byte more
_METHOD, _CONTENT_HEADER, _CONTENT_BODY = 1, 2, 3
_DELIVER = struct.pack("!HH", 60, 60)  # basic.deliver


class Undelivered:
    """What a server says on one connection, from its beginning, without what it delivers.

    Heartbeats, answers and all other methods pass: for both ends the connection is in the best of health.
    """

    def __init__(self) -> None:
        self.swallowed = 0
        self._rest = b""
        self._swallowing: set[int] = set()  # channels on which the content of a delivery is due

    def __call__(self, data: bytes) -> bytes:
        """What passes of it; what is no whole frame yet is kept until the rest has come."""
        self._rest += data
        passed = bytearray()
        while len(self._rest) >= _HEADER.size:
            kind, channel, size = _HEADER.unpack_from(self._rest)
            end = _HEADER.size + size + 1
            if len(self._rest) < end:
                break
            frame, self._rest = self._rest[:end], self._rest[end:]
            if not self._swallows(kind, channel, frame):
                passed += frame
        return bytes(passed)

    def _swallows(self, kind: int, channel: int, frame: bytes) -> bool:
        if kind == _METHOD:
            self._swallowing.discard(channel)
            if frame[_HEADER.size :].startswith(_DELIVER):
                self._swallowing.add(channel)
                self.swallowed += 1
        return kind in (_METHOD, _CONTENT_HEADER, _CONTENT_BODY) and channel in self._swallowing
