"""Makes a plan of the topology true. Idempotent."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed

from runner.broker.rabbitmq.link import Link, bounded
from runner.broker.topology import Binding, Exchange, Plan, Queue
from runner.errors import ConfigError

#: Seconds. A quorum queue is a new consensus group, on several nodes and with their disks.
DECLARE_TIMEOUT = 15.0


async def declare(link: Link, plan: Plan) -> None:
    """Raises ConfigError when something of that name is there with other properties, or may not be declared."""
    async with link.spare() as channel:
        for exchange in plan.exchanges:
            await _ask(f"exchange {exchange.name!r}", _exchange(channel, exchange))
        for queue in plan.queues:
            await _ask(f"queue {queue.name!r}", _queue(channel, queue))
        for binding in plan.bindings:
            await _ask(f"queue {binding.queue!r}", _bind(channel, binding))


def _exchange(channel: AbstractChannel, exchange: Exchange) -> Coroutine[Any, Any, Any]:
    return channel.exchange_declare(exchange.name, exchange_type=exchange.kind, durable=True)


def _queue(channel: AbstractChannel, queue: Queue) -> Coroutine[Any, Any, Any]:
    return channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))


def _bind(channel: AbstractChannel, binding: Binding) -> Coroutine[Any, Any, Any]:
    return channel.queue_bind(binding.queue, binding.exchange, routing_key=binding.key)


async def _ask(what: str, request: Coroutine[Any, Any, Any]) -> None:
    try:
        await bounded(DECLARE_TIMEOUT, request)
    except ChannelPreconditionFailed as error:
        raise ConfigError(
            f"{what} exists with other properties than Runner declares, and RabbitMQ cannot change them: "
            f"stop what uses it, delete it, and start again (hints in it are published again). It says: {error}"
        ) from error
    except ChannelAccessRefused as error:
        raise ConfigError(f"this RabbitMQ user may not declare {what}: grant it configure, read and write") from error
