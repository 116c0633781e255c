"""Keeps a session alive: connect, declare, consume, wait for the loss of any of it, back off, again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from runner.broker.rabbitmq.intake import Intake
from runner.broker.rabbitmq.link import in_words
from runner.broker.rabbitmq.message import RabbitMessage
from runner.broker.rabbitmq.session import Session, begin
from runner.log import Logger

log = Logger("runner.broker")

#: Seconds before the first and between later attempts to connect again, before jitter.
BACKOFF_FIRST = 0.1
BACKOFF_MAX = 5.0

#: A session that lived shorter than this many seconds counts as one more failure: a message that kills every
#: connection it is delivered to would otherwise have us reconnect ten times a second.
STEADY = 10.0


def backoff(failures: int, chance: float) -> float:
    """Seconds to wait after so many failures in a row; ``chance`` in 0..1 spreads them over the upper half."""
    return min(BACKOFF_MAX, BACKOFF_FIRST * 2.0 ** min(failures, 16)) * (0.5 + chance / 2)


class RabbitConsumer:
    """Hands messages to ``take``, each in a task of its own, until stopped, through every loss."""

    def __init__(
        self,
        intake: Intake,
        take: Callable[[RabbitMessage], Coroutine[Any, Any, None]],
        *,
        check_every: float,
        on_stop: Callable[[RabbitConsumer], None],
    ) -> None:
        self._address = intake.address
        self._intake = intake
        self._take = take
        self._check_every = check_every
        self._on_stop = on_stop
        self._paused = False
        self._stopped = False
        self._session: Session | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._handling: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises BrokerUnavailable or ConfigError when the first session does not come about."""
        self._session = await self._begin()
        self._supervisor = asyncio.get_running_loop().create_task(self._supervise(self._session))

    @property
    def consuming(self) -> bool:
        return self._session is not None and not self._stopped and self._session.consuming

    async def pause(self) -> None:
        self._paused = True
        await self._follow()

    async def resume(self) -> None:
        self._paused = False
        await self._follow()

    async def renew(self, reason: str) -> None:
        if self._session is not None:
            self._session.link.lose(reason)

    async def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._on_stop(self)
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
        if self._session is not None:
            await self._session.close()

    async def _follow(self) -> None:
        """What was asked while no session lived is done by the next one."""
        if self._session is not None and self._session.link.alive:
            await self._session.switch(on=self._wanted())

    def _wanted(self) -> bool:
        return not (self._paused or self._stopped)

    async def _supervise(self, session: Session) -> None:
        failures = 0
        while True:
            since = time.monotonic()
            reason = await session.watch(self._check_every)
            log.warning("broker.consumer_lost", url=self._address.masked, reason=reason)
            session.link.drop()
            failures = 0 if time.monotonic() - since > STEADY else failures + 1
            session, failures = await self._again(failures)
            self._session = session
            # Asked for while the session was on its way.
            await session.switch(on=self._wanted())
            log.info("broker.consumer_restored", url=self._address.masked)

    async def _again(self, failures: int) -> tuple[Session, int]:
        while True:
            await asyncio.sleep(backoff(failures, random.random()))  # noqa: S311 - no secret
            try:
                return await self._begin(), failures
            except Exception as error:  # noqa: BLE001 - nothing may end the supervision
                failures += 1
                log.warning("broker.reconnect_failed", url=self._address.masked, error=in_words(error))

    async def _begin(self) -> Session:
        return await begin(self._intake, self._wanted, self._start_handling)

    def _start_handling(self, message: RabbitMessage) -> None:
        task = asyncio.get_running_loop().create_task(self._take(message))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
