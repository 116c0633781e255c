"""Threads that never come back: their steps end all the same, and a worker that runs out of threads says so and leaves."""

from __future__ import annotations

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from runner import App, Client, Context, ExecutionFailed, Retry
from runner.broker.memory import MemoryBroker
from runner.scheduler import Scheduler
from runner.store.sqlite import SqliteStore
from runner.workers import Worker, WorkerOptions
from runner.workers.threads import Threads
from runner.workers.unwell import EXIT_HUNG


async def test_hung_steps_end_by_their_time_and_half_of_the_threads_gone_is_enough(namespace: str) -> None:
    app = App(namespace)
    let_go = threading.Event()

    def hang() -> None:
        let_go.wait()

    @app.workflow("flow", max_attempts=1)
    async def flow(ctx: Context) -> None:
        retry = Retry(max_attempts=2, initial=0.01)
        await ctx.step("hang", hang).options(timeout=0.2, retry=retry)

    store, broker = SqliteStore(None, namespace=namespace), MemoryBroker(namespace)
    await store.open()
    await broker.open(["default"])
    left: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
    worker = Worker(app, store, broker, WorkerOptions(watch_loop=False, grace_s=1.0, threads=4))
    worker._steps.threads._hung_s = 0.1
    try:
        with capture_logs() as logs:
            async with worker, Scheduler(store, broker), Client(app, store, broker) as client:
                worker.when_unwell(lambda code, why: left.put_nowait((code, why)))
                for hung in (1, 2):
                    # The second attempt would wait for the first one's thread: its own time ends that.
                    with pytest.raises(ExecutionFailed, match="timeout"):
                        await (await client.start(flow)).result(timeout=30)
                    async with asyncio.timeout(30):
                        while worker.hung < hung:
                            await asyncio.sleep(0.01)
                    assert left.empty() == (hung == 1)
                assert left.get_nowait() == (EXIT_HUNG, "2 of 4 threads hang in steps")
                let_go.set()
                async with asyncio.timeout(30):
                    while worker.hung:
                        await asyncio.sleep(0.01)
    finally:
        let_go.set()
        await broker.close()
        await store.close()
    said = [log for log in logs if log["event"] == "step.thread_hung"]
    assert [log["hung"] for log in said] == [1, 2]
    assert "step 'hang' of flow" in said[0]["step"]


async def test_who_waits_long_for_a_thread_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.workers.threads.WAIT_S", 0.01)
    threads = Threads(1)
    await threads.take("step 'first'")
    with capture_logs() as logs:
        second = asyncio.create_task(threads.take("step 'second'"))
        async with asyncio.timeout(30):
            while not logs:
                await asyncio.sleep(0.01)
    assert (logs[0]["event"], logs[0]["step"], logs[0]["threads"]) == ("step.waits_for_thread", "step 'second'", 1)
    await threads.run("key", "step 'first'", lambda: None)
    await second
    threads.close()
