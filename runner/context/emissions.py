"""From ``ctx.emit`` to what the outbox carries."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from runner.context.child import Parent
from runner.messages import Emission
from runner.transactions import Outgoing

#: AMQP keeps a message id in a short string: 255 bytes.
_MAX_ID_BYTES = 200


def emission(event: str, payload: bytes, parent: Parent, workflow: str) -> Callable[[str, int], tuple[Outgoing, ...]]:
    """What leaves with the commit that records an emit."""

    def effects(entry_id: str, at: int) -> tuple[Outgoing, ...]:
        id = message_id(parent, entry_id)
        made = Emission(id=id, event=event, payload=payload, execution_id=parent.execution_id, workflow=workflow, at=at)
        return (Outgoing(target=event, request=id, kind="emit", payload=made.pack()),)

    return effects


def message_id(parent: Parent, entry_id: str) -> str:
    """The same for every delivery of one emit, and for nothing else: another attempt that emits again emits another."""
    first = parent.attempt == 1 and not parent.opening
    text = f"{parent.execution_id}/{parent.run}/{entry_id}" + ("" if first else f"~{parent.opening}.{parent.attempt}")
    return text if len(text.encode()) <= _MAX_ID_BYTES else sha256(text.encode()).hexdigest()
