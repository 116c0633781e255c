"""What RabbitMQ holds for one namespace, as data: exchanges, queues and bindings. Pure; declared elsewhere.

Arguments of a queue cannot change once it exists, so everything here is fixed for good. It is accepted by
RabbitMQ 3.10 and says explicitly what 4.x would otherwise decide by a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from runner.errors import ConfigError

#: Deliveries of one hint before the broker gives up on it. Only a message that kills its consumers, or a
#: handler that always fails, comes this far; the store publishes a hint again that died beside it.
DELIVERY_LIMIT = 20

#: For queues that are only looked at. Each look is a delivery, so the default limit of RabbitMQ 4 would delete
#: a dead letter after twenty looks. (-1, "no limit", is refused before 4.0.)
UNLIMITED = 2**31 - 1

#: Messages that the dead-letter and the orphan queue hold before they drop the oldest.
PARKED_MAX = 100_000

#: The longest name AMQP can carry.
NAME_MAX_BYTES = 255

Arguments = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    name: str
    kind: Literal["direct", "fanout", "topic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    name: str
    arguments: Arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    queue: str
    exchange: str
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything durable; to be declared in this order: exchanges, queues, bindings."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """The names and declarations of one namespace."""

    namespace: str

    def __post_init__(self) -> None:
        _fitting(self.orphans)

    @property
    def work(self) -> str:
        """The exchange of all worker queues."""
        return f"runner.{self.namespace}"

    @property
    def dead(self) -> str:
        """Exchange and queue of what nobody could read, or the broker gave up on."""
        return f"{self.work}.dead"

    @property
    def orphans(self) -> str:
        """Exchange and queue of hints whose execution the store does not know."""
        return f"{self.work}.orphans"

    @property
    def events(self) -> str:
        """The exchange of what workflows emit."""
        return f"{self.work}.events"

    def queue(self, name: str) -> str:
        """The broker's name of a worker queue. Raises ConfigError for a name AMQP cannot carry."""
        return _fitting(f"{self._prefix}{name}" if name else "")

    def subscription(self, subscriber: str) -> str:
        """The broker's name of a subscriber's queue. Raises ConfigError for a name AMQP cannot carry."""
        return _fitting(f"{self._listening}{subscriber}" if subscriber else "")

    def worker_queue(self, queue: str) -> str:
        """The worker queue's name back from the broker's, ``on:<subscriber>``, or the broker's when it is none of ours."""
        if queue.startswith(self._listening):
            return heard_by(queue.removeprefix(self._listening))
        return queue.removeprefix(self._prefix)

    def plan(self, *queues: str) -> Plan:
        """The whole topology with these worker queues."""
        return Plan(
            exchanges=(
                Exchange(name=self.work, kind="direct"),
                Exchange(name=self.dead, kind="fanout"),
                Exchange(name=self.orphans, kind="fanout"),
                Exchange(name=self.events, kind="topic"),
            ),
            # What takes the dead letters comes first: with at-least-once dead lettering they would pile up
            # in the worker queue for as long as there is no place for them.
            queues=(
                Queue(name=self.dead, arguments=PARKED),
                Queue(name=self.orphans, arguments=PARKED),
                *(Queue(name=self.queue(name), arguments=self._worker_arguments()) for name in queues),
            ),
            bindings=(
                Binding(queue=self.dead, exchange=self.dead),
                Binding(queue=self.orphans, exchange=self.orphans),
                *(Binding(queue=self.queue(name), exchange=self.work, key=name) for name in queues),
            ),
        )

    def plan_listening(self, events: Mapping[str, Sequence[str]]) -> Plan:
        """The topology of subscribers: a queue for each, bound to the events it listens to."""
        base = self.plan()
        names = {subscriber: self.subscription(subscriber) for subscriber in events}
        queues = tuple(Queue(name=name, arguments=self._worker_arguments()) for name in names.values())
        bindings = tuple(
            Binding(queue=names[subscriber], exchange=self.events, key=event)
            for subscriber, heard in events.items()
            for event in heard
        )
        return replace(base, queues=(*base.queues, *queues), bindings=(*base.bindings, *bindings))

    @property
    def _listening(self) -> str:
        return f"{self.work}.on."

    @property
    def _prefix(self) -> str:
        return f"{self.work}.q."

    def _worker_arguments(self) -> Arguments:
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": self.dead,
            # At least once needs reject-publish; drop-head could drop what is on its way to the dead letters.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }


PARKED: Arguments = {
    "x-queue-type": "quorum",
    "x-delivery-limit": UNLIMITED,
    "x-max-length": PARKED_MAX,
    "x-overflow": "drop-head",
}


def heard_by(subscriber: str) -> str:
    """What a subscriber's queue is called among the worker queues: none of those can be called like it."""
    return f"on:{subscriber}"


def subscriber_of(queue: str) -> str | None:
    """The subscriber's name back from what its queue is called; None for a worker queue."""
    return queue.removeprefix("on:") if queue.startswith("on:") else None


def _fitting(name: str) -> str:
    if 0 < len(name.encode()) <= NAME_MAX_BYTES:
        return name
    raise ConfigError(f"a queue needs a name of 1 to {NAME_MAX_BYTES} bytes, prefix included; this is {name[:80]!r}")
