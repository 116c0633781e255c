"""What travels through the broker: hints to the workers, and the events that workflows emit.

A hint is never state. Losing, doubling or delaying one costs time, not correctness. An event is the outside's: it goes
through the outbox, at least once, under an id that is the same each time.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import msgpack

from runner.codec import unpack_as
from runner.errors import PayloadError

VERSION = 1
MAX_BYTES = 1024


class MalformedHint(ValueError):
    """The bytes are not a hint of ours: the message says why, in words for an operator."""


def _counts(*numbers: int) -> bool:
    """Whether these can have been counted: the store keeps what a hint says, and Lua's numbers are exact only so far."""
    return all(0 <= number < 2**53 for number in numbers)


@dataclass(frozen=True, slots=True)
class Hint:
    """``seq`` counts the execution's wake-ups: a store behind it has lost acknowledged writes."""

    execution_id: str
    workflow: str
    version: int
    seq: int

    def encode(self) -> bytes:
        return bytes(msgpack.packb((VERSION, *astuple(self))))

    @classmethod
    def decode(cls, body: bytes) -> Hint:
        """Raises MalformedHint for anything that ``encode`` did not make (size checked first)."""
        if len(body) > MAX_BYTES:
            raise MalformedHint(f"a hint is at most {MAX_BYTES} bytes, this message has {len(body)}")
        try:
            fields = unpack_as(body, "message")
        except PayloadError as error:
            raise MalformedHint(f"not msgpack: {error}") from None
        match fields:
            case [1, str(execution_id), str(workflow), int(version), int(seq)] if execution_id and _counts(
                version, seq
            ):
                return cls(execution_id, workflow, version, seq)
            case [int(other), *_] if other != VERSION:
                raise MalformedHint(f"hint version {other}, this worker reads version {VERSION}")
        raise MalformedHint("not a hint: expected [version, execution id, workflow, workflow version, seq]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """One event, as it goes to the broker: ``payload`` is what the codec made of it.

    ``id`` is derived from the execution, its run and the emit's own id: a subscriber that sees it twice has seen it.
    """

    id: str
    event: str
    payload: bytes
    execution_id: str
    workflow: str
    at: int

    def pack(self) -> bytes:
        return bytes(msgpack.packb(astuple(self)))

    @classmethod
    def unpack(cls, blob: bytes) -> Emission:
        id, event, payload, execution_id, workflow, at, *_ = unpack_as(blob, "event", 6)
        return cls(id=id, event=event, payload=payload, execution_id=execution_id, workflow=workflow, at=at)
