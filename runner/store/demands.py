"""What a process demands of its store, from what it was told: the call, else the environment, else nothing."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import ConfigError
from runner.store.vitals import DURABILITIES, Demands, declared_of

DURABILITY, ALLOW_EVICTION = "RUNNER_DURABILITY", "RUNNER_ALLOW_EVICTION"

#: The policies of Redis and Valkey that delete what nobody asked them to.
EVICTIONS = (
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
)


def demands_of(durability: str | None, allow_eviction: str | None, environ: Mapping[str, str]) -> Demands:
    """Raises ConfigError for a word that means nothing, naming those that do."""
    asked = environ.get(DURABILITY, "") if durability is None else durability
    allowed = environ.get(ALLOW_EVICTION, "") if allow_eviction is None else allow_eviction
    if asked and declared_of(asked) is None:
        raise ConfigError(f"durability {asked!r} ({DURABILITY}): {' or '.join(DURABILITIES)}")
    if allowed and allowed not in EVICTIONS:
        raise ConfigError(f"allow_eviction {allowed!r} ({ALLOW_EVICTION}): one of {', '.join(EVICTIONS)}")
    return Demands(durability=declared_of(asked), allow_eviction=allowed)
