"""What a store's own settings mean for what is promised. Pure: facts go in, checks come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.checks import Check, fail, ok, unread, warn
from runner.store.vitals import Demands, Durability, StoreVitals

#: What is promised, in words, by what was declared.
PROMISES: Mapping[Durability | None, str] = {
    "fsync": "acknowledged writes survive a crash of the server, of its machine, and a power loss",
    "everysec": "acknowledged writes survive a crash of the server; a power loss takes at most the last second or two",
    None: "nothing is declared, so nothing was checked: acknowledged writes are as durable as the server is set to be",
}

_SET = {
    "fsync": "set appendonly yes, appendfsync always and no-appendfsync-on-rewrite no",
    "everysec": "set appendonly yes and appendfsync everysec (or always)",
}
_OTHERWISE = "or declare less: `runner doctor --set-durability everysec|none`"
_GRANT = "grant the user +config|get, or look yourself (CONFIG GET {setting})"


def judge(vitals: StoreVitals, demands: Demands) -> list[Check]:
    """What decides whether a process may work on this store: in the order in which to read it."""
    return list((_judge_sqlite if vitals.kind == "sqlite" else _judge_redis)(vitals, demands))


def disagreement(asked: Durability | None, declared: Durability | None, namespace: str) -> str:
    """Why a process that asks for one durability may not join a namespace declared with another; empty if it may."""
    if asked in (None, declared) or declared is None:
        return ""
    return (
        f"namespace {namespace!r} is declared with durability {declared!r}, this process asks for {asked!r}: give all "
        f"processes the same (RUNNER_DURABILITY), or change it: `runner doctor --set-durability {asked} --yes`"
    )


def refused(checks: list[Check], demands: Demands) -> list[Check]:
    """Those for which a process must not start; who asks for ``fsync`` itself is not content with what nobody can read."""
    strict = demands.durability == "fsync"
    return [
        one
        for one in checks
        if one.verdict == "fail" or (strict and one.verdict == "unread" and one.code == "store.durability")
    ]


def _judge_sqlite(vitals: StoreVitals, demands: Demands) -> Iterator[Check]:
    wanted = demands.durability or vitals.declared
    if vitals.facts["file"]:
        sound = (vitals.facts["journal_mode"], vitals.facts["synchronous"]) == ("wal", "2")
        text = f"written through a log that is synced with every write (wanted: {wanted or 'nothing'})"
        yield ok("store.durability", text) if sound else fail("store.durability", "SQLite does not sync", "report this")
    elif wanted:
        cure = "name a file, sqlite:///path, or declare nothing"
        yield fail("store.durability", f"durability {wanted!r} is asked of a store that is memory of one process", cure)
    else:
        yield warn("store.durability", "the store is memory of one process and ends with it", "")


def _judge_redis(vitals: StoreVitals, demands: Demands) -> Iterator[Check]:
    yield _role(vitals.facts)
    yield _mode(vitals.facts)
    yield _durability(vitals, demands.durability or vitals.declared)
    yield _eviction(vitals.facts, demands.allow_eviction)


def _role(facts: Mapping[str, str]) -> Check:
    role = facts.get("role", "")
    if role == "slave":
        primary = f"{facts.get('master_host', '?')}:{facts.get('master_port', '?')}"
        return fail("store.role", f"the server is a replica of {primary}", "give the primary's URL")
    return ok("store.role", "primary") if role else unread("store.role", "INFO does not tell the role", "look yourself")


def _mode(facts: Mapping[str, str]) -> Check:
    if facts.get("redis_mode") == "cluster":
        return fail(
            "store.mode", "the server is a node of a cluster", "use a single primary: clusters are not supported"
        )
    return ok("store.mode", facts.get("redis_mode", "standalone"))


def _durability(vitals: StoreVitals, wanted: Durability | None) -> Check:
    """``appendonly`` is known from INFO to everybody; the rest needs CONFIG GET."""
    facts, code = vitals.facts, "store.durability"
    if facts.get("aof_enabled") != "1":
        return _without_log(code, wanted)
    fsync, rewrite = facts.get("appendfsync"), facts.get("no-appendfsync-on-rewrite", "no")
    if fsync is None:
        about = f"appendfsync is not readable ({vitals.unread.get('config', 'CONFIG GET is refused')})"
        cure = _GRANT.format(setting="appendfsync")
        return unread(code, f"cannot check {wanted!r}: {about}" if wanted else about, cure)
    text = f"appendonly yes, appendfsync {fsync}, no-appendfsync-on-rewrite {rewrite}"
    return _synced(code, text, fsync, rewrite, wanted)


def _without_log(code: str, wanted: Durability | None) -> Check:
    off = "appendonly is off: a restart loses what was acknowledged since the last snapshot"
    if wanted is None:
        return warn(code, off, _SET["everysec"])
    return fail(code, f"{wanted!r} is declared, but {off}", f"{_SET[wanted]}, {_OTHERWISE}")


def _synced(code: str, text: str, fsync: str, rewrite: str, wanted: Durability | None) -> Check:
    if wanted == "fsync" and (fsync, rewrite) != ("always", "no"):
        return fail(code, f"'fsync' is declared, but the server has {text}", f"{_SET['fsync']}, {_OTHERWISE}")
    if wanted == "everysec" and fsync not in ("always", "everysec"):
        return fail(code, f"'everysec' is declared, but the server has {text}", f"{_SET['everysec']}, {_OTHERWISE}")
    if fsync == "no":
        return warn(code, f"{text}: a power loss takes the last half minute", _SET["everysec"])
    if rewrite == "yes":
        return warn(code, f"{text}: nothing is synced while the log is rewritten", "set no-appendfsync-on-rewrite no")
    return ok(code, text)


def _eviction(facts: Mapping[str, str], allowed: str) -> Check:
    code, policy = "store.eviction", facts.get("maxmemory_policy")
    if policy is None:
        return unread(code, "maxmemory-policy is not readable", _GRANT.format(setting="maxmemory-policy"))
    if policy == "noeviction":
        return ok(code, "maxmemory-policy noeviction")
    text = f"maxmemory-policy is {policy}: executions are deleted when memory is short"
    if policy == allowed:
        return warn(code, f"{text} (allowed by name)", "set maxmemory-policy to noeviction")
    return fail(code, text, f"set maxmemory-policy to noeviction, or allow it by name: RUNNER_ALLOW_EVICTION={policy}")
