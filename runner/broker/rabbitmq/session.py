"""The subscriptions of one link, from its dialling to its loss. Never repaired: the next session replaces it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

from aiormq import spec
from aiormq.abc import DeliveredMessage

from runner.apart import keep
from runner.broker.rabbitmq.declare import declare
from runner.broker.rabbitmq.intake import Intake, Places, Start
from runner.broker.rabbitmq.link import ANSWER_TIMEOUT, Link, bounded, dial, in_words, translated
from runner.broker.rabbitmq.message import RabbitMessage
from runner.errors import BrokerUnavailable


class Session:
    """Consumes when told to, and knows when it has become useless: ``link.lost``."""

    def __init__(self, link: Link, intake: Intake, start: Start) -> None:
        self.link = link
        self._intake = intake
        self._places = Places(intake.prefetch, start)
        self._on = False
        self._tags: dict[str, str] = {}
        self._changing = asyncio.Lock()
        link.channel.on_consumer_cancel_callbacks.add(self._on_server_cancel)

    @property
    def consuming(self) -> bool:
        return self.link.alive and self._on

    async def switch(self, *, on: bool) -> None:
        """Subscribe, or cancel with the channel kept open. A failure is not raised: it ends the session."""
        await self._change(self._subscribe if on else self._unsubscribe)

    async def check(self) -> None:
        """Make sure that the broker knows us as its consumer; if it does not, the session is over."""
        await self._change(self._renew)

    async def watch(self, every: float) -> str:
        """Check from time to time, not at the same moment as other workers; returns why the session was lost."""
        while self.link.alive:
            spread = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            await asyncio.wait({self.link.lost}, timeout=every * spread)
            if self.link.alive:
                await self.check()
        return self.link.lost.result()

    async def close(self) -> None:
        """No more deliveries, then goodbye: what was not settled goes back."""
        if self.link.alive:
            await self.switch(on=False)
        await self.link.close()

    async def _change(self, change: Callable[[], Awaitable[None]]) -> None:
        async with self._changing:
            try:
                await change()
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the session
                self.link.lose(in_words(error))
            except BaseException:
                self.link.lose("cancelled in the middle of a request")
                raise

    async def _subscribe(self) -> None:
        for queue in self._intake.prefetch:
            # A full one would hoard what others could take; it follows when something of it is settled.
            if queue not in self._tags and not self._places.full(queue):
                self._tags[queue] = await self._consume(queue)
        self._on = True

    async def _unsubscribe(self) -> None:
        self._on = False
        for queue in tuple(self._tags):
            await self._cancel(queue)

    async def _renew(self) -> None:
        """A subscription with nothing in hand may be deaf, so it is made anew; one at work is asked after.

        Asking is not enough. When a queue is deleted and declared again at once, RabbitMQ 3.10 counts us as
        the consumer of the new queue, marks as many messages as our prefetch as delivered to us, and delivers
        none. (Those come back when the channel closes; the store publishes them again before that.)
        """
        for queue in tuple(self._tags):
            if self._places.idle(queue):
                await self._cancel(queue)
                self._tags[queue] = await self._consume(queue)
            else:
                await self._ask_after(queue)

    async def _consume(self, queue: str) -> str:
        """Returns the consumer's tag."""
        channel, name = self.link.channel, self._intake.names[queue]
        # Applies to the consumers that start after it, each by itself.
        await bounded(ANSWER_TIMEOUT, channel.basic_qos(prefetch_count=self._intake.prefetch[queue]))
        try:
            started = await bounded(ANSWER_TIMEOUT, channel.basic_consume(name, partial(self._hand_over, queue)))
        except TimeoutError:
            # All that is seen of a quorum queue without a leader: declaring it still works.
            raise TimeoutError(f"queue {name!r} does not answer: if it lost its leader for good, delete it") from None
        return str(started.consumer_tag)

    async def _cancel(self, queue: str) -> None:
        await bounded(ANSWER_TIMEOUT, self.link.channel.basic_cancel(self._tags.pop(queue)))

    async def _ask_after(self, queue: str) -> None:
        name = self._intake.names[queue]
        async with self.link.spare() as channel:
            found = await bounded(ANSWER_TIMEOUT, channel.queue_declare(name, passive=True))
        if not found.consumer_count:
            self.link.lose(f"nobody consumes queue {name!r} any more")

    async def _hand_over(self, queue: str, message: DeliveredMessage) -> None:
        """The library's callback. It cancels its callbacks when the channel closes, so nothing is done in here."""
        self._places.admit(
            RabbitMessage(
                self.link,
                queue,
                message,
                publisher=self._intake.publisher,
                topology=self._intake.topology,
                on_settled=self._on_settled,
            )
        )

    def _on_settled(self, message: RabbitMessage) -> None:
        self._places.release(message)
        if self.consuming and message.queue not in self._tags:
            keep(asyncio.get_running_loop().create_task(self._change(self._catch_up)))

    async def _catch_up(self) -> None:
        if self._on:
            await self._subscribe()

    def _on_server_cancel(self, frame: spec.Basic.Cancel) -> None:
        self.link.lose(f"the server cancelled consumer {frame.consumer_tag}: was its queue deleted?")


async def begin(intake: Intake, wanted: Callable[[], bool], start: Start) -> Session:
    """A session that consumes, if it is to. Raises BrokerUnavailable or ConfigError."""
    with translated(intake.address, "consume from"):
        link = await dial(intake.address, "consumer")
        try:
            await declare(link, intake.plan)
            session = Session(link, intake, start)
            await session.switch(on=wanted())
            if not link.alive:
                raise BrokerUnavailable(
                    f"cannot consume from RabbitMQ at {intake.address.masked}: {link.lost.result()}"
                )
        except BaseException:
            link.drop()
            raise
        return session
