"""What the facts of a store mean. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.checks import Check, fail, ok, unread, warn
from runner.store.durability import judge
from runner.store.vitals import Demands, StoreVitals

#: Redis before this is refused by the scripts themselves: they carry flags.
OLDEST = (7, 0)
#: Clocks may differ by so much before a person who compares times is misled, in ms.
SKEW_MS = 2_000
#: The part of its memory limit at which a store is nearly full.
NEARLY_FULL = 0.9
#: A replica that has not acknowledged for so long lags, in seconds.
LAG_S = 10


def check_store(vitals: StoreVitals, demands: Demands) -> Iterator[Check]:
    yield _server(vitals)
    yield from judge(vitals, demands)
    if vitals.kind == "redis":
        yield from _check_redis(vitals)
    yield _clock(vitals)


def _server(vitals: StoreVitals) -> Check:
    facts = vitals.facts
    if vitals.kind == "sqlite":
        held = f", {int(facts['size']):,} bytes, held by process {facts['lock_holder']}" if facts["file"] else ""
        return ok("store.server", f"SQLite {facts['version']} on {vitals.name}{held}")
    product = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts.get("valkey_version", facts.get("redis_version", ""))
    text = f"{product} {version} at {vitals.name}, up for {_span(facts.get('uptime_in_seconds', ''))}"
    if product == "Redis" and _version(version) < OLDEST:
        return fail("store.server", text, "use Redis 7.0 or newer")
    if facts.get("loading") == "1":
        return warn("store.server", f"{text}: it is loading its data", "wait")
    return ok("store.server", text)


def _check_redis(vitals: StoreVitals) -> Iterator[Check]:
    facts = vitals.facts
    yield from _writes(facts)
    yield _memory(facts)
    yield from _evicted(facts)
    yield _replicas(facts)
    yield ok(
        "store.clients",
        f"{facts.get('connected_clients', '?')} of {facts.get('maxclients', '?')} clients, "
        f"{facts.get('number_of_cached_scripts', '?')} scripts cached",
    )


def _writes(facts: Mapping[str, str]) -> Iterator[Check]:
    if facts.get("aof_enabled") == "1":
        if facts.get("aof_last_write_status", "ok") != "ok":
            yield fail(
                "store.writes",
                "the last write to the append-only file failed: the server refuses all writes (MISCONF)",
                "look at the disk and the server's log",
            )
        elif facts.get("aof_last_bgrewrite_status", "ok") != "ok":
            yield warn(
                "store.writes",
                "the last rewrite of the append-only file failed",
                "look at the disk and the server's log",
            )
        else:
            yield ok("store.writes", "the last write and rewrite of the append-only file succeeded")
    if facts.get("rdb_last_bgsave_status", "ok") != "ok":
        yield from _failed_snapshot(facts.get("save"), facts.get("stop-writes-on-bgsave-error"))


def _failed_snapshot(save: str | None, stop: str | None) -> Iterator[Check]:
    """Without save points the server does not mind. ``None``: not readable."""
    code, failed = "store.snapshots", "the last snapshot failed"
    look = "look at the disk and the server's log"
    if save is None or (save and stop is None):
        yield warn(code, f"{failed}; where it has save points, the server refuses all writes (MISCONF)", look)
    elif save and stop != "no":
        cure = f"{look}; once it can save again (BGSAVE), it takes writes again"
        yield fail(code, f"{failed}, and so the server refuses all writes (MISCONF)", cure)
    elif save:
        yield warn(code, failed, look)


def _memory(facts: Mapping[str, str]) -> Check:
    limit, used = int(facts.get("maxmemory", 0)), int(facts.get("used_memory", 0))
    if not limit:
        cure = "set maxmemory to about half of the machine's, so that Redis refuses new work before the kernel kills it"
        return warn("store.memory", f"{_size(used)} used, no limit", cure)
    text, cure = (
        f"{_size(used)} of {_size(limit)} used",
        "raise maxmemory, or keep ended executions for less long (retention)",
    )
    if used - int(facts.get("mem_not_counted_for_evict", 0)) >= limit:
        return fail("store.memory", f"{text}: it is full, and refuses starts and signals (Overloaded)", cure)
    if used >= NEARLY_FULL * limit:
        return warn("store.memory", text, cure)
    return ok("store.memory", text)


def _evicted(facts: Mapping[str, str]) -> Iterator[Check]:
    count = int(facts.get("evicted_keys", 0))
    if count:
        text = f"the server has deleted {count:,} keys for want of memory since it started"
        yield fail("store.evicted", text, "set maxmemory-policy noeviction, give it memory, then look for what is lost")


def _replicas(facts: Mapping[str, str]) -> Check:
    count = int(facts.get("connected_slaves", 0))
    replicas = [dict(_pairs(facts[f"slave{n}"])) for n in range(count) if f"slave{n}" in facts]
    late = [one for one in replicas if one.get("state") != "online" or int(one.get("lag", 0)) > LAG_S]
    text = ", ".join(_replica(one, int(facts.get("master_repl_offset", 0))) for one in replicas) or "none"
    if late:
        cure = "look at them: a failover to one of these loses what it has not got"
        return warn("store.replicas", f"{len(late)} of {len(replicas)} lag: {text}", cure)
    return ok("store.replicas", f"replicas: {text}")


def _replica(one: Mapping[str, str], offset: int) -> str:
    behind = max(offset - int(one.get("offset", offset)), 0)
    return f"{one.get('ip', '?')}:{one.get('port', '?')} {one.get('state', '?')}, {behind:,} bytes behind"


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, _, value = part.partition("=")
        yield name, value


def _clock(vitals: StoreVitals) -> Check:
    skew = vitals.skew_ms
    if abs(skew) <= SKEW_MS:
        return ok("store.clock", f"the store's clock and this machine's differ by {abs(skew):,} ms")
    which = "ahead of" if skew > 0 else "behind"
    text = f"the store's clock is {abs(skew) / 1000:,.1f} s {which} this machine's"
    return warn("store.clock", text, "set both by NTP: timers follow the store's")


def check_readable(vitals: StoreVitals) -> Iterator[Check]:
    """What could not be read at all, and why."""
    for group, why in vitals.unread.items():
        yield unread("store.config", f"{group} is not readable: {why}", "grant the user +config|get, or look yourself")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())


def _size(count: int) -> str:
    return f"{count / 1024**2:,.1f} MiB"


def _span(seconds: str) -> str:
    if not seconds.isdecimal():
        return "?"
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h {minutes % 60} min"
