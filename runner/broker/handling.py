"""From raw message to settled delivery: what both brokers do with everything they receive."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from runner.broker import Handler
from runner.errors import ConfigError
from runner.log import Logger
from runner.messages import Hint, MalformedHint

log = Logger("runner.broker")

#: Seconds between a handler's failure and the hint's return to its queue. A nack at once would be delivered
#: again at once: thousands of times a second, until the delivery limit throws it away.
REQUEUE_PAUSE = 1.0


class Received(Protocol):
    """A message as it came, before anybody knows whether it is a hint.

    Once its channel is gone, no method has an effect, and none raises for that reason.
    """

    @property
    def body(self) -> bytes: ...
    @property
    def queue(self) -> str: ...
    @property
    def redelivered(self) -> bool: ...

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
        await _bury(message, str(error))
        return
    delivery = HintDelivery(hint, message)
    try:
        await handler(delivery)
    except Exception:
        log.exception("broker.handler_failed", queue=message.queue, execution_id=hint.execution_id)
        await asyncio.sleep(REQUEUE_PAUSE)
        await delivery.hand_back()


async def _bury(message: Received, reason: str) -> None:
    log.warning("broker.malformed", queue=message.queue, reason=reason, size=len(message.body))
    try:
        await message.bury(reason)
    except Exception:
        log.exception("broker.bury_failed", queue=message.queue, reason=reason)
        await asyncio.sleep(REQUEUE_PAUSE)
        await message.requeue()


def check_prefetch(prefetch: Mapping[str, int]) -> Sequence[str]:
    """The queues; raises ConfigError for a prefetch below 1, which AMQP would take for "no limit"."""
    for queue, count in prefetch.items():
        if count < 1:
            raise ConfigError(f"the prefetch of queue {queue!r} must be at least 1, not {count}")
    return tuple(prefetch)
