"""What reaches a workflow from outside, by name and with a typed payload."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from runner.errors import UsageError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_EVENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")


def check_signal(name: object) -> str:
    """Returns ``name``. Raises UsageError when it cannot be a signal's: 1 to 200 printable characters."""
    if isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable():
        return name
    raise UsageError(f"signal name {name!r:.220}: 1 to 200 printable characters are needed")


class Readable(Generic[T_co]):
    """The side of a signal that a workflow sees: a name, and the type of what comes under it."""

    def __init__(self, name: str) -> None:
        self.name = check_signal(name)

    @property
    def payload_type(self) -> Any:
        """The type in the brackets of ``Signal[T]("name")``; Any without brackets.

        Read when asked for: Python stores it on the object only after ``__init__``.
        """
        return next(iter(get_args(getattr(self, "__orig_class__", None))), Any)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Signal(Readable[T]):
    """A message to one execution: ``approved = Signal[Approval]("approved")``.

    Kept in the execution's inbox until a wait consumes it: at most once, in the order in which
    the store accepted them.
    """


@dataclass(frozen=True, slots=True)
class TimedOut:
    """What a wait with a timeout gives when nothing came in time."""


class Event(Generic[T]):
    """Something that workflows tell the world: ``shipped = Event[Parcel]("order.shipped")``.

    Published by ``ctx.emit``: at least once, under an id that is the same each time. ``@app.on(shipped)`` subscribes.
    """

    def __init__(self, name: str) -> None:
        self.name = check_event(name)

    @property
    def payload_type(self) -> Any:
        """The type in the brackets; Any without brackets. Read when asked for, as a signal's is."""
        return next(iter(get_args(getattr(self, "__orig_class__", None))), Any)

    def __repr__(self) -> str:
        return f"Event({self.name!r})"


def check_event(name: object) -> str:
    """Returns ``name``. Raises UsageError when it cannot be an event's: it is a routing key of AMQP too."""
    if isinstance(name, str) and _EVENT_NAME.fullmatch(name):
        return name
    raise UsageError(
        f"event name {name!r:.220}: 1 to 200 of the characters A-Z a-z 0-9 . _ : - are needed, the first a letter or digit"
    )
