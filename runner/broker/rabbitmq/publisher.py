"""Publishes with confirmation, or says that it did not. Keeps nothing in memory: the store's outbox is the buffer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from aiormq import spec
from aiormq.exceptions import DeliveryError, PublishError

from runner.broker.rabbitmq.address import Address
from runner.broker.rabbitmq.declare import declare
from runner.broker.rabbitmq.keeper import Keeper
from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, Link, bounded, translated
from runner.broker.topology import Topology
from runner.errors import BrokerUnavailable, ConfigError
from runner.log import Logger

log = Logger("runner.broker")

CONTENT_TYPE = "application/vnd.runner.hint+msgpack"

#: Seconds for everything a publish may need: connecting, declaring a missing queue, the confirmation.
PUBLISH_TIMEOUT = 5.0

PERSISTENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One message to publish. One that cannot be routed is refused, unless it need not be (``mandatory`` False).

    ``queues`` are the worker queues to declare then, with all the rest, before it is tried once more. ``id``:
    fresh each time when empty; the library finds a returned message's publish by it, so only what is never
    returned may bring its own.
    """

    exchange: str
    key: str
    body: bytes
    queues: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = CONTENT_TYPE
    mandatory: bool = True
    id: str = ""


class Publisher:
    """Publishes on one channel of a connection of its own: an alarm at the broker blocks whoever publishes."""

    def __init__(self, address: Address, topology: Topology) -> None:
        self._address = address
        self._topology = topology
        self._keeper = Keeper(address, "publisher", self._prepare)

    async def open(self, *queues: str) -> None:
        """Connect and declare. Raises BrokerUnavailable or ConfigError."""
        self._keeper.reopen()
        async with self._keeper.using("declare the queues at") as link:
            await declare(link, self._topology.plan(*queues))

    async def close(self) -> None:
        await self._keeper.close()

    async def publish(self, post: Post) -> None:
        """Returns when the broker has taken responsibility. Raises BrokerUnavailable within the timeout."""
        with translated(self._address, "publish to"):
            try:
                async with asyncio.timeout(PUBLISH_TIMEOUT):
                    await self._publish(post)
            except TimeoutError:
                # Nobody knows what the channel will still say, and about which message.
                self._keeper.drop()
                raise
            except ConfigError as error:
                # Who publishes runs deep inside; what is declared wrongly is told by open().
                raise BrokerUnavailable(str(error)) from error

    async def _publish(self, post: Post) -> None:
        refusal = await self._attempt(post)
        if isinstance(refusal, PublishError):
            log.warning("broker.queue_missing", exchange=post.exchange, key=post.key)
            async with self._keeper.using("declare a queue at") as link:
                await declare(link, self._topology.plan(*post.queues))
            refusal = await self._attempt(post)
        if refusal is not None:
            raise BrokerUnavailable(f"RabbitMQ at {self._address.masked} did not take a message: {refusal}")

    async def _attempt(self, post: Post) -> DeliveryError | None:
        """None, or the broker's refusal of this one message: an answer, so the channel stays good."""
        async with self._keeper.using("publish to") as link:
            try:
                await bounded(ANSWER_TIMEOUT, self._send(link, post))
            except DeliveryError as refusal:
                return refusal
            return None

    async def _send(self, link: Link, post: Post) -> None:
        await link.channel.basic_publish(
            post.body,
            exchange=post.exchange,
            routing_key=post.key,
            mandatory=post.mandatory,
            properties=spec.Basic.Properties(
                content_type=post.content_type,
                delivery_mode=PERSISTENT,
                message_id=post.id or uuid4().hex,
                headers=dict(post.headers) or None,
            ),
        )

    async def _prepare(self, link: Link) -> None:
        """A broker that lost everything gets its exchanges back with the first connection to it."""
        await declare(link, self._topology.plan())
