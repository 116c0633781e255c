"""From raw message to settled delivery: what both brokers do with everything they receive."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from runner.broker import EventRefused, EventReturned, Handler, Listening
from runner.broker.envelope import MalformedEvent, check_events, emission_of
from runner.broker.topology import DELIVERY_LIMIT, heard_by, subscriber_of
from runner.errors import ConfigError
from runner.failures import said
from runner.log import Logger
from runner.messages import Hint, MalformedHint

log = Logger("runner.broker")

#: Seconds between a handler's failure and the hint's return to its queue. A nack at once would be delivered
#: again at once: thousands of times a second, until the delivery limit throws it away.
REQUEUE_PAUSE = 1.0

#: Seconds between a listener's later failures at most: what it needs may be away for minutes.
LISTENER_PAUSE_MAX = 30.0


class Received(Protocol):
    """A message as it came, before anybody knows whether it is a hint or an event.

    ``returns`` counts how often it came back unsettled.

    Once its channel is gone, no method has an effect, and none raises for that reason.
    """

    @property
    def body(self) -> bytes: ...
    @property
    def queue(self) -> str: ...
    @property
    def redelivered(self) -> bool: ...
    @property
    def id(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, object]: ...
    @property
    def returns(self) -> int: ...

    async def ack(self) -> None: ...
    async def requeue(self) -> None: ...
    async def bury(self, reason: str) -> None:
        """To the dead letters. Raises BrokerUnavailable and leaves it unsettled when they do not take it."""
        ...

    async def orphan(self, reason: str) -> None:
        """To the orphans. Raises BrokerUnavailable and leaves it unsettled when they do not take it."""
        ...


class HintDelivery:
    """A hint and the message it came in; remembers that it was settled."""

    __slots__ = ("_message", "hint", "queue", "redelivered", "settled")

    def __init__(self, hint: Hint, message: Received) -> None:
        self.hint = hint
        self.queue = message.queue
        self.redelivered = message.redelivered
        self.settled = False
        self._message = message

    async def ack(self) -> None:
        if not self.settled:
            self.settled = True
            await self._message.ack()

    async def orphan(self, reason: str) -> None:
        """Raises BrokerUnavailable, and can be tried again, when the orphan queue did not take it."""
        if self.settled:
            return
        self.settled = True
        try:
            await self._message.orphan(reason)
        except BaseException:
            self.settled = False
            raise

    async def hand_back(self) -> None:
        if not self.settled:
            self.settled = True
            await self._message.requeue()


async def handle(message: Received, handler: Handler) -> None:
    """Give a hint to the handler, anything else to the dead letters. Raises nothing but cancellation."""
    try:
        hint = Hint.decode(message.body)
    except MalformedHint as error:
        log.warning("broker.malformed", queue=message.queue, reason=str(error), size=len(message.body))
        await _bury(message, str(error))
        return
    delivery = HintDelivery(hint, message)
    try:
        await handler(delivery)
    except Exception:
        log.exception("broker.handler_failed", queue=message.queue, execution_id=hint.execution_id)
        await asyncio.sleep(REQUEUE_PAUSE)
        await delivery.hand_back()


async def hear(message: Received, listening: Listening) -> None:
    """Give an event to its listener, anything else to the dead letters. Raises nothing but cancellation."""
    try:
        emission = emission_of(message.id, message.headers, message.body, wanted=listening.events)
    except MalformedEvent as error:
        log.warning("event.malformed", queue=message.queue, reason=str(error), size=len(message.body))
        await _bury(message, str(error))
        return
    known = {"queue": message.queue, "name": emission.event, "message_id": emission.id}
    try:
        await listening.listener(emission)
        await message.ack()
    except EventReturned:
        await message.requeue()
    except EventRefused as refusal:
        log.error("event.refused", reason=said(refusal), **known)
        await _bury(message, said(refusal))
    except Exception as error:
        log.exception("event.listener_failed", times=message.returns + 1, **known)
        await _hear_again(message, error)


async def _hear_again(message: Received, error: Exception) -> None:
    if message.returns >= DELIVERY_LIMIT:
        await _bury(
            message, f"its listener failed {message.returns + 1} times, lastly: {type(error).__name__}: {said(error)}"
        )
        return
    await asyncio.sleep(min(REQUEUE_PAUSE * 2.0**message.returns, LISTENER_PAUSE_MAX))
    await message.requeue()


async def _bury(message: Received, reason: str) -> None:
    try:
        await message.bury(reason)
    except Exception:
        log.exception("broker.bury_failed", queue=message.queue, reason=reason)
        await asyncio.sleep(REQUEUE_PAUSE)
        await message.requeue()


def no_use_of(queue: str, body: bytes, *, lacks: str) -> str:
    """Why no queue could use a dead letter that came from ``queue``; empty if it can go back. ``lacks``: what its queue does."""
    if not queue:
        return "it does not say which queue it came from"
    if subscriber_of(queue) is None:
        try:
            Hint.decode(body)
        except MalformedHint as error:
            return str(error)
    return lacks


def check_listening(subscribers: Mapping[str, Listening]) -> dict[str, Listening]:
    """By the names of their queues; raises ConfigError for a prefetch below 1, or a name that is no event's."""
    for listening in subscribers.values():
        check_events(listening.events)
    check_prefetch({heard_by(name): listening.prefetch for name, listening in subscribers.items()})
    return {heard_by(name): listening for name, listening in subscribers.items()}


def check_prefetch(prefetch: Mapping[str, int]) -> Sequence[str]:
    """The queues; raises ConfigError for a prefetch below 1, which AMQP would take for "no limit"."""
    for queue, count in prefetch.items():
        if count < 1:
            raise ConfigError(f"the prefetch of queue {queue!r} must be at least 1, not {count}")
    return tuple(prefetch)
