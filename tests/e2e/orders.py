"""The app that the processes of these tests run: five steps, a sleep and a signal, every call in the ledger."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from runner import App, Context, Signal
from runner.step import current_step
from tests.e2e import ledger

app = App(os.environ.get("RUNNER_TEST_NAMESPACE", "orders"))
LEDGER = os.environ.get("RUNNER_TEST_LEDGER", "/dev/null")
approved = Signal[str]("approved")


@dataclass(frozen=True)
class Order:
    number: int


async def work(name: str, number: int) -> int:
    step = current_step()
    ledger.write(LEDGER, kind="called", execution=step.execution_id, step=step.id, worker=str(os.getpid()))
    await asyncio.sleep(0.02)
    return number + len(name)


@app.workflow("order", signals=[approved])
async def order(ctx: Context, given: Order) -> list[object]:
    a = await ctx.step("reserve", work, "reserve", given.number)
    b = await ctx.step("charge", work, "charge", a)
    await ctx.sleep(0.5)
    who = await ctx.wait_for_signal(approved)
    c = await ctx.step("pack", work, "pack", b)
    d = await ctx.step("ship", work, "ship", c)
    return [who, await ctx.step("invoice", work, "invoice", d)]


@app.workflow("timer")
async def timer(ctx: Context, seconds: float) -> float:
    begun = ctx.now()
    await ctx.sleep(seconds)
    return (ctx.now() - begun).total_seconds()


def expected(number: int, who: str) -> list[object]:
    return [who, number + sum(map(len, ("reserve", "charge", "pack", "ship", "invoice")))]
