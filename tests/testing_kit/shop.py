"""A shop whose order is right, and others that have one bug each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runner import App, Context, Retry, Signal, TimedOut, idempotency_key
from runner.testing import Ending, Ledger, TestEnv

app = App("shop")
bank = Ledger()
approved = Signal[str]("approved")


@dataclass(frozen=True)
class Order:
    id: str
    amount: int


TEA = Order("7", 10)


@app.step(retry=Retry(max_attempts=3))
async def reserve(order: Order) -> str:
    bank.add("stock", 1, key=idempotency_key())
    return f"shelf of {order.id}"


async def release(_shelf: str) -> None:
    bank.add("stock", -1, key=idempotency_key())


async def charge(order: Order) -> int:
    bank.add("money", order.amount, key=idempotency_key())
    return order.amount


async def charge_without_a_key(order: Order) -> int:
    bank.add("money", order.amount)
    return order.amount


async def refund(amount: int) -> None:
    bank.add("money", -amount, key=idempotency_key())


async def ship(order: Order, day: str = "") -> str:
    return f"parcel {order.id}{day}"


@app.workflow
async def right(ctx: Context, order: Order) -> str:
    async with ctx.saga():
        await ctx.step("reserve", reserve, order).options(compensate=release)
        await ctx.step("charge", charge, order).options(compensate=refund)
        if isinstance(await ctx.wait_for_signal(approved, timeout=timedelta(days=1)), TimedOut):
            await ctx.rollback()
            return "expired"
        await ctx.sleep(timedelta(hours=1), id="cool-off")
        return await ctx.step("ship", ship, order, str(ctx.now().date()))


@app.workflow
async def not_idempotent(ctx: Context, order: Order) -> str:
    async with ctx.saga():
        await ctx.step("charge", charge_without_a_key, order).options(compensate=refund)
        return await ctx.step("ship", ship, order)


@app.workflow
async def not_compensated(ctx: Context, order: Order) -> str:
    async with ctx.saga():
        await ctx.step("reserve", reserve, order).options(compensate=release)
        await ctx.step("charge", charge, order)
        return await ctx.step("ship", ship, order)


@app.workflow
async def reads_the_clock(ctx: Context, order: Order) -> str:
    async with ctx.saga():
        await ctx.step("charge", charge, order).options(compensate=refund)
        return await ctx.step("ship", ship, order, str(datetime.now(UTC).date()))


def prepare(env: TestEnv) -> None:
    bank.clear()


def check(ending: Ending) -> None:
    """Money is gone for a parcel, and for nothing else."""
    shipped = str(ending.result).startswith("parcel")
    assert bank.balance("money") == (TEA.amount if shipped else 0)
