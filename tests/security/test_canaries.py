"""Secrets with a name of their own each, put everywhere that secrets are, and looked for everywhere that something is said."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from runner import App, Client, Context, log
from runner.broker.factory import open_broker
from runner.cli import main
from runner.errors import ExecutionFailed
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions
from tests.servers import HOST, ROOT, free_ports

STORE, STORE_QUERY = "canary-in-the-store-url", "canary-in-the-stores-query"
BROKER, BROKER_QUERY = "canary-in-the-broker-url", "canary-in-the-brokers-query"
OTHER = "canary-in-a-variable"
URLS = (STORE, STORE_QUERY, BROKER, BROKER_QUERY, OTHER)

APP = """
from runner import App, Context

app = App("shop")


@app.workflow("quick")
async def quick(ctx: Context, text: str) -> str:
    return text
"""

#: What is typed while no server answers. Each says that, and what it is called by.
COMMANDS = (
    ("worker", "--log-level", "debug", "--log-format", "console"),
    ("scheduler", "--log-level", "debug", "--log-format", "json"),
    ("start", "quick", '"tea"'),
    ("executions", "show", "x"),
)


def environment(folder: Path) -> dict[str, str]:
    ports = free_ports(2)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
    return {
        **clean,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "RUNNER_APP": "canaries:app",
        "RUNNER_STORE_URL": f"rediss://app:{STORE}@{HOST}:{ports[0]}/0?ssl_password={STORE_QUERY}",
        "RUNNER_BROKER_URL": f"amqps://app:{BROKER}@{HOST}:{ports[1]}/shop?token={BROKER_QUERY}",
        "RUNNER_API_TOKEN": OTHER,
    }


@pytest.mark.timeout(300)
def test_no_command_tells_what_is_in_its_urls(tmp_path: Path) -> None:
    (tmp_path / "canaries.py").write_text(APP)
    env = environment(tmp_path)
    with ExitStack() as stack:
        started = {
            words: stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "runner", *words],
                    cwd=tmp_path,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            for words in COMMANDS
        }
        for process in started.values():
            stack.callback(process.kill)
        for words, process in started.items():
            told, _ = process.communicate(timeout=250)
            assert process.returncode == 3, (words, told)
            assert "unreachable" in told
            assert f"rediss://app:***@{HOST}" in told or f"amqps://app:***@{HOST}" in told
            assert not [canary for canary in URLS if canary in told], (words, told)


@pytest.fixture
def debugging(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """The logging of a process, down to debug."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("aio_pika", "aiormq", "redis", "asyncio")}
    log.configure("debug", json=True)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, kept in levels.items():
        logging.getLogger(name).setLevel(kept)
    structlog.reset_defaults()


@pytest.mark.parametrize(("given", "warned"), [(f"redis://:{STORE}@h/0", True), ("redis://h/0", False)])
def test_a_password_among_the_arguments_is_warned_of(
    given: str, warned: bool, debugging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["workers", "list", "--namespace", "a b", "--store", given])
    told = capsys.readouterr().err
    assert ("others on this machine can read arguments: use RUNNER_STORE_URL" in told) is warned
    assert STORE not in told


# -- what is worked on -----------------------------------------------------------------------------------------------


async def test_no_log_line_holds_what_is_worked_on(
    redis_url: str, rabbit_url: str, namespace: str, debugging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither an input, a result and a signal, nor the local variables of what failed."""
    app = App(namespace)

    def pay(card: str) -> str:
        password = card[::-1]
        if len(password) > 20:
            raise ValueError("declined")
        return password

    @app.workflow("paid", max_attempts=1)
    async def paid(ctx: Context, card: str) -> str:
        local = card + card
        await ctx.step("pay", pay, card[:10])
        await ctx.step("fail", pay, local)
        return card

    store, broker = open_store(redis_url, namespace=namespace), open_broker(rabbit_url, namespace=namespace)
    async with asyncio.timeout(100):
        await store.open()
        await broker.open(["default"])
        async with (
            Scheduler(store, broker, SchedulerOptions(leader_ttl_s=1.0)),
            Worker(app, store, broker, WorkerOptions(watch_loop=False, grace_s=5)),
            Client(app, store, broker) as client,
        ):
            handle = await client.start(paid, "4000-0012-canary")
            with pytest.raises(ExecutionFailed, match="declined"):
                await handle.result(timeout=60)
            history = await client.history(handle.id)
        await broker.close()
        await store.close()
    told = capsys.readouterr().err
    assert "worker.ready" in told
    for canary in ("4000-0012", "canary", "yranac", "2100-0004"):
        assert canary not in told
        assert canary.encode() not in (history.execution.error or b"")
