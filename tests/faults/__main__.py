"""A long run under faults: `python -m tests.faults`, or `make chaos MINUTES=5 SEED=7`.

Exit code 1 on any finding, with the ledger of the first execution that is concerned.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import click
import structlog
from rich.console import Console
from rich.progress import Progress

from tests.faults.bounds import grown, slow
from tests.faults.checker import Finding
from tests.faults.mix import mixed
from tests.faults.plan import Strike, plan
from tests.faults.report import figures, story, tables
from tests.faults.rig import Rig, Setup, rig
from tests.faults.run import Outcome, run
from tests.servers import start_rabbitmq, start_redis

#: What a soak keeps of ended executions, in seconds: its Redis must stop growing.
SOAK_KEPT_S = 60.0
#: Faults pause so often, in seconds, and the store is checked.
ROUND_S = 30.0
#: Workers that are killed a minute, where recovery is measured.
KILLS_A_MINUTE = 4
#: The share of all replies that are lost, all the time, with ``--lost-replies``.
LOST_SHARE = 0.002


@click.command()
@click.option("--minutes", type=float, default=5.0, show_default=True, help="How long orders are produced.")
@click.option("--executions", type=int, help="How many orders, in place of minutes at the rate.")
@click.option("--rate", type=float, help="Orders a second. Default: 12, in a soak 5.")
@click.option("--seed", type=int, help="Replays a plan. Default: by chance.")
@click.option("--workers", type=int, default=3, show_default=True)
@click.option("--schedulers", type=int, default=2, show_default=True)
@click.option("--producers", type=int, default=2, show_default=True)
@click.option("--concurrency", type=int, default=50, show_default=True, help="Of each worker.")
@click.option("--lease", type=float, default=3.0, show_default=True, help="Seconds.")
@click.option(
    "--kills", type=int, help="Kill so many workers, schedulers and producers, and do only what is asked for."
)
@click.option("--redis-restarts", type=int, help="As --kills, of Redis.")
@click.option("--broker-restarts", type=int, help="As --kills, of RabbitMQ.")
@click.option("--lost-replies", is_flag=True, help="Lose a share of all replies, all the time.")
@click.option(
    "--duplicates", is_flag=True, help="Hold back, duplicate, forge and garble hints, four times a minute each."
)
@click.option(
    "--soak", is_flag=True, help="No faults: what grows is a finding. Ended executions are kept for a minute."
)
@click.option("--faults-a-minute", type=float, default=0.0, help="In a soak: kill a worker so often.")
@click.option(
    "--recovery",
    is_flag=True,
    help="Kill workers (--kills, or 4 a minute) and nothing else: a p99 of more than the lease and 2 s until others have "
    "what they held is a finding. Of use on a machine that does nothing else.",
)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON on stdout.")
def main(**options: Any) -> None:
    """Run orders under faults, and check every promise."""
    setup = setup_of(options)
    strikes = plan(setup.seed, setup.executions, wanted(options, setup))
    folder = Path(mkdtemp(prefix="runner-faults-"))
    click.echo(f"seed {setup.seed}, {setup.executions} orders, {len(strikes)} faults, logs in {folder}", err=True)
    quieten()
    outcome = asyncio.run(carried_out(setup, strikes, folder, lost_share=LOST_SHARE * options["lost_replies"]))
    outcome.findings.extend(beyond(outcome, setup, options))
    told = figures(outcome, setup)
    if options["as_json"]:
        click.echo(json.dumps(told))
    else:
        console = Console()
        for table in tables(told):
            console.print(table)
    if outcome.findings:
        click.echo(story(outcome), err=True)
        sys.exit(1)


def setup_of(options: dict[str, Any]) -> Setup:
    """Pure, but for the seed."""
    rate = options["rate"] or (5.0 if options["soak"] else 12.0)
    seed = options["seed"]
    return Setup(
        executions=options["executions"] or max(1, round(rate * 60 * options["minutes"])),
        rate=rate,
        producers=options["producers"],
        workers=options["workers"],
        schedulers=options["schedulers"],
        concurrency=options["concurrency"],
        lease_s=options["lease"],
        kept_s=SOAK_KEPT_S if options["soak"] else Setup().kept_s,
        round_s=ROUND_S,
        seed=random.SystemRandom().randrange(1_000_000) if seed is None else seed,
    )


def wanted(options: dict[str, Any], setup: Setup) -> dict[str, int]:
    """How many of each fault: what is asked for, or when nothing is, something of everything. Pure."""
    minutes = setup.executions / setup.rate / 60
    if options["soak"]:
        return {"worker.kill_at_work": round(options["faults_a_minute"] * minutes)}
    if options["recovery"]:
        return {"worker.kill_at_work": options["kills"] or max(1, round(KILLS_A_MINUTE * minutes))}
    asked = {
        **killed(options["kills"] or 0),
        "redis.kill": options["redis_restarts"],
        "rabbit.kill": options["broker_restarts"],
    }
    told = ("hints.held", "hints.duplicates", "hints.forged", "hints.garbage") if options["duplicates"] else ()
    asked |= dict.fromkeys(told, round(4 * minutes))
    if any(asked.values()) or options["lost_replies"]:
        return {fault: count for fault, count in asked.items() if count}
    return mixed(minutes)


def beyond(outcome: Outcome, setup: Setup, options: dict[str, Any]) -> list[Finding]:
    """What was more or took longer than it may, where the run is one that can tell. Pure."""
    found = list(grown(outcome.trends, outcome.lines)) if options["soak"] else []
    return found + (list(slow(outcome.recoveries, setup.lease_s)) if options["recovery"] else [])


def killed(kills: int) -> dict[str, int]:
    """Mostly workers, mostly at work; a tenth of them schedulers, a tenth producers. Pure."""
    tenth = kills // 10
    return {
        "worker.kill_at_work": kills - 4 * tenth,
        "worker.kill": 2 * tenth,
        "scheduler.kill": tenth,
        "producer.kill": tenth,
    }


def quieten() -> None:
    """The rig's own client sees every outage: that is what it is for."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


async def carried_out(setup: Setup, strikes: list[Strike], folder: Path, *, lost_share: float) -> Outcome:
    with ExitStack() as stack:
        redis = start_redis(folder)
        stack.callback(redis.kill)
        rabbit = start_rabbitmq(folder)
        stack.callback(rabbit.kill)
        bar = stack.enter_context(Progress(console=Console(stderr=True), refresh_per_second=2))
        orders = bar.add_task("orders", total=setup.executions)
        async with rig(setup, redis, rabbit, folder) as one:
            for way in one.ways.values():
                way.lose_replies(share=lost_share)
            return await run(one, strikes, on_progress=lambda started: tell(bar, one, orders, started))


def tell(bar: Progress, one: Rig, orders: Any, started: int) -> None:
    bar.update(
        orders, completed=min(started, one.setup.executions), description=f"{one.progress.counts['fault']} faults"
    )


if __name__ == "__main__":
    main()
