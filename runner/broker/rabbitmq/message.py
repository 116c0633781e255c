"""One message as it was delivered, and the ways to settle it with the broker."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from aiormq.abc import DeliveredMessage

from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, Link, bounded, in_words
from runner.broker.rabbitmq.publisher import Post, Publisher
from runner.broker.topology import Topology
from runner.log import Logger

log = Logger("runner.broker")

REASON = "x-runner-reason"
QUEUE = "x-runner-queue"
MESSAGE_ID = "x-runner-message-id"

#: Where a quorum queue says how often a message came back.
_RETURNS = "x-delivery-count"


class RabbitMessage:
    """Can be settled for as long as its link lives; afterwards the broker has it back, and nothing has an effect."""

    def __init__(
        self,
        link: Link,
        queue: str,
        message: DeliveredMessage,
        *,
        publisher: Publisher,
        topology: Topology,
        on_settled: Callable[[RabbitMessage], None],
    ) -> None:
        self.queue = queue
        self.body = message.body
        self.redelivered = bool(message.redelivered)
        self.id = message.header.properties.message_id or ""
        self.headers: Mapping[str, object] = message.header.properties.headers or {}
        returns = self.headers.get(_RETURNS)
        self.returns = returns if isinstance(returns, int) else 0
        self._tag = message.delivery_tag or 0
        self._link = link
        self._publisher = publisher
        self._topology = topology
        self._on_settled = on_settled

    @property
    def live(self) -> bool:
        return self._link.alive

    async def ack(self) -> None:
        await self._settle(self._acknowledged())

    async def requeue(self) -> None:
        await self._settle(self._returned())

    async def bury(self, reason: str) -> None:
        await self._move(reason, exchange=self._topology.dead, key="")

    async def orphan(self, reason: str) -> None:
        # Not by the default exchange: who may write to that may write to every queue of the virtual host.
        await self._move(reason, exchange=self._topology.orphans, key="")
        log.error("broker.orphan", queue=self.queue, reason=reason)

    async def _move(self, reason: str, *, exchange: str, key: str) -> None:
        """Confirmed at the new place before it leaves the old: it may be in both, never in none."""
        if self.live:
            headers = {**self._ours(), REASON: reason, QUEUE: self.queue}
            post = Post(exchange=exchange, key=key, body=self.body, headers=headers)
            await self._publisher.publish(post)
            await self.ack()

    def _ours(self) -> dict[str, str]:
        """What the message said about itself, so that an event can still be read where it is kept."""
        told = {
            key: value for key, value in self.headers.items() if key.startswith("x-runner-") and isinstance(value, str)
        }
        return {MESSAGE_ID: self.id, **told} if told else {}

    async def _settle(self, request: Coroutine[Any, Any, None]) -> None:
        try:
            await bounded(ANSWER_TIMEOUT, request)
        except TimeoutError as error:
            self._link.lose(in_words(error))
        except Exception as error:  # noqa: BLE001 - the library raises what it likes
            log.debug("broker.settle_too_late", queue=self.queue, error=in_words(error))
        finally:
            self._on_settled(self)

    async def _acknowledged(self) -> None:
        await self._link.channel.basic_ack(self._tag)

    async def _returned(self) -> None:
        await self._link.channel.basic_nack(self._tag, requeue=True)
