"""Dead letters, given back to the queue that they came from."""

from __future__ import annotations

from collections.abc import Mapping

from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity

from runner.broker.envelope import CONTENT_TYPE
from runner.broker.rabbitmq.address import Address
from runner.broker.rabbitmq.inspector import Inspector, origin_of
from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, bounded, dial, translated
from runner.broker.rabbitmq.message import MESSAGE_ID, QUEUE, REASON
from runner.broker.rabbitmq.publisher import Post, Publisher
from runner.broker.topology import Topology, subscriber_of
from runner.messages import Hint, MalformedHint

#: What a message carries only for as long as it is dead.
_OF_THE_DEAD = frozenset({REASON, QUEUE, MESSAGE_ID})


async def replay(address: Address, topology: Topology, publisher: Publisher, inspector: Inspector, limit: int) -> int:
    """As ``Broker.replay``. Confirmed at its place before it leaves the dead letters: it may be in both, never in none."""
    given_back = 0
    with translated(address, "replay the dead letters of"):
        link = await dial(address, "replay")
        try:
            for _ in range(limit):
                message = await _next(link.channel, topology)
                if message is None:
                    break
                post = _post(message, topology)
                if post is None or not await _has_place(post, inspector):
                    continue  # it goes back when the link closes
                await publisher.publish(post)
                await bounded(ANSWER_TIMEOUT, _acknowledged(link.channel, message))
                given_back += 1
        finally:
            await link.close()
    return given_back


async def _next(channel: AbstractChannel, topology: Topology) -> DeliveredMessage | None:
    try:
        message = await bounded(ANSWER_TIMEOUT, channel.basic_get(topology.dead))
    except ChannelNotFoundEntity:
        return None
    return None if message.delivery_tag is None else message


async def _acknowledged(channel: AbstractChannel, message: DeliveredMessage) -> None:
    await channel.basic_ack(message.delivery_tag or 0)


async def _has_place(post: Post, inspector: Inspector) -> bool:
    """A worker queue is declared when it is missing; that of a subscriber only its subscriber can."""
    return bool(post.exchange) or await inspector.depth(post.key) is not None


def _post(message: DeliveredMessage, topology: Topology) -> Post | None:
    """None for what no queue could use."""
    properties = message.header.properties
    headers: Mapping[str, object] = properties.headers or {}
    queue = origin_of(headers, topology)
    subscriber = subscriber_of(queue)
    if subscriber is not None:
        return Post(
            exchange="",
            key=topology.subscription(subscriber),
            body=message.body,
            headers=_told(headers),
            content_type=CONTENT_TYPE,
            id=str(headers.get(MESSAGE_ID) or properties.message_id or ""),
        )
    try:
        Hint.decode(message.body)
    except MalformedHint:
        return None
    return Post(exchange=topology.work, key=queue, body=message.body, queues=(queue,)) if queue else None


def _told(headers: Mapping[str, object]) -> dict[str, str]:
    """What an event says of itself."""
    return {
        name: value
        for name, value in headers.items()
        if name.startswith("x-runner-") and name not in _OF_THE_DEAD and isinstance(value, str)
    }
