"""Which store and broker a command means, and what is not for it."""

from __future__ import annotations

from pathlib import Path

from runner.errors import ConfigError
from runner.urls import masked

#: Where `runner dev` keeps its executions.
DEV_STORE = "sqlite:///.runner/state.db"


def file_of(store: str) -> Path | None:
    """The file of an embedded store; None for a store that has a server. Raises ConfigError for one in memory."""
    if not store.startswith("sqlite:"):
        return None
    path = store.removeprefix("sqlite:").removeprefix("//").removeprefix("/")
    if not path:
        raise ConfigError(f"store URL {store!r} is memory of one process: name a file, such as {DEV_STORE}")
    return Path(path).expanduser().resolve()


def server_url(url: str | None, *, option: str, variable: str) -> str:
    """The URL of a backend that several processes share. Raises ConfigError without one, or for an embedded one."""
    if not url:
        raise ConfigError(f"no {option} is configured: set {variable}, or give --{option} URL; or use `runner dev`")
    if url.startswith(("sqlite:", "memory:")):
        raise ConfigError(
            f"--{option} {masked(url)} belongs to one process; `runner dev` has worker and scheduler in one"
        )
    return url


def store_or_dev(url: str | None) -> str:
    """The store that was named, else the file of a `runner dev` in this directory. Raises ConfigError without either."""
    if url:
        return url
    path = file_of(DEV_STORE)
    if path is None or not path.exists():
        raise ConfigError(
            f"no store is configured: set RUNNER_STORE_URL, or give --store URL ({DEV_STORE} is used when it is there: "
            "`runner dev` makes it)"
        )
    return DEV_STORE
