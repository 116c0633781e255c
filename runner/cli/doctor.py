"""``runner doctor``: is everything set up so that what is promised can be kept?"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from runner.app import App
from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.cli.asking import confirm, yes_option
from runner.cli.backends import file_of, server_url
from runner.cli.exits import Exit
from runner.cli.options import Command, SecretOption, json_option, option
from runner.cli.output import put, put_json, say
from runner.cli.sources import settings_of
from runner.cli.target import Target, connected, for_target
from runner.cli.visitor import DoorStore
from runner.client import Client
from runner.doctor import SECTIONS, Check, Facts, Verdict, diagnose, gather, section_of
from runner.errors import ConfigError
from runner.store import Store
from runner.store.durability import PROMISES, judge
from runner.store.factory import open_store
from runner.store.vitals import DURABILITIES, LOOKING, Demands, Durability, declared_of


@click.command(cls=Command)
@for_target
@option(
    "--management",
    cls=SecretOption,
    variable="RUNNER_BROKER_MANAGEMENT_URL",
    metavar="URL",
    help="RabbitMQ's management API, http://user:password@host:15672: it alone tells of alarms.",
)
@click.option(
    "--set-durability",
    type=click.Choice([*DURABILITIES, "none"]),
    help="Change what the namespace is declared to promise, and nothing else.",
)
@click.option("--forget-losses", is_flag=True, help="Count losses anew, once you have seen to them; nothing else.")
@yes_option
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    *,
    target: Target,
    set_durability: str | None,
    forget_losses: bool,
    management: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Look at store, broker, fleet and settings, and say what is wrong and what to do about it.

    Changes nothing, unless it is told to. Exit 0 when nothing fails, 1 when something does, 3 when store or broker
    cannot be reached (the rest is still looked at).
    """
    if set_durability is not None:
        asyncio.run(_declare(target, declared_of(set_durability), yes=yes))
    elif forget_losses:
        asyncio.run(_forget(target, yes=yes))
    else:
        facts = asyncio.run(_look(target, management or "", ctx))
        checks = diagnose(facts)
        (_put_json if as_json else _put)(facts, checks)
        ctx.exit(exit_for(facts, checks))


def exit_for(facts: Facts, checks: list[Check]) -> Exit:
    if facts.unreachable:
        return Exit.UNREACHABLE
    return Exit.FAILED if any(check.verdict is Verdict.FAIL for check in checks) else Exit.OK


# -- looking -------------------------------------------------------------------------------------------


async def _look(target: Target, management: str, ctx: click.Context) -> Facts:
    async with AsyncExitStack() as stack:
        store, namespace = await _store(target, stack)
        broker = _broker(target)
        if broker is not None:
            stack.push_async_callback(broker.close)
        queues = _queues(target)
        told, heard = await gather(store, broker, queues, management)
    return Facts(
        namespace=namespace,
        store=told,
        broker=heard,
        queues=queues,
        demands=target.demands,
        settings=settings_of(ctx),
    )


async def _store(target: Target, stack: AsyncExitStack) -> tuple[Store, str]:
    """Of a file: through the process that holds it, or our own for a moment."""
    file = file_of(target.store)
    door = None if file is None else await DoorStore.find(_existing(file))
    if door is not None:
        stack.push_async_callback(door.close)
        behind: Any = door  # as much of a store as is asked here
        return behind, door.namespace
    store = open_store(target.store, namespace=target.namespace, demands=LOOKING)
    stack.push_async_callback(store.close)
    return store, target.namespace


def _existing(file: Path) -> Path:
    if not file.exists():
        raise ConfigError(f"there is no store {str(file)!r} yet: `runner dev` makes it")
    return file


def _broker(target: Target) -> Broker | None:
    """None for a file: its broker is memory of the process that holds it."""
    if file_of(target.store) is not None:
        return None
    url = server_url(target.broker, option="broker", variable="RUNNER_BROKER_URL")
    return open_broker(url, namespace=target.namespace)


def _queues(target: Target) -> tuple[str, ...]:
    app = target.app
    return tuple(sorted({workflow.queue for workflow in app.workflows()})) if isinstance(app, App) else ()


# -- changing ------------------------------------------------------------------------------------------


def _changing(target: Target) -> AbstractAsyncContextManager[Client]:
    """Whatever is wrong with the store, or declared: who sees to that must not be refused for it."""
    return connected(replace(target, demands=Demands(refusing=False)), publishing=False, changing=True)


async def _declare(target: Target, durability: Durability | None, *, yes: bool) -> None:
    """Raises ConfigError for a durability that the server is not set to keep."""
    async with _changing(target) as client:
        vitals = await client.store.vitals()
        found = judge(vitals, Demands(durability=durability)) if durability else []
        for check in found:
            if check.code == "store.durability" and check.verdict is not Verdict.OK:
                raise ConfigError(f"{vitals.name}: {check.told}")
        now = f"is declared with durability {vitals.declared!r}" if vitals.declared else "declares no durability"
        asked = f"Declare {durability!r}{' instead' if vitals.declared else ''}?" if durability else "Declare none?"
        confirm(f"Namespace {client.store.namespace!r} {now}. {asked}", yes=yes)
        await client.store.declare(durability)
        say(_declared(client.store.namespace, durability))


def _declared(namespace: str, durability: Durability | None) -> str:
    if durability is None:
        return (
            f"Namespace {namespace!r} declares no durability any more: processes start whatever the store is set to keep. "
            "Take RUNNER_DURABILITY out of their settings, or the first that starts with it declares that again."
        )
    return (
        f"Namespace {namespace!r} declares durability {durability!r}: {PROMISES[durability]}. Processes that run are not "
        f"stopped; give all RUNNER_DURABILITY={durability}, or none: one that asks for another is refused when it starts."
    )


async def _forget(target: Target, *, yes: bool) -> None:
    async with _changing(target) as client:
        losses = await client.store.losses()
        confirm(f"Forget {losses.rewound:,} rewound and {losses.orphaned:,} unknown executions?", yes=yes)
        await client.store.forget_losses()
        say("Forgotten: losses are counted anew.")


# -- telling -------------------------------------------------------------------------------------------


def _put(facts: Facts, checks: list[Check]) -> None:
    for section in SECTIONS:
        put(section)
        for check in checks:
            if section_of(check) == section:
                put(f"  {check.verdict:<6}  {check.code.partition('.')[2]}: {check.text}")
                if check.cure and check.verdict is not Verdict.OK:
                    put(f"          -> {check.cure}")
    put("settings")
    for setting in facts.settings:
        put(f"  {setting.name} = {setting.value}  ({setting.source})")
    put(_summary(checks))


def _summary(checks: list[Check]) -> str:
    counts = {verdict: sum(check.verdict is verdict for check in checks) for verdict in Verdict}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def _put_json(facts: Facts, checks: list[Check]) -> None:
    put_json(
        {
            "namespace": facts.namespace,
            "exit": int(exit_for(facts, checks)),
            "checks": [
                {
                    "section": section_of(check),
                    "code": check.code,
                    "verdict": check.verdict,
                    "text": check.text,
                    "cure": check.cure or None,
                }
                for check in checks
            ],
            "settings": [{"name": one.name, "value": one.value, "source": one.source} for one in facts.settings],
        }
    )
