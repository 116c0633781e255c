"""A link that is there when it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from runner.broker.rabbitmq.address import Address
from runner.broker.rabbitmq.link import Link, dial, translated
from runner.errors import BrokerUnavailable

Prepare = Callable[[Link], Awaitable[None]]


class Keeper:
    """One link, dialled on demand and shared; dropped for everybody after an error of anybody."""

    def __init__(self, address: Address, role: str, prepare: Prepare | None = None) -> None:
        self.address = address
        self._role = role
        self._prepare = prepare
        self._link: Link | None = None
        self._dialling = asyncio.Lock()
        self._closed = False

    def reopen(self) -> None:
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def drop(self) -> None:
        """Whoever asks next gets another link."""
        if self._link is not None:
            self._link.drop()

    async def link(self) -> Link:
        """A live link. Raises BrokerUnavailable."""
        async with self._dialling:
            if self._closed:
                raise BrokerUnavailable(f"the broker at {self.address.masked} is closed: open it first")
            if self._link is None or not self._link.alive:
                self._link = await self._fresh()
            return self._link

    @asynccontextmanager
    async def using(self, doing: str) -> AsyncGenerator[Link]:
        """The link, which does not survive an error; raised as BrokerUnavailable."""
        with translated(self.address, doing):
            link = await self.link()
            try:
                yield link
            except Exception:
                link.drop()
                raise

    async def _fresh(self) -> Link:
        self.drop()
        link = await dial(self.address, self._role)
        try:
            if self._prepare is not None:
                with translated(self.address, "declare the queues at"):
                    await self._prepare(link)
        except BaseException:
            link.drop()
            raise
        if self._closed:
            link.drop()
            raise BrokerUnavailable(f"the broker at {self.address.masked} was closed meanwhile")
        return link
