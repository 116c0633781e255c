"""The app of the poison tests: executions that take their worker with them, and innocent ones beside them."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path

from runner import App, Context, Retry
from runner.step import current_step
from tests.e2e import ledger

app = App(os.environ.get("RUNNER_TEST_NAMESPACE", "poisons"))
LEDGER = os.environ.get("RUNNER_TEST_LEDGER", "/dev/null")
ONCE = Retry(max_attempts=1)


HOARD = 64
MUCH = 900 * 1024


def limit_memory() -> None:
    """What a step allocates comes to an end long before the machine's memory does."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * 1024**3, resource.RLIM_INFINITY))


def strikes() -> int:
    return sum(line["kind"] == "struck" for line in ledger.read(LEDGER))


async def strike() -> None:
    """Ends its process: by itself the first time, as the kernel does it when memory runs out the second."""
    struck = strikes()
    ledger.write(LEDGER, kind="struck")
    await asyncio.sleep(0.3)  # a fuse that is shorter than any innocent step
    if struck:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)


@app.workflow("poison")
async def poison(ctx: Context) -> None:
    while strikes() >= 2:
        pass  # the third time the code itself never comes back
    await ctx.step("strike", strike)


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


def much() -> bytes:
    return bytes(MUCH)


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
        case "a flood":
            at = 0
            while True:
                at += 1
                await ctx.step(f"much-{at}", much)
        case _:
            return await ctx.step("hoard", hoard).options(retry=ONCE)
