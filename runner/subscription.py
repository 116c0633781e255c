"""A subscription: a function of the app that hears an emitted event."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.calling import called
from runner.codec import decode
from runner.ids import check_name
from runner.signals import Event

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subscription:
    """``name`` is that of its queue: all processes that subscribe under it share what comes."""

    name: str
    event: Event[Any]
    fn: Callable[[Any], Any]

    def payload(self, blob: bytes) -> Any:
        """What the function is given. Raises PayloadError when it is not of the event's type."""
        return decode(blob, self.event.payload_type, what=f"payload of event {self.event.name!r}")


def subscriber_name(fn: Callable[..., Any], name: str | None) -> str:
    """``name``, or the function's own made fit for a queue. Raises UsageError for a name that does not fit."""
    if name is None:
        name = _UNFIT.sub("-", called(fn))[-_NAME_MAX:].lstrip("._-")
    return check_name(name, what="name of a subscriber")
