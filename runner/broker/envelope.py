"""How an event is wrapped for its way: the body is the payload alone, everything else is in the headers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runner.errors import ConfigError
from runner.messages import Emission

CONTENT_TYPE = "application/vnd.runner.event+msgpack"

EVENT, EXECUTION, WORKFLOW, AT = "x-runner-event", "x-runner-execution", "x-runner-workflow", "x-runner-at"

#: The longest routing key and message id that AMQP can carry, in bytes.
KEY_MAX_BYTES = 255


class MalformedEvent(ValueError):
    """The message is no event of ours: the error says why, in words for an operator."""


def headers_of(emission: Emission) -> dict[str, str]:
    """All of them texts: a moment of AMQP's own kind that no calendar holds would kill whoever reads it."""
    return {
        EVENT: emission.event,
        EXECUTION: emission.execution_id,
        WORKFLOW: emission.workflow,
        AT: str(emission.at),
    }


def emission_of(id: str, headers: Mapping[str, object], body: bytes, *, wanted: Iterable[str]) -> Emission:
    """Raises MalformedEvent for what ``emit`` did not make, and for an event that is none of ``wanted``."""
    event, execution_id, workflow = (_text(headers, name) for name in (EVENT, EXECUTION, WORKFLOW))
    if not id:
        raise MalformedEvent("not an event: it has no message id")
    if event not in wanted:
        raise MalformedEvent(f"event {event[:80]!r} is not listened to any more: unbind it from the subscriber's queue")
    return Emission(id=id, event=event, payload=body, execution_id=execution_id, workflow=workflow, at=_at(headers))


def check_events(events: Iterable[str]) -> None:
    """Raises ConfigError for a name that AMQP cannot carry, or would take for a pattern."""
    for event in events:
        if not 0 < len(event.encode()) <= KEY_MAX_BYTES or "*" in event or "#" in event:
            raise ConfigError(
                f"an event needs a name of 1 to {KEY_MAX_BYTES} bytes without * and #, not {event[:80]!r}"
            )


def _text(headers: Mapping[str, object], name: str) -> str:
    value = headers.get(name)
    if not isinstance(value, str):
        raise MalformedEvent(f"not an event: header {name} is {'missing' if value is None else 'no text'}")
    return value


def _at(headers: Mapping[str, object]) -> int:
    text = _text(headers, AT)
    # Bounded, because Python refuses to read numbers of thousands of digits with an error of its own.
    if len(text) > 20 or not text.isdecimal():
        raise MalformedEvent(f"not an event: header {AT} is {text[:40]!r}, not a time in ms")
    return int(text)
