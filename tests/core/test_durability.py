"""What a store's settings mean: decided without a server."""

from __future__ import annotations

import pytest

from runner.checks import Verdict
from runner.errors import ConfigError
from runner.store.demands import demands_of
from runner.store.durability import disagreement, judge, refused
from runner.store.vitals import Demands, Durability, StoreVitals

REDIS = {
    "role": "master",
    "redis_mode": "standalone",
    "aof_enabled": "1",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory_policy": "noeviction",
}
SQLITE = {"file": "/x.db", "journal_mode": "wal", "synchronous": "2"}


def redis(declared: Durability | None = None, **facts: str | None) -> StoreVitals:
    changed = {name.replace("_on_", "-on-"): value for name, value in facts.items()}
    told = {name: value for name, value in {**REDIS, **changed}.items() if value is not None}
    return StoreVitals(kind="redis", name="redis://x", facts=told, now=1, skew_ms=0, partitions=16, declared=declared)


def sqlite(**facts: str) -> StoreVitals:
    told = {**SQLITE, **facts}
    return StoreVitals(kind="sqlite", name="/x.db", facts=told, now=1, skew_ms=0, partitions=16)


def reasons(vitals: StoreVitals, demands: Demands) -> list[str]:
    return [one.code for one in refused(judge(vitals, demands), demands)]


@pytest.mark.parametrize(
    ("facts", "asked", "verdict"),
    [
        ({}, None, "ok"),
        ({}, "fsync", "ok"),
        ({}, "everysec", "ok"),
        ({"appendfsync": "everysec"}, None, "ok"),
        ({"appendfsync": "everysec"}, "everysec", "ok"),
        ({"appendfsync": "everysec"}, "fsync", "fail"),
        ({"appendfsync": "no"}, None, "warn"),
        ({"appendfsync": "no"}, "everysec", "fail"),
        ({"no-appendfsync-on-rewrite": "yes"}, "everysec", "warn"),
        ({"no-appendfsync-on-rewrite": "yes"}, "fsync", "fail"),
        ({"aof_enabled": "0"}, None, "warn"),
        ({"aof_enabled": "0"}, "everysec", "fail"),
        ({"aof_enabled": "0"}, "fsync", "fail"),
        ({"appendfsync": None}, None, "unread"),
        ({"appendfsync": None}, "everysec", "unread"),
        ({"appendfsync": None}, "fsync", "unread"),
    ],
)
@pytest.mark.parametrize("adopted", [False, True])
def test_what_is_declared_is_compared_with_what_is_set(
    facts: dict[str, str | None], asked: Durability | None, verdict: str, adopted: bool
) -> None:
    """Whether this process asks for it, or the namespace was declared with it by another."""
    vitals = redis(asked if adopted else None, **facts)
    (check,) = [
        one for one in judge(vitals, Demands(durability=None if adopted else asked)) if one.code == "store.durability"
    ]
    assert check.verdict == verdict
    assert check.cure or verdict == "ok"


def test_who_asks_for_fsync_is_not_content_with_what_nobody_can_read() -> None:
    unreadable = redis(appendfsync=None)
    assert reasons(unreadable, Demands(durability="fsync")) == ["store.durability"]
    assert reasons(unreadable, Demands(durability="everysec")) == []
    assert reasons(redis("fsync", appendfsync=None), Demands()) == [], "a producer without the right to look may go on"
    (check,) = [one for one in judge(unreadable, Demands(durability="fsync")) if one.verdict is Verdict.UNREAD]
    assert "+config|get" in check.cure


def test_any_eviction_is_refused_unless_it_is_allowed_by_its_name() -> None:
    lru = redis(maxmemory_policy="volatile-lru")
    assert reasons(lru, Demands()) == ["store.eviction"]
    assert reasons(lru, Demands(allow_eviction="allkeys-lru")) == ["store.eviction"]
    assert reasons(lru, Demands(allow_eviction="volatile-lru")) == []
    assert reasons(redis(maxmemory_policy=None), Demands()) == []


def test_a_replica_and_a_cluster_are_refused() -> None:
    assert reasons(redis(role="slave"), Demands()) == ["store.role"]
    assert reasons(redis(redis_mode="cluster"), Demands()) == ["store.mode"]


def test_a_file_is_always_synced_and_memory_promises_nothing() -> None:
    assert reasons(sqlite(), Demands(durability="fsync")) == []
    assert reasons(sqlite(synchronous="1"), Demands()) == ["store.durability"]
    assert reasons(sqlite(file=""), Demands()) == []
    assert reasons(sqlite(file=""), Demands(durability="everysec")) == ["store.durability"]


def test_a_namespace_has_one_durability() -> None:
    assert not disagreement(None, "fsync", "shop")
    assert not disagreement("fsync", None, "shop")
    assert not disagreement("fsync", "fsync", "shop")
    told = disagreement("everysec", "fsync", "shop")
    for word in ("'shop'", "'fsync'", "'everysec'", "--set-durability everysec"):
        assert word in told


def test_demands_come_from_the_call_then_from_the_environment() -> None:
    told = {"RUNNER_DURABILITY": "fsync", "RUNNER_ALLOW_EVICTION": "volatile-lru"}
    assert demands_of(None, None, {}) == Demands()
    assert demands_of(None, None, told) == Demands(durability="fsync", allow_eviction="volatile-lru")
    assert demands_of("everysec", "", told) == Demands(durability="everysec")
    with pytest.raises(ConfigError, match=r"'always'.*everysec or fsync"):
        demands_of("always", None, {})
    with pytest.raises(ConfigError, match=r"'lru'.*allkeys-lru"):
        demands_of(None, "lru", {})
