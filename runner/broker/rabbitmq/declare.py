"""Makes a plan of the topology true, or finds it true. Idempotent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed

from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, Link, bounded
from runner.broker.topology import Binding, Exchange, Plan, Queue
from runner.errors import ConfigError
from runner.log import Logger

log = Logger("runner.broker")

#: Seconds. A quorum queue is a new consensus group, on several nodes and with their disks.
DECLARE_TIMEOUT = 15.0


async def declare(link: Link, plan: Plan) -> None:
    """Declares what may be declared; what may not is to be there already, declared by somebody who may.

    Raises ConfigError when something of a name is there with other properties, or is neither there nor ours to declare.
    """
    await _Declaring(link, plan).run()


class _Declaring:
    """One pass through a plan.

    A user who was refused once looks before it asks: each refusal costs a channel, and a line in the broker's log.
    """

    def __init__(self, link: Link, plan: Plan) -> None:
        self._link = link
        self._plan = plan
        self._refused = False
        self._channel: AbstractChannel | None = None
        # Nobody would be told of the events that a missing binding keeps back; hints are published again.
        self._vital = {one.name for one in plan.exchanges if one.kind == "topic"}

    async def run(self) -> None:
        async with self._closing():
            for exchange in self._plan.exchanges:
                await self._make(f"exchange {exchange.name!r}", exchange)
            for queue in self._plan.queues:
                await self._make(f"queue {queue.name!r}", queue)
            for binding in self._plan.bindings:
                await self._bind(binding)

    async def _make(self, what: str, wanted: Exchange | Queue) -> None:
        if self._refused and await self._is_there(wanted):
            return
        try:
            await self._ask(what, declared(await self._open(), wanted))
        except ChannelAccessRefused as error:
            if self._refused or not await self._is_there(wanted):
                raise ConfigError(
                    f"{what} is not there, and this RabbitMQ user may not declare it: start a scheduler (or whoever may) "
                    "first, or grant this user configure, write and read on it"
                ) from error
            self._refused = True
            log.debug("broker.declared_by_others", what=what)

    async def _bind(self, binding: Binding) -> None:
        what = f"queue {binding.queue!r}"
        try:
            await self._ask(what, _bound(await self._open(), binding))
        except ChannelAccessRefused as error:
            if not self._refused or binding.exchange in self._vital:
                raise ConfigError(
                    f"this RabbitMQ user may not bind {what} to {binding.exchange!r}: grant it write on the queue and "
                    "read on the exchange"
                ) from error
            # Whoever declared the queue has bound it.

    async def _is_there(self, wanted: Exchange | Queue) -> bool:
        try:
            await bounded(ANSWER_TIMEOUT, looked_for(await self._open(), wanted.name, queue=isinstance(wanted, Queue)))
        except ChannelNotFoundEntity:
            return False
        return True

    async def _ask(self, what: str, request: Coroutine[Any, Any, None]) -> None:
        try:
            await bounded(DECLARE_TIMEOUT, request)
        except ChannelPreconditionFailed as error:
            raise ConfigError(
                f"{what} exists with other properties than Runner declares, and RabbitMQ cannot change them: "
                f"stop what uses it, delete it, and start again (hints in it are published again). It says: {error}"
            ) from error

    async def _open(self) -> AbstractChannel:
        """The channel, or the next one: every answer that is no closes it."""
        if self._channel is None or self._channel.is_closed:
            self._channel = await self._link.spare_channel()
        return self._channel

    @asynccontextmanager
    async def _closing(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            if self._channel is not None:
                await self._link.close_spare(self._channel)


async def declared(channel: AbstractChannel, wanted: Exchange | Queue) -> None:
    match wanted:
        case Exchange(name=name, kind=kind):
            await channel.exchange_declare(name, exchange_type=kind, durable=True)
        case Queue(name=name, arguments=arguments):
            await channel.queue_declare(name, durable=True, arguments=dict(arguments))


async def looked_for(channel: AbstractChannel, name: str, *, queue: bool) -> None:
    """Needs no right. Raises ChannelNotFoundEntity."""
    await (channel.queue_declare(name, passive=True) if queue else channel.exchange_declare(name, passive=True))


async def _bound(channel: AbstractChannel, binding: Binding) -> None:
    await channel.queue_bind(binding.queue, binding.exchange, routing_key=binding.key)
