"""The app of the poison tests: executions that take their worker with them, and innocent ones beside them."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from pathlib import Path

from runner import App, Context, Retry
from runner.step import current_step
from tests.e2e import ledger

app = App(os.environ.get("RUNNER_TEST_NAMESPACE", "poisons"))
LEDGER = os.environ.get("RUNNER_TEST_LEDGER", "/dev/null")
ONCE = Retry(max_attempts=1)


HOARD = 64


def limit_memory() -> None:
    """What a step allocates comes to an end long before the machine's memory does."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * 1024**3, resource.RLIM_INFINITY))


async def die(how: str) -> None:
    step = current_step()
    ledger.write(LEDGER, kind="struck", execution=step.execution_id, step=step.id)
    await asyncio.sleep(0.3)  # a fuse that is shorter than any innocent step
    match how:
        case "exit":
            os._exit(1)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "block":
            time.sleep(600)


@app.workflow("poison")
async def poison(ctx: Context, how: str) -> None:
    await ctx.step("strike", die, how)


@app.workflow("endless")
async def endless(ctx: Context, how: str) -> None:
    ledger.write(LEDGER, kind="struck", execution=ctx.execution_id, step="code")
    while True:
        pass


async def work(number: int) -> int:
    await asyncio.sleep(0.8)
    step = current_step()
    ledger.write(LEDGER, kind="done", execution=step.execution_id, step=step.id)
    return number


@app.workflow("innocent")
async def innocent(ctx: Context, number: int) -> int:
    return sum([await ctx.step(f"work-{at}", work, number) for at in range(2)])


def dig(depth: int) -> int:
    return dig(depth + 1) + 1


def hoard() -> int:
    limit_memory()
    return len([bytearray(HOARD * 1024**2) for _ in range(HOARD)])


@app.workflow("bounded", max_attempts=1)
async def bounded(ctx: Context, what: str) -> int:
    match what:
        case "recursion in code":
            return dig(0)
        case "recursion in a step":
            return await ctx.step("dig", dig, 0).options(retry=ONCE)
        case _:
            return await ctx.step("hoard", hoard).options(retry=ONCE)
