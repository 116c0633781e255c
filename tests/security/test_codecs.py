"""A payload codec that fails harms the executions whose payloads it fails for, visibly, and only until it works again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from runner import App, Client, Context, ExecutionFailed, PayloadError
from runner.broker.factory import open_broker
from runner.loopwatch import EXIT_STALLED
from runner.payload_codec import Sealing
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions
from tests.e2e.processes import ROOT


class Fickle:
    """Turns payloads around; while ``broken``, it has trouble with those that hold a certain word."""

    def __init__(self, failing: Any) -> None:
        self.broken = False
        self._failing = failing

    def encode(self, payload: bytes) -> bytes:
        return self._failing(payload) if self.broken and b"harmed" in payload else payload[::-1]

    def decode(self, payload: bytes) -> bytes:
        return payload[::-1]


def raises(payload: bytes) -> bytes:
    raise OSError("the key server is away")


FAILING = {
    "raises": (raises, "OSError: the key server is away"),
    "returns nothing": (lambda payload: None, "TypeError: it returned NoneType, not bytes"),
    "returns text": (lambda payload: "text", "TypeError: it returned str, not bytes"),
}


@pytest.mark.parametrize(("failing", "said"), FAILING.values(), ids=FAILING)
async def test_only_its_own_execution_waits_and_says_why(namespace: str, failing: Any, said: str) -> None:
    codec = Fickle(failing)
    app = App(namespace, payload_codec=codec)
    calls: list[str] = []

    def answer(who: str) -> str:
        calls.append(who)
        return "harmed" if who == "h" else "well"

    @app.workflow("asked")
    async def asked(ctx: Context, who: str) -> str:
        return await ctx.step("answer", answer, who)

    codec.broken = True
    async with asyncio.timeout(60), app.embedded() as client:
        harmed, well = await client.start(asked, "h"), await client.start(asked, "w")
        assert await well.result(timeout=30) == "well"
        passed = await until_passed(client, harmed.id)
        assert f"the payload codec could not encode: {said}" in passed
        assert not (await harmed.status()).terminal
        codec.broken = False
        assert await harmed.result(timeout=30) == "harmed"
        assert calls.count("w") == 1


async def until_passed(client: Client, id: str) -> str:
    while not (execution := await client.execution(id)).passed:
        await asyncio.sleep(0.02)
    return execution.passed


def test_what_a_codec_opens_is_bytes() -> None:
    class Nothing(Fickle):
        def decode(self, payload: bytes) -> Any:
            return None

    sealed = Sealing(Fickle(raises)).seal(b"\x01")
    with pytest.raises(PayloadError, match=r"could not decode it .*it returned NoneType, not bytes"):
        Sealing(Nothing(raises)).open(sealed)
    assert Sealing(Nothing(raises)).open_or_leave(sealed) == sealed


#: A worker whose codec hangs over one payload.
HANGING = """
import asyncio, sys, time
from runner import App
from runner.broker.factory import open_broker
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions

class Codec:
    def encode(self, payload):
        return payload[::-1]

    def decode(self, payload):
        while payload.startswith(b"demrah"):
            time.sleep(60)
        return payload[::-1]

app = App(sys.argv[1], payload_codec=Codec())

@app.workflow("flow")
async def flow(ctx, who: str) -> str:
    return who

async def main():
    store, broker = open_store(sys.argv[2], namespace=app.name), open_broker(sys.argv[3], namespace=app.name)
    await store.open()
    await broker.open(["default"])
    async with Worker(app, store, broker, WorkerOptions(lease_s=1.0, stall_s=2.5)):
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_codec_that_hangs_costs_its_execution_a_crash_and_in_the_end_nobody_else(
    redis_url: str, rabbit_url: str, namespace: str
) -> None:
    """It hangs on the loop, before the turn has begun: the process says where and ends, and that is counted."""
    app = App(namespace, payload_codec=Fickle(raises))

    @app.workflow("flow")
    async def flow(ctx: Context, who: str) -> str:
        return who

    store, broker = open_store(redis_url, namespace=namespace), open_broker(rabbit_url, namespace=namespace)
    await store.open()
    await broker.open(["default"])
    options = SchedulerOptions(lease_s=1.0, max_crashes=1)
    try:
        async with asyncio.timeout(70), Client(app, store, broker) as client, Scheduler(store, broker, options):
            harmed = await client.start(flow, "harmed")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", HANGING, namespace, redis_url, rabbit_url),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            said = (await process.communicate())[0].decode()
            assert process.returncode == EXIT_STALLED, said
            assert "in decode" in said
            with pytest.raises(ExecutionFailed, match="lost its worker 1 times in a row"):
                await harmed.result()
            async with Worker(app, store, broker, WorkerOptions(watch_loop=False, grace_s=2)):
                assert await (await client.start(flow, "well")).result() == "well"
    finally:
        await broker.close()
        await store.close()
