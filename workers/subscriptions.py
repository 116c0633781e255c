"""The subscriptions of one worker: emitted events reach the app's functions, a bounded number at once."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from runner.broker import Broker, Consumer, EventRefused, EventReturned, Listening
from runner.calling import in_thread, is_async, on_loop
from runner.errors import PayloadError
from runner.log import Logger
from runner.messages import Emission
from runner.payload_codec import Sealing
from runner.subscription import Subscription

log = Logger("runner.worker")

#: Functions that run at once in one worker, and events that one of them may have here, waiting ones included.
AT_ONCE = 20
PREFETCH = 10


class Subscriptions:
    """Hears from ``start`` to ``drain``, and to ``stop`` at the latest. Without a subscription it opens nothing and costs nothing."""

    def __init__(self, subscriptions: Collection[Subscription], broker: Broker, sealing: Sealing) -> None:
        self._subscriptions = tuple(subscriptions)
        self._sealing = sealing
        self._broker = broker
        self._places = asyncio.Semaphore(AT_ONCE)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="runner-event")  # starts none before it is asked
        self._running: set[asyncio.Future[Any]] = set()
        self._consumer: Consumer | None = None
        self._leaving = False

    async def start(self) -> None:
        """Raises BrokerUnavailable or ConfigError."""
        if self._subscriptions:
            self._consumer = await self._broker.listen({one.name: self._listening(one) for one in self._subscriptions})

    @property
    def busy(self) -> int:
        """How many functions are running."""
        return len(self._running)

    async def drain(self, grace_s: float, hurry: asyncio.Event) -> None:
        """Begin nothing more; returns when nothing runs, after ``grace_s`` seconds, or when there is a ``hurry``."""
        self._leaving = True
        if self._consumer is None:
            return
        try:
            async with asyncio.timeout(grace_s):
                await self._consumer.pause()
                await self._idle(hurry)
        except TimeoutError:
            pass

    async def stop(self) -> None:
        """Cut off what runs; it goes back, and is heard again somewhere else. Threads are not waited for."""
        self._leaving = True
        for one in tuple(self._running):
            one.cancel()
        if self._consumer is not None:
            await self._consumer.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _idle(self, hurry: asyncio.Event) -> None:
        hurried = asyncio.ensure_future(hurry.wait())
        try:
            while self._running and not hurried.done():
                await asyncio.wait({*self._running, hurried}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()

    def _listening(self, subscription: Subscription) -> Listening:
        return Listening(
            events=(subscription.event.name,), prefetch=PREFETCH, listener=partial(self._hear, subscription)
        )

    async def _hear(self, subscription: Subscription, emission: Emission) -> None:
        # One that cannot be opened here comes back: another worker may have the key.
        opened = self._sealing.open(emission.payload)
        try:
            payload = subscription.payload(opened)
        except PayloadError as error:
            raise EventRefused(str(error)) from error
        async with self._places:
            if self._leaving:
                raise EventReturned
            await self._run(subscription, payload)

    async def _run(self, subscription: Subscription, payload: Any) -> None:
        running = self._begin(subscription, payload)
        self._running.add(running)
        try:
            await running
        except asyncio.CancelledError:
            if self._leaving:
                raise EventReturned from None
            raise RuntimeError(f"{subscription.name} cancelled itself (asyncio.CancelledError)") from None
        finally:
            self._running.discard(running)

    def _begin(self, subscription: Subscription, payload: Any) -> asyncio.Future[Any]:
        if is_async(subscription.fn):
            return asyncio.create_task(on_loop(subscription.fn, payload), name=f"event for {subscription.name}")
        return asyncio.get_running_loop().run_in_executor(self._threads, in_thread, subscription.fn, payload)
