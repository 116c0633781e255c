"""Small workflows, each for one thing."""

from __future__ import annotations

import asyncio

from runner import App, Context, Retry, Signal
from tests.e2e import ledger
from tests.faults import program

app = App("small")
told = Signal[str]("told")


@app.workflow("hears", signals=[told])
async def hears(ctx: Context, _: None) -> str:
    return await ctx.wait_for_signal(told)


@app.workflow("finishes")
async def finishes(ctx: Context, _: None) -> str:
    return "done"


@app.workflow("fails", max_attempts=5, retry=Retry(initial=0.05))
async def fails(ctx: Context, _: None) -> None:
    raise RuntimeError("again and again")


@app.workflow("takes_long")
async def takes_long(ctx: Context, seconds: float) -> None:
    await ctx.step("long", long, seconds)


async def long(seconds: float) -> None:
    ledger.write(program.LEDGER, kind="begun")
    await asyncio.sleep(seconds)
