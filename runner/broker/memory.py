"""The broker of the embedded default: plain queues in this process, gone with it; the store publishes again.

One object is shared by everything that lives in the process: client, worker and scheduler; whoever made it
closes it. Use it from one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from runner.broker import Consumer, DeadLetter, Handler, Listening, Replayed
from runner.broker.envelope import headers_of
from runner.broker.handling import check_listening, check_prefetch, handle, hear, no_use_of
from runner.broker.topology import DELIVERY_LIMIT, PARKED_MAX, Topology, subscriber_of
from runner.broker.vitals import BrokerVitals, QueueVitals
from runner.errors import BrokerUnavailable
from runner.log import Logger
from runner.messages import Emission, Hint

log = Logger("runner.broker")


@dataclass(frozen=True, slots=True)
class Copy:
    """One message in a queue; ``returns`` counts how often it came back unsettled."""

    body: bytes
    returns: int = 0
    id: str = ""
    headers: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried(DeadLetter):
    """A dead letter, and the message as it is put back into its queue."""

    copy: Copy


class MemoryBroker:
    """Hints in FIFO queues of this process, with the same rules as RabbitMQ."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.handled = 0  # messages, so far
        self._handling: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._closed = False
        self._queues: dict[str, deque[Copy]] = {}
        self._bound: dict[str, set[str]] = {}  # the subscribers' queues by event
        self._dead: deque[Buried] = deque(maxlen=PARKED_MAX)
        self._orphans: deque[DeadLetter] = deque(maxlen=PARKED_MAX)
        self._consumers: list[MemoryConsumer] = []

    async def open(self, queues: Sequence[str] = ()) -> None:
        self._closed = False
        for queue in queues:
            self._queues.setdefault(queue, deque())

    async def close(self) -> None:
        """Stops the consumers; the hints stay, as they would in a broker of its own."""
        self._closed = True
        for consumer in tuple(self._consumers):
            await consumer.stop()

    async def publish(self, queue: str, hint: Hint) -> None:
        self.inject(queue, hint.encode())

    async def publish_many(self, hints: Sequence[tuple[str, Hint]]) -> int:
        for queue, hint in hints:
            await self.publish(queue, hint)
        return len(hints)

    def inject(self, queue: str, body: bytes) -> None:
        """Put raw bytes into a queue, as a foreign program might into a real one."""
        self._check_open()
        self._put(queue, Copy(body))

    async def emit(self, emission: Emission) -> None:
        self._check_open()
        copy = Copy(emission.payload, id=emission.id, headers=headers_of(emission))
        for queue in self._bound.get(emission.event, ()):
            self._put(queue, copy)

    async def consume(self, prefetch: Mapping[str, int], handler: Handler) -> Consumer:
        await self.open(check_prefetch(prefetch))
        return await self._begin(MemoryConsumer(self, prefetch, partial(handle, handler=handler)))

    async def listen(self, subscribers: Mapping[str, Listening]) -> Consumer:
        listening = check_listening(subscribers)
        for subscriber in subscribers:
            Topology(self.namespace).subscription(subscriber)  # refuses what RabbitMQ would refuse
        await self.open(tuple(listening))
        for queue, one in listening.items():
            for event in one.events:
                self._bound.setdefault(event, set()).add(queue)
        prefetch = {queue: one.prefetch for queue, one in listening.items()}
        return await self._begin(
            MemoryConsumer(self, prefetch, lambda message: hear(message, listening[message.queue]))
        )

    async def depth(self, queue: str) -> int | None:
        waiting = self._queues.get(queue)
        return None if waiting is None else len(waiting)

    async def settled(self, patience_s: float | None = None) -> None:
        """Wait until everything that was handed out has been handled, and what was published meanwhile too.

        Raises TimeoutError when for ``patience_s`` seconds nothing came to its end.
        """
        while self._handling:
            handled = self.handled
            self._idle.clear()
            try:
                async with asyncio.timeout(patience_s):
                    await self._idle.wait()
            except TimeoutError:
                if self.handled == handled:
                    raise

    def begun(self, task: asyncio.Task[None]) -> None:
        """A message is being handled."""
        self._handling.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._handling.discard(task)
        self.handled += 1
        if not self._handling:
            self._idle.set()

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        return [self._letter(one) for one in [*self._dead][:limit]]

    async def replay(self, limit: int) -> Replayed:
        usable, kept = self._sorted_out(limit, lambda letter: not letter.no_use)
        for one in usable:
            self._put(one.queue, replace(one.copy, returns=0))
        return Replayed(given_back=len(usable), kept=tuple(map(self._letter, kept)))

    async def discard(self, limit: int, chosen: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
        gone, _ = self._sorted_out(limit, chosen)
        for one in gone:
            log.warning("broker.dead_letter_discarded", queue=one.queue, reason=one.reason)
        return [self._letter(one) for one in gone]

    def _sorted_out(self, limit: int, chosen: Callable[[DeadLetter], bool]) -> tuple[list[Buried], list[Buried]]:
        """Take the chosen ones out of the dead letters: these, and those that stay, behind those that were not looked at."""
        looked_at = [self._dead.popleft() for _ in range(min(limit, len(self._dead)))]
        parts: dict[bool, list[Buried]] = {True: [], False: []}
        for one in looked_at:
            parts[chosen(self._letter(one))].append(one)
        self._dead.extend(parts[False])
        return parts[True], parts[False]

    def _letter(self, one: Buried) -> DeadLetter:
        subscriber = subscriber_of(one.queue)
        gone = subscriber is not None and one.queue not in self._queues
        lacks = f"nobody listens as {subscriber!r}: its queue is not there" if gone else ""
        no_use = no_use_of(one.queue, one.body, lacks=lacks)
        return DeadLetter(queue=one.queue, reason=one.reason, body=one.body, no_use=no_use)

    async def orphans(self) -> int:
        return len(self._orphans)

    async def vitals(self, queues: Sequence[str]) -> BrokerVitals:
        return BrokerVitals(
            kind="memory",
            name="memory of this process",
            queues=tuple(
                [QueueVitals(queue=one, waiting=await self.depth(one), consumers=self._heard(one)) for one in queues]
            ),
            dead_letters=len(self._dead),
            orphans=len(self._orphans),
        )

    async def takes_messages(self) -> bool | None:
        self._check_open()
        return True

    def _heard(self, queue: str) -> int:
        return sum(consumer.serves(queue) for consumer in self._consumers)

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the memory broker is closed: open it before publishing")

    def _put(self, queue: str, copy: Copy) -> None:
        self._queues.setdefault(queue, deque()).append(copy)
        self.pump(queue)

    async def _begin(self, consumer: MemoryConsumer) -> MemoryConsumer:
        self._consumers.append(consumer)
        await consumer.resume()
        return consumer

    # What consumers and their messages do to the queues:

    def pump(self, queue: str) -> None:
        """Hand out while there is a message and somebody with a free place for it, to each in turn."""
        waiting = self._queues[queue]
        while waiting and (consumer := self._next_free(queue)) is not None:
            consumer.take(queue, waiting.popleft())

    def give_back(self, queue: str, copy: Copy) -> None:
        """To the front, where it came from, unless it came back too often."""
        if copy.returns >= DELIVERY_LIMIT:
            self.bury(queue, copy, "delivery_limit")
        else:
            self._queues[queue].appendleft(replace(copy, returns=copy.returns + 1))

    def bury(self, queue: str, copy: Copy, reason: str) -> None:
        self._dead.append(Buried(queue=queue, reason=reason, body=copy.body, copy=copy))

    def keep_orphan(self, queue: str, body: bytes, reason: str) -> None:
        self._orphans.append(DeadLetter(queue=queue, reason=reason, body=body))

    def forget(self, consumer: MemoryConsumer) -> None:
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    def _next_free(self, queue: str) -> MemoryConsumer | None:
        for consumer in self._consumers:
            if consumer.has_place(queue):
                self._consumers.remove(consumer)  # to the end of the line
                self._consumers.append(consumer)
                return consumer
        return None


class MemoryConsumer:
    """Holds what it handed out until it is settled, or until it stops."""

    def __init__(
        self,
        broker: MemoryBroker,
        prefetch: Mapping[str, int],
        take: Callable[[MemoryMessage], Coroutine[Any, Any, None]],
    ) -> None:
        self._broker = broker
        self._prefetch = dict(prefetch)
        self._take = take
        self._held: dict[str, set[MemoryMessage]] = {queue: set() for queue in prefetch}
        self._paused = False
        self._stopped = False

    @property
    def consuming(self) -> bool:
        return not (self._paused or self._stopped)

    async def pause(self) -> None:
        self._paused = True

    async def resume(self) -> None:
        self._paused = False
        for queue in self._prefetch:
            self._broker.pump(queue)

    async def renew(self, reason: str) -> None:  # noqa: ARG002 - there is no connection to be in doubt
        for queue in self._prefetch:
            self._broker.pump(queue)

    async def stop(self) -> None:
        self._stopped = True
        self._broker.forget(self)
        for queue, held in self._held.items():
            returned = sorted(held, key=lambda message: message.number, reverse=True)
            held.clear()
            for message in returned:
                self._broker.give_back(queue, message.copy)
            self._broker.pump(queue)

    def serves(self, queue: str) -> bool:
        return self.consuming and queue in self._prefetch

    def has_place(self, queue: str) -> bool:
        return self.consuming and len(self._held.get(queue, ())) < self._prefetch.get(queue, 0)

    def take(self, queue: str, copy: Copy) -> None:
        message = MemoryMessage(self._broker, self, queue, copy)
        self._held[queue].add(message)
        self._broker.begun(asyncio.get_running_loop().create_task(self._take(message)))

    def release(self, message: MemoryMessage) -> bool:
        """False when the consumer does not hold it any more: stopped, or settled before."""
        held = self._held[message.queue]
        if message not in held:
            return False
        held.remove(message)
        return True


class MemoryMessage:
    """One copy, handed to one consumer."""

    _count = 0

    def __init__(self, broker: MemoryBroker, holder: MemoryConsumer, queue: str, copy: Copy) -> None:
        MemoryMessage._count += 1
        self.number = MemoryMessage._count
        self.queue = queue
        self.copy = copy
        self.body = copy.body
        self.redelivered = copy.returns > 0
        self.returns = copy.returns
        self.id = copy.id
        self.headers = copy.headers
        self._broker = broker
        self._holder = holder

    async def ack(self) -> None:
        if self._holder.release(self):
            self._broker.pump(self.queue)

    async def requeue(self) -> None:
        if self._holder.release(self):
            self._broker.give_back(self.queue, self.copy)
            self._broker.pump(self.queue)

    async def bury(self, reason: str) -> None:
        if self._holder.release(self):
            self._broker.bury(self.queue, self.copy, reason)
            self._broker.pump(self.queue)

    async def orphan(self, reason: str) -> None:
        if self._holder.release(self):
            log.error("broker.orphan", queue=self.queue, reason=reason)
            self._broker.keep_orphan(self.queue, self.body, reason)
            self._broker.pump(self.queue)
