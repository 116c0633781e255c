"""``--health-port`` of the processes that stay, and what each of them calls ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import click

from runner.broker import Broker
from runner.cli.options import option
from runner.errors import RunnerError
from runner.health import HOST, Check, Facts, Health
from runner.scheduler import Scheduler
from runner.store import Store
from runner.workers import Worker

C = TypeVar("C", bound=Callable[..., Any])
#: A server that does not answer for so long is away: whoever probes is seldom more patient.
ANSWER_S = 2.0
#: Entered, it gives what is to be told how to find out that the process is ready.
Probes = AbstractAsyncContextManager[Callable[[Check], None]]


def health_options(command: C) -> C:
    for add in (_host, _port):
        command = add(command)
    return command


def _port(command: C) -> C:
    return option(
        "--health-port",
        variable="RUNNER_HEALTH_PORT",
        type=click.IntRange(0, 65535),
        help="Answer GET /livez and /readyz here; 0 for any free port. Default: not at all.",
    )(command)


def _host(command: C) -> C:
    return option(
        "--health-host",
        variable="RUNNER_HEALTH_HOST",
        default=HOST,
        show_default=True,
        help="Where probes come in; 0.0.0.0 lets them come from other machines.",
    )(command)


@asynccontextmanager
async def probes(port: int | None, host: str) -> AsyncGenerator[Callable[[Check], None]]:
    """Answers probes for as long as it is entered; it says that the process is starting until it is given a check."""
    if port is None:
        yield lambda _: None
        return
    async with Health(port, host) as health:
        yield lambda check: setattr(health, "check", check)


def worker_check(worker: Worker, store: Store, broker: Broker) -> Check:
    """Ready: store and broker answer, deliveries come in (or all slots are taken), and it is not leaving."""

    async def check() -> Facts:
        queue = worker.options.queues[0]
        no_store, no_broker = await asyncio.gather(_away(store.now), _away(lambda: broker.depth(queue)))
        return {
            "ready": not (no_store or no_broker or worker.draining) and worker.consuming,
            "worker": worker.options.id,
            "store": no_store or "ok",
            "broker": no_broker or "ok",
            "consuming": worker.consuming,
            "draining": worker.draining,
            "turns": worker.busy,
            "hung_threads": worker.hung,
        }

    return check


def scheduler_check(scheduler: Scheduler, store: Store) -> Check:
    """Ready: the store answers. Who stands by is ready too: it leads as soon as it has to."""

    async def check() -> Facts:
        no_store = await _away(store.now)
        return {
            "ready": not no_store,
            "scheduler": scheduler.options.name,
            "store": no_store or "ok",
            "leader": scheduler.leading,
            "leads": scheduler.leader,
            "unwakeable_executions": scheduler.unwakeable,
        }

    return check


async def _away(ask: Callable[[], Awaitable[object]]) -> str:
    """Why there was no answer; empty when there was one."""
    try:
        async with asyncio.timeout(ANSWER_S):
            await ask()
    except TimeoutError:
        return f"no answer in {ANSWER_S:g} s"
    except RunnerError as error:
        return str(error)
    return ""
