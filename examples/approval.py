"""An order is reserved, paid, approved by a person, and shipped: steps, a signal with a timeout, and a timer.

Run it alone (`python examples/approval.py`): everything in one process, in memory. Or give the same file, as it is,
to workers on Redis and RabbitMQ: `runner worker --app examples.approval:app`.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from runner import App, Context, Retry, Signal, TimedOut, idempotency_key

app = App("shop")
COOL_OFF = timedelta(seconds=2)  # an hour in a real shop


@dataclass(frozen=True)
class Order:
    id: str
    amount: int


@dataclass(frozen=True)
class Approval:
    by: str


@app.error  # crosses the store as itself: `except CardDeclined` takes the same branch live and on replay
class CardDeclined(Exception): ...


approved = Signal[Approval]("approved")


class Shop:
    """The world outside: what the steps touch. It does a thing once per key, however often it is asked."""

    def __init__(self) -> None:
        self._done: dict[str, str] = {}

    def reserve(self, order_id: str) -> str:
        return f"shelf-{order_id}"

    async def charge(self, amount: int, *, key: str) -> str:
        if amount > 10_000:
            raise CardDeclined(f"{amount} is over the limit")
        return self._done.setdefault(key, f"receipt-{amount}")

    async def refund(self, receipt: str, *, key: str) -> None:
        self._done.setdefault(key, f"refund of {receipt}")

    async def ship(self, shelf: str, *, key: str) -> str:
        await asyncio.sleep(5)  # time enough to kill the worker
        return self._done.setdefault(key, f"parcel from {shelf}")


shop = Shop()


@app.step
def reserve(order_id: str) -> str:  # a plain function runs in a thread
    return shop.reserve(order_id)


@app.step(retry=Retry(max_attempts=5, initial=0.2, non_retryable=(CardDeclined,)), timeout=30)
async def charge(order: Order) -> str:
    return await shop.charge(order.amount, key=idempotency_key())  # the same key on every attempt


@app.step(retry=Retry(max_attempts=5))
async def refund(receipt: str) -> None:
    await shop.refund(receipt, key=idempotency_key())


@app.step(retry=Retry(max_attempts=5))
async def ship(shelf: str) -> str:
    return await shop.ship(shelf, key=idempotency_key())


@app.workflow("approve-order", category="orders", signals=[approved], timeout=timedelta(days=3))
async def approve_order(ctx: Context, order: Order) -> str:
    shelf = await ctx.step("reserve", reserve, order.id)
    try:
        receipt = await ctx.step("charge", charge, order)
    except CardDeclined:
        return "declined"
    match await ctx.wait_for_signal(approved, timeout=timedelta(days=1), id="approval"):
        case TimedOut():
            await ctx.step("refund", refund, receipt)
            return "expired"
        case Approval(by=who):
            ctx.log.info("order.approved", by=who)
    await ctx.sleep(COOL_OFF, id="cool-off")
    parcel = await ctx.step("ship", ship, shelf)
    return f"{parcel}, {receipt}, approved by {who}"


async def main() -> None:
    async with app.embedded() as client:
        order = await client.start(approve_order, Order("7", 4200), idempotency_key="order-7")
        await order.signal(approved, Approval(by="ann"))
        print(await order.result(timeout=60))


if __name__ == "__main__":
    asyncio.run(main())
