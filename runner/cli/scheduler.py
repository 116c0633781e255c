"""``runner scheduler``: leads or stands by."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import click

from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.cli.backends import server_url
from runner.cli.options import Command, option, process_options, target_options
from runner.cli.stopping import Stopping
from runner.cli.target import namespace_of
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store import Store
from runner.store.factory import open_store

#: Leaving means to give a seat back: a round trip.
_GRACE_S = 5.0


@click.command(cls=Command)
@target_options
@option(
    "--lease",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="The --lease of the workers, in seconds.",
)
@process_options
def scheduler(
    *, app: str | None, app_dir: Path | None, namespace: str | None, store: str | None, broker: str | None, lease: float
) -> None:
    """Fire timers and schedules, take back what dead workers held, publish what was lost.

    Run as many as you like: one leads, the others follow within seconds when it goes.
    """
    name = namespace_of(app, app_dir, namespace)
    opened_store = open_store(server_url(store, option="store", variable="RUNNER_STORE_URL"), namespace=name)
    opened_broker = open_broker(server_url(broker, option="broker", variable="RUNNER_BROKER_URL"), namespace=name)
    asyncio.run(_schedule(opened_store, opened_broker, SchedulerOptions(lease_s=lease)))


async def _schedule(store: Store, broker: Broker, options: SchedulerOptions) -> None:
    async with Stopping(_GRACE_S) as stopping, AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        await store.open()
        stack.push_async_callback(broker.close)
        await broker.open()
        await stack.enter_async_context(Scheduler(store, broker, options))
        await stopping.asked(hurry=lambda: None)
