"""From a URL to a store, loading only the library that it needs."""

from __future__ import annotations

from runner.errors import ConfigError
from runner.store import PARTITIONS, Store
from runner.store.vitals import NO_DEMANDS, Demands
from runner.urls import masked, scheme_of

_LATER = ("redis+sentinel", "redis+cluster")


def open_store(url: str, *, namespace: str, partitions: int = PARTITIONS, demands: Demands = NO_DEMANDS) -> Store:
    """The store of a URL, not opened yet. Raises ConfigError for a URL that leads to none."""
    scheme = scheme_of(url, what="store", known=("redis", "rediss", "sqlite", *_LATER))
    if scheme in _LATER:
        raise ConfigError(f"store URL {masked(url)!r}: {scheme}:// is not supported; use a single primary, redis://")
    if scheme == "sqlite":
        from runner.store.sqlite import SqliteStore  # noqa: PLC0415 - a producer on Redis never loads it

        return SqliteStore(_path(url), namespace=namespace, partitions=partitions, demands=demands)
    from runner.store.redis import RedisStore  # noqa: PLC0415

    return RedisStore(url, namespace=namespace, partitions=partitions, demands=demands)


def _path(url: str) -> str | None:
    """``sqlite:///relative.db`` and ``sqlite:////absolute.db``; ``sqlite://`` is memory."""
    rest = url.removeprefix("sqlite:").removeprefix("//")
    if rest in ("", "/"):
        return None
    if not rest.startswith("/"):
        raise ConfigError(f"store URL {url!r}: write sqlite:///{rest} (three slashes) for a file, sqlite:// for memory")
    return rest.removeprefix("/")
