"""The broker: moves hints and events, quickly and at least once. One ``Protocol``, two implementations, one contract suite.

Nothing here is ever needed for correctness: a lost hint is published again from the store, and an event waits in the
store's outbox until the broker has confirmed it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.broker.vitals import Vitals
from runner.messages import Emission, Hint


class Delivery(Protocol):
    """One hint, handed to one consumer. Settling twice, or after the channel is gone, has no effect and raises nothing."""

    hint: Hint
    queue: str
    redelivered: bool

    async def ack(self) -> None:
        """Finished with: the broker forgets it."""
        ...

    async def orphan(self, reason: str) -> None:
        """Keep it for an operator in the orphan queue, with the reason: the store does not know its execution."""
        ...


Handler = Callable[[Delivery], Awaitable[None]]
Listener = Callable[[Emission], Awaitable[None]]


class EventRefused(Exception):
    """What a listener raises for an event that no further attempt would take either: to the dead letters, at once."""


class EventReturned(Exception):
    """What a listener raises that is leaving: the event goes back at once, for another one to hear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """What a subscriber listens to: at most ``prefetch`` events are with this process's listener at once."""

    events: tuple[str, ...]
    prefetch: int
    listener: Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message nobody could read, or that the broker gave up on. ``body`` is what it held, untouched.

    ``no_use``: why no queue could use it, should it go back; empty for one that ``replay`` gives back.
    """

    queue: str
    reason: str
    body: bytes
    no_use: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """``given_back``: how many; ``kept``: those that were looked at and stay, each with the reason in ``no_use``."""

    given_back: int
    kept: tuple[DeadLetter, ...]


class Consumer(Protocol):
    """Hands deliveries to the handler until stopped, through every loss of connection, channel or queue."""

    async def pause(self) -> None:
        """Ask for no more deliveries; those handed out stay ours to settle. Idempotent."""
        ...

    async def resume(self) -> None: ...

    async def renew(self, reason: str) -> None:
        """Begin anew with a connection and a subscription of its own: what holds now is in doubt, for this reason.

        Unsettled deliveries go back to the queue. Returns at once; nothing is lost that would not be redelivered.
        """
        ...

    async def stop(self) -> None:
        """Stop for good; unsettled deliveries go back to the queue."""
        ...

    @property
    def consuming(self) -> bool:
        """True while the broker is known to hand us deliveries."""
        ...


class Broker(Vitals, Protocol):
    namespace: str

    async def open(self, queues: Sequence[str] = ()) -> None:
        """Connect and declare the topology for these queues.

        Raises BrokerUnavailable (URL with its password masked), or ConfigError when a queue exists
        with other properties.
        """
        ...

    async def close(self) -> None: ...

    async def publish(self, queue: str, hint: Hint) -> None:
        """Returns once the broker has taken responsibility for the hint.

        Raises BrokerUnavailable within a bounded time otherwise; the hint may or may not be there. A
        missing queue is declared and the publish tried once more.
        """
        ...

    async def publish_many(self, hints: Sequence[tuple[str, Hint]]) -> int:
        """Publish (queue, hint) pairs together; returns how many were confirmed, raises only when none was."""
        ...

    async def consume(self, prefetch: Mapping[str, int], handler: Handler) -> Consumer:
        """Start consuming: at most ``prefetch[queue]`` unsettled deliveries of each queue at once.

        The handler runs in a task of ours that outlives a lost channel; what it raises is logged,
        and the delivery goes back. A message that is no hint goes to the dead letters with the reason and
        never reaches the handler.
        """
        ...

    async def emit(self, emission: Emission) -> None:
        """Publish an event for whoever listens, now or ever under a name that has listened before.

        Returns once the broker has taken responsibility for a copy in every subscriber's queue; nobody need listen.
        The body is the payload alone, the message's id ``emission.id``, the rest is in headers: any program can
        bind a queue of its own and read it.

        Raises BrokerUnavailable within a bounded time otherwise; the event may or may not be out. Publish it again
        under the same id: at least once is all that is promised.
        """
        ...

    async def listen(self, subscribers: Mapping[str, Listening]) -> Consumer:
        """Start hearing events, each subscriber by its name; one consumer (one connection) for all of them.

        A subscriber is a durable queue: it gets a copy of every event it listens to from the first ``listen`` on,
        also while nobody is there, and consumers of one name, in whatever process, share it. Names of events are
        taken literally. What a former version of the subscriber listened to still comes, and is a dead letter; the
        queue of a subscriber that is gone for good fills up until an operator deletes it.

        At least once: an event is finished with when the listener returns. One that it raised for comes back after
        a pause (1 s, doubling to 30 s), and is a dead letter with the error after DELIVERY_LIMIT such returns, or at
        once for EventRefused (EventReturned gives it back without a pause). What is no event of ours is a dead letter too, and never reaches the listener.
        The listener runs in a task of ours that outlives a lost channel. Raises ConfigError for names that AMQP
        cannot carry, wildcards and a prefetch below 1; BrokerUnavailable.
        """
        ...

    async def depth(self, queue: str) -> int | None:
        """Hints waiting in the queue, not counting those handed out; None when the queue is missing."""
        ...

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Look at the dead letters without removing them."""
        ...

    async def replay(self, limit: int) -> Replayed:
        """Give dead letters back to the queues they came from, the oldest first; at most ``limit`` are looked at.

        Hints go back, and events whose subscriber's queue is there. What no queue could use stays.
        """
        ...

    async def discard(self, limit: int, chosen: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
        """Throw away, for good, those of the dead letters that are ``chosen``; at most ``limit`` are looked at.

        Returns them; each is logged. A hint that is thrown away is sent again from the store, an event is lost to its
        subscriber.
        """
        ...

    async def orphans(self) -> int:
        """How many hints wait in the orphan queue."""
        ...
