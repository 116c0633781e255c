"""A shop that is slow enough to be killed in the middle, and writes down everything it is asked to do."""

from __future__ import annotations

import asyncio
import time

from approval import Shop

from kill_and_resume.ledger import Ledger


class SlowShop(Shop):
    """Keeps its books in the ledger, as a payment provider keeps its own: not in the process that gets killed."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def reserve(self, order_id: str) -> str:
        self._ledger.write("called", "reserve")
        time.sleep(1)
        return super().reserve(order_id)

    async def charge(self, amount: int, *, key: str) -> str:
        self._ledger.write("called", "charge", key)
        if not any(line.what == "money" and line.key == key for line in self._ledger.lines()):
            self._ledger.write("money", "charge", key)
        await asyncio.sleep(3)  # the money has moved, the answer is on its way: the worst moment to die
        return await super().charge(amount, key=key)

    async def ship(self, shelf: str, *, key: str) -> str:
        self._ledger.write("called", "ship", key)
        await asyncio.sleep(1)
        self._ledger.write("parcel", "ship", key)
        return f"parcel from {shelf}"
