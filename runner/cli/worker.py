"""``runner worker``: one worker in this process, or a supervised pool of processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import click

from runner.app import App
from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.cli.backends import server_url
from runner.cli.exits import Exit
from runner.cli.options import (
    Command,
    app_options,
    arguments_of,
    backend_options,
    max_crashes_option,
    names,
    option,
    process_options,
    seconds,
    seconds_or_zero,
)
from runner.cli.probes import Probes, health_options, probes, worker_check
from runner.cli.stopping import Stopping, leave_threads_behind
from runner.errors import ConfigError
from runner.loading import load_app
from runner.log import Logger
from runner.store import Store
from runner.store.demands import demands_of
from runner.store.factory import open_store
from runner.workers import Worker, WorkerOptions
from runner.workers.pool import Lifeline, Pool

log = Logger("runner.process")


@click.command(cls=Command)
@app_options
@backend_options
@option(
    "--queues",
    variable="RUNNER_QUEUES",
    type=names,
    help="Queues to work on, with commas between them. Default: those of the app's workflows.",
)
@option(
    "--concurrency",
    variable="RUNNER_CONCURRENCY",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many executions each process works on at once.",
)
@option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="More than one: a pool.")
@option(
    "--threads",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Threads of each process for steps that are plain functions.",
)
@option(
    "--lease",
    type=seconds,
    default=10.0,
    show_default=True,
    help="After so long the executions of a dead worker go to another, such as 10s.",
)
@option(
    "--grace",
    type=seconds_or_zero,
    default=30.0,
    show_default=True,
    help="Time for leaving in good order when asked to stop.",
)
@max_crashes_option
@option(
    "--stall",
    type=seconds,
    default=10.0,
    show_default=True,
    help="How long code may block the event loop; then the process prints all stacks and ends.",
)
@option(
    "--build",
    variable="RUNNER_BUILD",
    default="",
    help="What names this build of your code, such as a commit: shown by `runner workers list`.",
)
@option(
    "--max-executions",
    type=click.IntRange(min=1),
    help="Leave in good order after so many turns of executions (a pool starts another in its place).",
)
@click.option("--in-pool", is_flag=True, hidden=True, help="Standard input is the life line of a pool.")
@health_options
@process_options
@click.pass_context
def worker(
    ctx: click.Context,
    *,
    app: str,
    app_dir: Path | None,
    store: str | None,
    broker: str | None,
    durability: str | None,
    allow_eviction: str | None,
    queues: tuple[str, ...] | None,
    concurrency: int,
    processes: int,
    threads: int,
    lease: float,
    grace: float,
    max_crashes: int,
    stall: float,
    build: str,
    max_executions: int | None,
    in_pool: bool,
    health_port: int | None,
    health_host: str,
) -> None:
    """Run the workflows of an app and their steps.

    SIGTERM or Ctrl-C lets running steps end within the grace, and hands back what has not ended; the second time
    it does so at once; the third time it just leaves.
    """
    store_url = server_url(store, option="store", variable="RUNNER_STORE_URL")
    broker_url = server_url(broker, option="broker", variable="RUNNER_BROKER_URL")
    if processes > 1:
        ctx.exit(asyncio.run(_supervise(_pool(ctx, store_url, broker_url, processes, grace, health_port))))
    loaded = load_app(app, app_dir)
    options = WorkerOptions(
        queues=queues or queues_of(loaded),
        concurrency=concurrency,
        lease_s=lease,
        grace_s=grace,
        threads=threads,
        max_crashes=max_crashes,
        stall_s=stall,
        build=build,
    )
    demands = demands_of(durability or "", allow_eviction or "", {})
    opened = open_store(store_url, namespace=loaded.name, demands=demands)
    backends = opened, open_broker(broker_url, namespace=loaded.name)
    probed = probes(health_port, health_host)
    code = asyncio.run(_work(loaded, *backends, options, max_executions, probed, in_pool=in_pool))
    leave_threads_behind(code)
    ctx.exit(code)


def queues_of(app: App) -> tuple[str, ...]:
    """The queues that the app's workflows are started on. Raises ConfigError for an app without workflows."""
    queues = tuple(sorted({workflow.queue for workflow in app.workflows()}))
    if not queues:
        raise ConfigError(f"app {app.name!r} has no workflow: import the modules that register them where it is made")
    return queues


# -- one worker ----------------------------------------------------------------------------------------


async def _work(
    app: App,
    store: Store,
    broker: Broker,
    options: WorkerOptions,
    max_turns: int | None,
    probed: Probes,
    *,
    in_pool: bool,
) -> int:
    """The exit code: 0, or what the worker found wrong with itself."""
    codes: list[int] = [Exit.OK]

    def leave(code: int, why: str) -> None:
        codes.append(code)
        stopping.ask(why)

    async with Stopping(options.grace_s) as stopping, AsyncExitStack() as stack:
        ready_when = await stack.enter_async_context(probed)
        if in_pool:
            _end_with_pool(stopping)
        # The store first: it is the truth, and without it no hint means anything.
        stack.push_async_callback(store.close)
        await store.open()
        stack.push_async_callback(broker.close)
        await broker.open(options.queues)
        running = await stack.enter_async_context(Worker(app, store, broker, options))
        ready_when(worker_check(running, store, broker))
        if max_turns is not None:
            running.after_turns(max_turns, partial(stopping.ask, f"{max_turns} turns are done"))
        running.when_unwell(leave)
        await stopping.asked(running.hurry)
    return max(codes)


def _end_with_pool(stopping: Stopping) -> None:
    loop = asyncio.get_running_loop()

    def leave() -> None:
        loop.call_soon_threadsafe(stopping.ask, "the pool is gone")

    Lifeline(leave).start()


# -- a pool of them ------------------------------------------------------------------------------------


def _pool(ctx: click.Context, store: str, broker: str, processes: int, grace_s: float, health_port: int | None) -> Pool:
    arguments = arguments_of(ctx, without={"store", "broker", "processes", "in_pool", "health_port"})
    command = [*myself(), "worker", *arguments, "--processes", "1", "--in-pool"]

    # Through the environment: everybody on the machine can read arguments, and URLs hold passwords.
    env = {**os.environ, "RUNNER_STORE_URL": store, "RUNNER_BROKER_URL": broker}
    return Pool(command, env=env, processes=processes, grace_s=grace_s, own=partial(_health_of, health_port))


def _health_of(port: int | None, place: int) -> list[str]:
    """Each process is probed on a port of its own, the first on the one that was given."""
    return [] if port is None else ["--health-port", str(port + place if port else 0)]


def myself() -> Sequence[str]:
    """The command that started this process, up to its arguments: a child finds Runner where its parent did."""
    safe = ["-P"] if sys.flags.safe_path else []
    main = sys.modules["__main__"]
    started_as_module = getattr(main, "__spec__", None) is not None
    return [sys.executable, *safe, *(["-m", "runner"] if started_as_module else [sys.argv[0]])]


async def _supervise(pool: Pool) -> Exit:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, pool.stop)
    return Exit(await pool.run())
