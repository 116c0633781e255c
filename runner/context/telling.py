"""What the world is told: events, notes, attributes."""

from __future__ import annotations

from typing import Any, TypeVar

from runner.attributes import Attribute, attribute_texts
from runner.codec import encode, roundtrip
from runner.context.base import Base, optional
from runner.context.emissions import emission
from runner.core.calls import Call
from runner.core.commands import Decision
from runner.signals import Event

T = TypeVar("T")


class Telling(Base):
    """What leaves with the next commit."""

    def emit(self, event: Event[T], payload: T, id: str | None = None) -> Call[None]:
        """Publish an event with the next commit: once a call, whatever is replayed; delivered at least once."""
        encoded, _ = roundtrip(payload, event.payload_type, what=f"payload of event {event.name!r}")
        decision = Decision(
            id=optional(id, "ctx.emit"),
            where=self._place("ctx.emit"),
            kind="emit",
            payload=encode(event.name),
            effects=emission(event.name, encoded, self._parent, self.workflow),
        )
        return Call(self._replay, f"ctx.emit({event.name!r})", decision, _nothing)

    def note(self, message: str, /, **fields: Any) -> Call[None]:
        """Put a line into the audit trail, once, whatever is replayed. ``fields``: anything that a step may return."""
        decision = Decision(
            id=None,
            where=self._place("ctx.note"),
            kind="note",
            payload=encode([str(message), fields], what="ctx.note"),
        )
        return Call(self._replay, "ctx.note(...)", decision, _nothing)

    def set_attributes(self, **values: Attribute) -> None:
        """Set what this execution can be found by, with the next commit. Values: text, numbers, bool."""
        self._place("ctx.set_attributes")
        texts = attribute_texts(values, what="ctx.set_attributes")
        self._replay.attributes.update(texts)


def _nothing(_: object) -> None:
    """What a call gives that only tells."""
