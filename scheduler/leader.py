"""Leadership: one scheduler holds the store's seat, the others wait for it to come free."""

from __future__ import annotations

import asyncio
import secrets

from runner.clock import boot_ms
from runner.errors import InfrastructureError
from runner.log import Logger
from runner.records import Leadership
from runner.store import Store

log = Logger("runner.scheduler")


class Seat:
    """The leader's lease as one scheduler sees it.

    Leading is an optimisation, not a safety property: everything a leader does is an atomic compare-and-act, so
    two leaders for a moment (a paused process) only do some of it twice.
    """

    def __init__(self, store: Store, name: str, ttl_ms: int) -> None:
        self._store = store
        self._name = name
        self._ttl_ms = ttl_ms
        self._nonce = secrets.token_hex(16)
        #: Lowered, while ``keep`` runs, when the time to live has passed since we asked for what we hold.
        self.leading = False
        self._until = 0  # boot time
        self.leader = ""

    @property
    def renew_s(self) -> float:
        return self._ttl_ms / 3000

    async def ask(self) -> Leadership | None:
        """Take or keep the seat; None while the store does not answer (then nobody leads from here)."""
        asked = boot_ms()
        if asked >= self._until:  # this process stood still, and somebody else may sit there by now
            self._moved(leading=False)
        patience_ms = self._until - asked if self.leading else self._ttl_ms
        try:
            async with asyncio.timeout(patience_ms / 1000):
                answer = await self._store.lead(self._nonce, self._name, self._ttl_ms)
        except (InfrastructureError, TimeoutError) as error:
            log.warning("leader.store_unavailable", error=str(error) or f"no answer in {patience_ms} ms")
            self._moved(leading=False)
            return None
        self._until = asked + self._ttl_ms
        self.leader = answer.leader
        self._moved(leading=answer.leading)
        return answer

    async def until_taken(self) -> None:
        """Stand by until the seat is ours: woken when it is given back, looking when the lease runs out."""
        freed = await self._store.subscribe("leader")
        try:
            while True:
                answer = await self.ask()
                if answer is not None and answer.leading:
                    return
                expires_s = self.renew_s if answer is None else answer.expires_in_ms / 1000 + 0.01
                await freed.next(min(expires_s, self.renew_s))
        finally:
            await freed.close()

    async def keep(self) -> None:
        """Keep the seat; returns when it was lost."""
        while self.leading:
            await asyncio.sleep(self.renew_s)
            await self.ask()

    async def leave(self) -> None:
        """Give the seat back at once, so that a standby need not wait for the lease to run out."""
        if self.leading:
            self._moved(leading=False)
            await self._store.abdicate(self._nonce)

    def _moved(self, *, leading: bool) -> None:
        if leading != self.leading:
            log.info("leader.elected" if leading else "leader.stepped_down", scheduler=self._name)
        self.leading = leading
