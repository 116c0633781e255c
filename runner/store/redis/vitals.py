"""What a Redis server says of itself, whether that is enough for what is promised, and what it has lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from runner.checks import Check, Verdict
from runner.errors import ConfigError, RunnerError, StoreUnavailable
from runner.log import Logger
from runner.store.durability import disagreement, judge, refused
from runner.store.keys import Keys
from runner.store.redis.connection import Endpoint, Health, Reply
from runner.store.redis.decode import counts
from runner.store.redis.pipeline import Pipeline
from runner.store.redis.scripts import scripts
from runner.store.redis.stored import pairs
from runner.store.vitals import SHOWN_LOSSES, Demands, Durability, Losses, StoreVitals, declared_of

log = Logger("runner.store.redis")

#: The layout of the keys. A process refuses a namespace that a newer one has laid out.
SCHEMA = 1

#: What of INFO is kept.
INFO = frozenset(
    {
        "redis_version",
        "valkey_version",
        "server_name",
        "redis_mode",
        "run_id",
        "uptime_in_seconds",
        "role",
        "master_host",
        "master_port",
        "master_link_status",
        "connected_slaves",
        "master_repl_offset",
        "loading",
        "aof_enabled",
        "aof_last_write_status",
        "aof_last_bgrewrite_status",
        "rdb_last_bgsave_status",
        "maxmemory",
        "maxmemory_policy",
        "used_memory",
        "mem_not_counted_for_evict",
        "used_memory_scripts",
        "number_of_cached_scripts",
        "evicted_keys",
        "connected_clients",
        "blocked_clients",
        "maxclients",
    }
)
CONFIG = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save", "stop-writes-on-bgsave-error")

_EVENTS = {"store.durability": "store.not_durable", "store.eviction": "store.eviction_policy"}


class RedisVitals:
    """``runner.store.vitals.Vitals``, and the checks of opening, for the store that has these."""

    namespace: str
    partitions: int
    _demands: Demands
    _endpoint: Endpoint
    _health: Health
    _keys: Keys
    _pipeline: Pipeline
    _checking: set[asyncio.Task[None]]

    async def vitals(self) -> StoreVitals:
        return await self._vitals(*await self._config())

    async def _vitals(self, config: Mapping[str, str], why: str) -> StoreVitals:
        asked_at = _wall_ms()
        now, info, meta = await asyncio.gather(
            self.now(),
            self._pipeline.command("INFO"),
            self._pipeline.command("HGETALL", f"{self._keys.wide}meta"),
        )
        kept = {name.decode(): value.decode() for name, value in pairs(meta)}
        return StoreVitals(
            kind="redis",
            name=self._endpoint.name,
            facts={**facts_of(info.decode(errors="replace").splitlines()), **config},
            unread={"config": why} if why else {},
            now=now,
            skew_ms=now - (asked_at + _wall_ms()) // 2,
            partitions=int(kept.get("partitions", self.partitions)),
            declared=declared_of(kept.get("durability", "")),
            breaks=int(kept.get("breaks", 0)),
            broken_at=int(kept["broken_at"]) if "broken_at" in kept else None,
            broken_why=kept.get("broken_why", ""),
        )

    async def laid_out(self) -> bool:
        return bool(await self._pipeline.command("HEXISTS", f"{self._keys.wide}meta", "partitions"))

    async def now(self) -> int:
        seconds, micros = await self._pipeline.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def declare(self, durability: Durability | None) -> None:
        meta = f"{self._keys.wide}meta"
        words = ("HDEL", meta, "durability") if durability is None else ("HSET", meta, "durability", durability)
        await self._pipeline.command(*words)

    async def backlog(self) -> Mapping[str, int]:
        asked = (
            self._pipeline.run(scripts().backlog, self._keys.prefix(partition)) for partition in range(self.partitions)
        )
        found: Counter[str] = Counter()
        for flat in await asyncio.gather(*asked):
            found.update(counts(flat))
        return found

    async def losses(self) -> Losses:
        asked = (
            self._pipeline.run(scripts().losses, self._keys.prefix(partition), SHOWN_LOSSES)
            for partition in range(self.partitions)
        )
        replies = await asyncio.gather(*asked)
        moments = [at for _, _, at, _, _ in replies if at is not None]
        return Losses(
            rewound=sum(reply[0] for reply in replies),
            orphaned=sum(reply[1] for reply in replies),
            last_at=max(moments, default=None),
            rewound_ids=_latest(reply[3] for reply in replies),
            orphaned_ids=_latest(reply[4] for reply in replies),
        )

    async def forget_losses(self) -> None:
        for partition in range(self.partitions):
            prefix = self._keys.prefix(partition)
            await self._pipeline.command("UNLINK", *(f"{prefix}lost{kind}" for kind in ("", ":rewound", ":orphaned")))

    # -- opening ------------------------------------------------------------------------------------

    async def _enter(self) -> None:
        """Check the namespace and the server. Raises ConfigError; nothing is declared when it does."""
        if self._demands.looking:
            await self._take_as_it_is()
            return
        primary = await self._replica_of()  # before the first write, which a replica would not answer
        if primary and not self._demands.refusing:
            return
        if primary:
            raise ConfigError(f"{self._endpoint.name} is a replica of {primary}: give the primary's URL")
        declared = await self._meta(None)
        if not self._demands.refusing:
            return
        self._join(declared)
        self._act_upon(await self._checked(declared))
        if self._demands.durability is not None and declared is None:
            await self._declare_first(self._demands.durability)

    async def _take_as_it_is(self) -> None:
        """By a plain read: a server that takes no writes, or is a replica, answers it as well."""
        partitions, schema = await self._pipeline.command("HMGET", f"{self._keys.wide}meta", "partitions", "schema")
        self._check_schema(schema or b"0")
        if partitions is not None:
            self.partitions = int(partitions)
            self._keys = Keys(self.namespace, self.partitions)

    async def _checked(self, declared: Durability | None) -> StoreVitals:
        """The configuration is only asked for where something depends on it: few users may read it, and refusals are logged."""
        if self._demands.durability or declared:
            return await self.vitals()
        return await self._vitals({}, "nobody asked")

    async def _declare_first(self, durability: Durability) -> None:
        try:
            self._join(await self._meta(durability))
        except StoreUnavailable as error:
            cure = "start a scheduler with the same durability: it may lay out the namespace"
            log.warning("store.not_declared", url=self._endpoint.name, error=str(error), cure=cure)

    async def _replica_of(self) -> str:
        """Whose replica the server is; empty for a primary."""
        info = await self._pipeline.command("INFO", "replication")
        facts = facts_of(info.decode(errors="replace").splitlines())
        return (
            f"{facts.get('master_host', '?')}:{facts.get('master_port', '?')}" if facts.get("role") == "slave" else ""
        )

    async def _meta(self, durability: Durability | None) -> Durability | None:
        """What is declared, after this declaration where there was none."""
        partitions, schema, declared = await self._pipeline.run(
            scripts().meta, self._keys.wide, self.partitions, SCHEMA, durability or ""
        )
        self._check_schema(schema)
        if int(partitions) != self.partitions:
            raise ConfigError(
                f"namespace {self.namespace!r} at {self._endpoint.name} was created with {int(partitions)} partitions, "
                f"not {self.partitions}: set partitions to {int(partitions)}, or use another namespace"
            )
        return declared_of(declared.decode())

    def _check_schema(self, schema: bytes) -> None:
        if int(schema) > SCHEMA:
            raise ConfigError(
                f"namespace {self.namespace!r} at {self._endpoint.name} has schema {int(schema)}, this version of "
                f"Runner knows {SCHEMA}: upgrade it, or use another namespace"
            )

    def _join(self, declared: Durability | None) -> None:
        if conflict := disagreement(self._demands.durability, declared, self.namespace):
            raise ConfigError(f"{self._endpoint.name}: {conflict}")

    def _act_upon(self, vitals: StoreVitals) -> None:
        checks = judge(vitals, self._demands)
        if reasons := refused(checks, self._demands):
            raise ConfigError("; ".join(f"{self._endpoint.name}: {one.told}" for one in reasons))
        wanted = self._demands.durability or vitals.declared
        for one in checks:
            if one.verdict is Verdict.WARN or (one.verdict is Verdict.UNREAD and (wanted or one.code in _ALWAYS)):
                log.warning(_event(one), url=self._endpoint.name, found=one.text, cure=one.cure)

    async def _config(self) -> tuple[Mapping[str, str], str]:
        """What may be read of the configuration, and why not more."""
        try:
            flat = await self._pipeline.command("CONFIG", "GET", *CONFIG)
        except StoreUnavailable as error:
            return {}, str(error)
        except RunnerError as error:  # a provider that has renamed the command
            return {}, str(error)
        return {name.decode(): value.decode() for name, value in pairs(flat)}, ""

    # -- later --------------------------------------------------------------------------------------

    def _restarted(self) -> None:
        """The server has come back as another process: perhaps with other settings."""
        if self._demands.looking:
            return
        task = asyncio.get_running_loop().create_task(self._check_again())
        self._checking.add(task)
        task.add_done_callback(self._checking.discard)

    async def _check_again(self) -> None:
        """What runs is not stopped: it is logged, counted, and shown by `runner doctor`."""
        try:
            vitals = await self._checked(await self._meta(None))
            found = [one for one in judge(vitals, self._demands) if one.verdict is Verdict.FAIL]
            if found:
                why = "; ".join(one.told for one in found)
                log.error("store.durability_broken", url=self._endpoint.name, reason=why)
                # Of the roles in deploy/ only a scheduler may write this.
                await self._pipeline.run(scripts().broken, self._keys.wide, vitals.facts.get("run_id", ""), why)
        except RunnerError as error:  # away again: whoever meets it next looks again
            log.warning("store.not_checked", url=self._endpoint.name, error=str(error))


_ALWAYS = frozenset({"store.eviction"})


def _event(check: Check) -> str:
    return "store.unread" if check.verdict is Verdict.UNREAD else _EVENTS.get(check.code, check.code)


def facts_of(lines: Iterable[str]) -> dict[str, str]:
    """What is kept of an INFO answer; a replica is `slave<n>`."""
    split = (line.strip().partition(":") for line in lines)
    return {name: value for name, _, value in split if name in INFO or _is_replica(name)}


def _is_replica(name: str) -> bool:
    return name.startswith("slave") and name.removeprefix("slave").isdecimal()


def _latest(flats: Iterable[Reply]) -> tuple[str, ...]:
    found = sorted(((int(at), id.decode()) for flat in flats for id, at in pairs(flat)), reverse=True)
    return tuple(id for _, id in found[:SHOWN_LOSSES])


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
