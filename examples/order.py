"""A shop's order, all or nothing: reserve, charge, ship; what was done is undone when a later part cannot be.

Run it alone (`python examples/order.py`), or give it to workers: `runner worker --app examples.order:app`.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from runner import App, Context, Event, Retry, idempotency_key

app = App("orders")
RETURN_PERIOD = timedelta(seconds=1)  # two weeks in a real shop


@dataclass(frozen=True)
class Order:
    id: str
    item: str
    amount: int


@dataclass(frozen=True)
class Receipt:
    number: str
    amount: int


@dataclass(frozen=True)
class Shipped:
    order: str
    parcel: str


@app.error
class CardDeclined(Exception): ...


@app.error
class NoCourier(Exception): ...


shipped = Event[Shipped]("order.shipped")
patient = Retry(max_attempts=5, initial=0.1, non_retryable=(CardDeclined, NoCourier))


class Bank:
    """Stands for a payment provider: it drops the line now and then, and moves money once per key."""

    def __init__(self) -> None:
        self._moved: dict[str, Receipt] = {}
        self._called: set[str] = set()

    async def move(self, amount: int, *, key: str) -> Receipt:
        if amount > 10_000:
            raise CardDeclined(f"{amount} is over the limit")
        self._moved.setdefault(key, Receipt(f"r{len(self._moved) + 1}", amount))
        if key not in self._called:
            self._called.add(key)
            raise ConnectionError("the line dropped, after the money had moved")
        return self._moved[key]


bank = Bank()


@app.step(retry=patient)
def reserve(item: str) -> str:  # a plain function runs in a thread
    print(f"  reserve  {item}")
    return f"shelf of {item}"


@app.step(retry=patient)
def release(shelf: str) -> None:
    print(f"  release  {shelf}")


@app.step(retry=patient, timeout=10)
async def charge(amount: int) -> Receipt:
    print(f"  charge   {amount}, key {idempotency_key()}")
    return await bank.move(amount, key=idempotency_key())  # the same key on every attempt: it moves once


@app.step(retry=patient, timeout=10)
async def refund(receipt: Receipt) -> None:  # a compensation is given what its step returned
    print(f"  refund   {receipt.number}, key {idempotency_key()}")
    await bank.move(-receipt.amount, key=idempotency_key())


@app.step(retry=patient, timeout=60)
async def ship(order: Order, shelf: str) -> str:
    print(f"  ship     {order.item} from the {shelf}")
    if order.item == "piano":
        raise NoCourier("nobody carries a piano")
    return f"parcel-{order.id}"


@app.workflow("order", category="orders", defaults=Order("demo", "tea", 12), timeout=timedelta(days=30))
async def place_order(ctx: Context, order: Order) -> str:
    """Reserve, charge and ship. A declined card or an impossible parcel ends it with everything undone.

    So does a cancel while it is under way: the saga undoes what was done, the latest first, each once.
    """
    try:
        async with ctx.saga():
            shelf = await ctx.step("reserve", reserve, order.item).options(compensate=release)
            receipt = await ctx.step("charge", charge, order.amount).options(compensate=refund)
            parcel = await ctx.step("ship", ship, order, shelf)
    except (CardDeclined, NoCourier) as error:
        return f"not delivered: {error}"
    await ctx.emit(shipped, Shipped(order.id, parcel))  # leaves with the commit that records it
    await ctx.sleep(RETURN_PERIOD, id="return-period")
    return f"{parcel}, paid with {receipt.number}"


@app.on(shipped)
async def write_to_the_customer(event: Shipped) -> None:
    """Any process of this app may hear it, at least once."""
    print(f"  mail     order {event.order} is on its way: {event.parcel}")


async def main() -> None:
    async with app.embedded() as client:
        for order in (Order("7", "tea", 12), Order("8", "piano", 9_000), Order("9", "boat", 90_000)):
            print(f"order {order.id}: {order.item} for {order.amount}")
            handle = await client.start(place_order, order, id=f"order-{order.id}")
            print(f"  -> {await handle.result(timeout=60)}")


if __name__ == "__main__":
    asyncio.run(main())
