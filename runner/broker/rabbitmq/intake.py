"""What a consumer consumes, and how many at once: the same for every session of its life."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.broker.rabbitmq.address import Address
from runner.broker.rabbitmq.message import RabbitMessage
from runner.broker.rabbitmq.publisher import Publisher
from runner.broker.topology import Plan, Topology

#: Called with each message whose turn has come; it must not wait.
Start = Callable[[RabbitMessage], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """``prefetch`` and ``names`` (the broker's) are by queue; ``plan`` is what must be declared first."""

    address: Address
    topology: Topology
    publisher: Publisher
    prefetch: Mapping[str, int]
    names: Mapping[str, str]
    plan: Plan


class Places:
    """Keeps the prefetch where RabbitMQ does not.

    RabbitMQ counts for each subscription by itself. One that replaces another, after a pause, would let its
    whole prefetch in beside what is still unsettled from before; that surplus waits here.
    """

    def __init__(self, prefetch: Mapping[str, int], start: Start) -> None:
        self._prefetch = prefetch
        self._start = start
        self._in_hand: dict[str, set[RabbitMessage]] = {queue: set() for queue in prefetch}
        self._waiting: dict[str, deque[RabbitMessage]] = {queue: deque() for queue in prefetch}

    def idle(self, queue: str) -> bool:
        return not self._in_hand[queue]

    def full(self, queue: str) -> bool:
        return len(self._in_hand[queue]) >= self._prefetch[queue]

    def admit(self, message: RabbitMessage) -> None:
        if self.full(message.queue):
            self._waiting[message.queue].append(message)
        else:
            self._in_hand[message.queue].add(message)
            self._start(message)

    def release(self, message: RabbitMessage) -> None:
        """It is settled, or nobody can settle it any more."""
        self._in_hand[message.queue].discard(message)
        waiting = self._waiting[message.queue]
        if waiting and not self.full(message.queue) and waiting[0].live:
            self.admit(waiting.popleft())
