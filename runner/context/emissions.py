"""From ``ctx.emit`` to what the outbox carries."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from runner.messages import Emission
from runner.transactions import Outgoing

#: AMQP keeps a message id in a short string: 255 bytes.
_MAX_ID_BYTES = 200


def emission(
    event: str, payload: bytes, execution_id: str, run: int, workflow: str
) -> Callable[[str, int], tuple[Outgoing, ...]]:
    """What leaves with the commit that records an emit."""

    def effects(entry_id: str, at: int) -> tuple[Outgoing, ...]:
        id = message_id(execution_id, run, entry_id)
        made = Emission(id=id, event=event, payload=payload, execution_id=execution_id, workflow=workflow, at=at)
        return (Outgoing(target=event, request=id, kind="emit", payload=made.pack()),)

    return effects


def message_id(execution_id: str, run: int, entry_id: str) -> str:
    """The same for every delivery of one emit, and for nothing else."""
    text = f"{execution_id}/{run}/{entry_id}"
    return text if len(text.encode()) <= _MAX_ID_BYTES else sha256(text.encode()).hexdigest()
