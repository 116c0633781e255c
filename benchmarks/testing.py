"""Executions a second in a test: three steps each, in a TestEnv, against the same steps called without durability.

Run: python benchmarks/testing.py
"""

from __future__ import annotations

import asyncio
import time

from runner import App, Context
from runner.testing import TestEnv

EXECUTIONS = 1_000
app = App("bench")


async def work(number: int) -> int:
    return number + 1


@app.workflow("three")
async def three(ctx: Context, number: int) -> int:
    for name in "abc":
        number = await ctx.step(name, work, number)
    return number


async def plain() -> float:
    begun = time.perf_counter()
    for number in range(EXECUTIONS):
        for _ in "abc":
            number = await work(number)  # noqa: PLW2901
    return time.perf_counter() - begun


async def durable() -> tuple[float, float]:
    """Seconds by the clock, and of this process alone: in a test run others share the machine."""
    async with TestEnv(app) as env:
        begun, busy = time.perf_counter(), time.process_time()
        for handle in await env.client.start_many(three, range(EXECUTIONS)):
            await handle.result()
        return time.perf_counter() - begun, time.process_time() - busy


async def environments(count: int = 50) -> float:
    begun = time.perf_counter()
    for _ in range(count):
        async with TestEnv(app):
            pass
    return (time.perf_counter() - begun) / count


async def main() -> None:
    (seconds, busy), bare, each = await durable(), await plain(), await environments()
    print(f"{EXECUTIONS} executions of 3 steps: {seconds:.2f} s, {EXECUTIONS / seconds:.0f} a second")
    print(f"of this process alone: {busy:.2f} s, {EXECUTIONS / busy:.0f} a second")
    print(f"ratio to the bare calls: {seconds / bare:.0f}; an environment: {each * 1000:.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
