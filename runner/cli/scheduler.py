"""``runner scheduler``: leads or stands by."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import click

from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.cli.backends import server_url
from runner.cli.options import Command, max_crashes_option, option, process_options, seconds, target_options
from runner.cli.probes import Probes, health_options, probes, scheduler_check
from runner.cli.stopping import Stopping
from runner.cli.target import namespace_of
from runner.scheduler import Scheduler, SchedulerOptions
from runner.store import Store
from runner.store.demands import demands_of
from runner.store.factory import open_store

#: Leaving means to give a seat back: a round trip.
_GRACE_S = 5.0


@click.command(cls=Command)
@target_options
@option(
    "--lease",
    type=seconds,
    default=10.0,
    show_default=True,
    help="The --lease of the workers.",
)
@max_crashes_option
@health_options
@process_options
def scheduler(
    *,
    app: str | None,
    app_dir: Path | None,
    namespace: str | None,
    store: str | None,
    broker: str | None,
    durability: str | None,
    allow_eviction: str | None,
    lease: float,
    max_crashes: int,
    health_port: int | None,
    health_host: str,
) -> None:
    """Fire timers and schedules, take back what dead workers held, publish what was lost.

    Run as many as you like: one leads, the others follow within seconds when it goes.
    """
    name = namespace_of(app, app_dir, namespace)
    store_url = server_url(store, option="store", variable="RUNNER_STORE_URL")
    demands = demands_of(durability or "", allow_eviction or "", {})
    opened_store = open_store(store_url, namespace=name, demands=demands)
    opened_broker = open_broker(server_url(broker, option="broker", variable="RUNNER_BROKER_URL"), namespace=name)
    options = SchedulerOptions(lease_s=lease, max_crashes=max_crashes, watch_loop=True)
    asyncio.run(_schedule(opened_store, opened_broker, options, probes(health_port, health_host)))


async def _schedule(store: Store, broker: Broker, options: SchedulerOptions, probed: Probes) -> None:
    async with Stopping(_GRACE_S) as stopping, AsyncExitStack() as stack:
        ready_when = await stack.enter_async_context(probed)
        stack.push_async_callback(store.close)
        await store.open()
        stack.push_async_callback(broker.close)
        await broker.open()
        running = await stack.enter_async_context(Scheduler(store, broker, options))
        ready_when(scheduler_check(running, store))
        await stopping.asked(hurry=lambda: None)
