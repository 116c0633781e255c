"""How the broker is: its server, whether its queues are as Runner declares them, and what nobody could use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueVitals:
    """One worker queue: ``waiting`` hints, not counting those handed out (None: there is no such queue)."""

    queue: str
    waiting: int | None
    consumers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """An exchange or queue that is there with other properties than Runner declares, in RabbitMQ's words."""

    what: str
    differs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerVitals:
    """``name`` is the URL with its password masked; ``missing`` what nobody has declared yet, ``uncompared``
    what this user may not declare, and so not compare.
    """

    kind: Literal["rabbitmq", "memory"]
    name: str
    product: str = ""
    version: str = ""
    queues: tuple[QueueVitals, ...] = ()
    drifts: tuple[Drift, ...] = ()
    missing: tuple[str, ...] = ()
    uncompared: tuple[str, ...] = ()
    dead_letters: int = 0
    orphans: int = 0


class Vitals(Protocol):
    async def vitals(self, queues: Sequence[str]) -> BrokerVitals:
        """As it is now, with these worker queues. Declares nothing that is not there. Raises BrokerUnavailable."""
        ...

    async def takes_messages(self) -> bool | None:
        """False when a message is not confirmed in time: RabbitMQ has run out of memory or disk, and lets publishers wait.
        None when this user may not publish.

        The message goes nowhere: no queue is bound to its key. Raises BrokerUnavailable when the server is away.
        """
        ...
