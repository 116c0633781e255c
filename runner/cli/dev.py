"""``runner dev``: worker, scheduler and store in one process on a file, telling what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import click

from runner.app import App
from runner.broker.memory import MemoryBroker
from runner.cli.backends import DEV_STORE, file_of
from runner.cli.door import open_door
from runner.cli.observed import Change, ObservedStore
from runner.cli.options import Command, app_options, json_option, option, process_options
from runner.cli.output import moment, put, put_json_line
from runner.cli.stopping import Stopping, leave_threads_behind
from runner.cli.worker import queues_of
from runner.client import Client
from runner.errors import ConfigError
from runner.loading import load_app
from runner.log import Logger
from runner.scheduler import Scheduler
from runner.urls import masked
from runner.workers import Worker, WorkerOptions

log = Logger("runner.dev")

_GRACE_S = 5.0


@click.command(cls=Command)
@app_options
@option(
    "--store",
    metavar="URL",
    default=DEV_STORE,
    show_default=True,
    help="A file, as sqlite:///path; its folder is made.",
)
@option("--concurrency", variable="RUNNER_CONCURRENCY", type=click.IntRange(min=1), default=100, show_default=True)
@json_option
@process_options
def dev(*, app: str, app_dir: Path | None, store: str, concurrency: int, as_json: bool) -> None:
    """Run everything in one process, on a file: start it, kill it, start it again, and executions go on.

    Each change of an execution's status is a line on stdout, logs go to stderr. Other commands reach it through a
    socket beside the file: try `runner start` in another terminal. Ctrl-C lets running steps end, twice does not.
    """
    loaded = load_app(app, app_dir)
    file = file_of(store)
    if file is None:
        raise ConfigError(f"--store {masked(store)}: `runner dev` keeps everything in a file, such as {DEV_STORE}")
    asyncio.run(_run(loaded, file, concurrency, _put_json_change if as_json else _put_change))
    leave_threads_behind()


async def _run(app: App, file: Path, concurrency: int, told: Callable[[Change], None]) -> None:
    options = WorkerOptions(queues=queues_of(app), concurrency=concurrency, grace_s=_GRACE_S)
    async with Stopping(_GRACE_S) as stopping, AsyncExitStack() as stack:
        store = ObservedStore(str(file), namespace=app.name, told=told)
        stack.push_async_callback(store.close)
        await store.open()
        broker = MemoryBroker(app.name)
        stack.push_async_callback(broker.close)
        await broker.open(options.queues)
        await stack.enter_async_context(Scheduler(store, broker, hooks=app.hooks))
        worker = await stack.enter_async_context(Worker(app, store, broker, options))
        await stack.enter_async_context(open_door(file, Client(app, store, broker)))
        names = sorted({workflow.name for workflow in app.workflows()})
        log.info("dev.ready", app=app.name, workflows=names, store=str(file))
        await stopping.asked(worker.hurry)


def _put_change(change: Change) -> None:
    put(f"{moment(change.at)}  {change.workflow}  {change.id}  {change.before or 'new'} -> {change.status}")


def _put_json_change(change: Change) -> None:
    put_json_line(
        {
            "at": moment(change.at),
            "workflow": change.workflow,
            "execution_id": change.id,
            "before": change.before,
            "status": change.status,
        }
    )
