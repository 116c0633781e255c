"""Whose executions a command means, and the client that reaches them: through servers, a file, or `runner dev`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

from runner.app import App
from runner.broker import Broker
from runner.broker.factory import open_broker
from runner.broker.memory import MemoryBroker
from runner.cli.backends import file_of, server_url, store_or_dev
from runner.cli.options import target_options
from runner.cli.output import say
from runner.cli.visitor import DoorStore
from runner.client import Client
from runner.errors import ConfigError
from runner.ids import check_namespace
from runner.loading import load_app
from runner.store import Store
from runner.store.demands import demands_of
from runner.store.factory import open_store
from runner.store.vitals import LOOKING, NO_DEMANDS, Demands
from runner.urls import masked

_NO_NAMESPACE = "whose executions? Give --app module:attr, or --namespace NAME (the name of the App)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``app``: the App, or its name; None when the `runner dev` that holds the store is to say."""

    app: App | str | None
    store: str
    broker: str | None
    demands: Demands = NO_DEMANDS

    @property
    def namespace(self) -> str:
        """Raises ConfigError when nobody said it."""
        if self.app is None:
            raise ConfigError(_NO_NAMESPACE)
        return self.app if isinstance(self.app, str) else self.app.name


def target_of(
    *,
    app: str | None,
    app_dir: Path | None,
    namespace: str | None,
    store: str | None,
    broker: str | None,
    durability: str | None,
    allow_eviction: str | None,
) -> Target:
    """From the options of a command. Raises ConfigError or AppNotFound."""
    demands = demands_of(durability or "", allow_eviction or "", {})
    return Target(app=_app_or_name(app, app_dir, namespace), store=store_or_dev(store), broker=broker, demands=demands)


def for_target(command: Callable[..., None]) -> Callable[..., None]:
    """A command that is given its ``target`` instead of the options that name it."""

    @wraps(command)
    def with_target(
        *context: Any,
        app: str | None,
        app_dir: Path | None,
        namespace: str | None,
        store: str | None,
        broker: str | None,
        durability: str | None,
        allow_eviction: str | None,
        **rest: Any,
    ) -> None:
        target = target_of(
            app=app,
            app_dir=app_dir,
            namespace=namespace,
            store=store,
            broker=broker,
            durability=durability,
            allow_eviction=allow_eviction,
        )
        command(*context, target=target, **rest)

    return target_options(with_target)


def namespace_of(app: str | None, app_dir: Path | None, namespace: str | None) -> str:
    """The namespace that the options mean. Raises ConfigError or AppNotFound."""
    return Target(app=_app_or_name(app, app_dir, namespace), store="", broker=None).namespace


def _app_or_name(app: str | None, app_dir: Path | None, namespace: str | None) -> App | str | None:
    if app is None:
        return None if namespace is None else check_namespace(namespace)
    loaded = load_app(app, app_dir)
    if namespace not in (None, loaded.name):
        raise ConfigError(f"--app {app} has the namespace {loaded.name!r}, --namespace says {namespace!r}: give one")
    return loaded


@asynccontextmanager
async def connected(target: Target, *, publishing: bool, changing: bool = False) -> AsyncGenerator[Client]:
    """A client on the target. ``publishing``: it will make executions ready, so the broker is needed too; ``changing``: it will
    write into the store all the same. Who does neither only looks: nothing is created by that.

    Raises StoreUnavailable, BrokerUnavailable or ConfigError.
    """
    file = _existing(target.store)
    demands = target.demands if publishing or changing else LOOKING
    async with AsyncExitStack() as stack:
        if file is None:
            store: Store = open_store(target.store, namespace=target.namespace, demands=demands)
            broker = _broker(target, publishing=publishing)
            app: App | str = target.app or target.namespace
        else:
            store, app = await _embedded(replace(target, demands=demands), file, publishing=publishing)
            broker = MemoryBroker(store.namespace)
        stack.push_async_callback(store.close)
        await store.open()
        if demands.looking and not await store.laid_out():
            say(
                f"Nothing has been kept in namespace {store.namespace!r} at {masked(target.store)} yet: is the name right?"
            )
        stack.push_async_callback(broker.close)
        await broker.open()
        yield await stack.enter_async_context(Client(app, store, broker))


def _existing(store: str) -> Path | None:
    file = file_of(store)
    if file is not None and not file.exists():
        raise ConfigError(f"there is no store {str(file)!r} yet: `runner dev` makes it")
    return file


def _broker(target: Target, *, publishing: bool) -> Broker:
    if not publishing:  # looking must work while the broker is away
        return MemoryBroker(target.namespace)
    url = server_url(target.broker, option="broker", variable="RUNNER_BROKER_URL")
    return open_broker(url, namespace=target.namespace)


async def _embedded(target: Target, file: Path, *, publishing: bool) -> tuple[Store, App | str]:
    """The store on a file: through the process that holds it, or our own for a moment when nobody does."""
    door = await DoorStore.find(file)
    if door is None:
        if publishing:
            say(f"`runner dev` is not running on {file}: what you ask for happens when it does.")
        store: Store = open_store(target.store, namespace=target.namespace, demands=target.demands)
        return store, target.app or target.namespace
    if target.app is not None and target.namespace != door.namespace:
        await door.close()
        raise ConfigError(f"the process that holds {file} runs app {door.namespace!r}, not {target.namespace!r}")
    behind: Any = door  # as much of a store as a client uses
    return behind, target.app or door.namespace
