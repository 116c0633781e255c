"""What the doctor makes of facts: decided without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.broker.vitals import BrokerVitals, Drift, QueueVitals
from runner.checks import Check
from runner.cli.doctor import exit_for
from runner.doctor import SECTIONS, Facts, diagnose, section_of
from runner.doctor.facts import Alarms, BrokerFacts, StoreFacts
from runner.doctor.management import alarms_of
from runner.records import WorkerInfo
from runner.store.vitals import Demands, Losses, StoreVitals
from tests.core.test_durability import REDIS

NOW = 1_700_000_000_000
SERVER = {
    **REDIS,
    "redis_version": "7.0.15",
    "aof_last_write_status": "ok",
    "maxmemory": "1000",
    "used_memory": "100",
    "connected_slaves": "0",
}


def vitals(**facts: str) -> StoreVitals:
    return StoreVitals(
        kind="redis",
        name="redis://x",
        facts={**SERVER, **facts},
        now=NOW,
        skew_ms=3,
        partitions=16,
        declared="fsync",
    )


STOPS, GOES_ON = {"stop-writes-on-bgsave-error": "yes"}, {"stop-writes-on-bgsave-error": "no"}


def failed_save(**facts: str) -> StoreVitals:
    return vitals(rdb_last_bgsave_status="err", **facts)


def worker(id: str = "w-1", *, build: str = "b1", queues: tuple[str, ...] = ("default",), ago: int = 10) -> WorkerInfo:
    return WorkerInfo(id=id, build=build, queues=queues, workflows=(), slots=5, lease_ms=10_000, seen_at=NOW - ago)


STORE = StoreFacts(vitals=vitals(), losses=Losses(), leader="scheduler-1", workers=(worker(),))
RABBIT = BrokerVitals(kind="rabbitmq", name="amqp://x", product="RabbitMQ", version="3.10.8")
BROKER = BrokerFacts(vitals=RABBIT, takes_messages=True, alarms=Alarms(nodes=("one",)))
WELL = Facts(namespace="shop", store=STORE, broker=BROKER)


def found(facts: Facts) -> dict[str, Check]:
    return {check.code: check for check in diagnose(facts)}


def with_store(**parts: object) -> Facts:
    return replace(WELL, store=replace(STORE, **parts))


def with_broker(**parts: object) -> Facts:
    return replace(WELL, broker=replace(BROKER, vitals=replace(RABBIT, **parts)))


def test_a_healthy_namespace_has_nothing_to_say_but_what_cannot_be_seen() -> None:
    checks = diagnose(WELL)
    assert {check.code for check in checks if check.verdict != "ok"} == {"broker.consumer_timeout"}
    assert [section_of(check) for check in checks] == sorted(map(section_of, checks), key=SECTIONS.index)
    assert exit_for(WELL, checks) == 0


@pytest.mark.parametrize(
    ("facts", "code", "verdict", "word"),
    [
        (with_store(vitals=vitals(redis_version="6.2.1")), "store.server", "fail", "7.0"),
        (with_store(vitals=vitals(loading="1")), "store.server", "warn", "loading"),
        (with_store(vitals=vitals(appendfsync="no")), "store.durability", "fail", "always"),
        (with_store(vitals=vitals(maxmemory_policy="allkeys-lru")), "store.eviction", "fail", "noeviction"),
        (with_store(vitals=vitals(aof_last_write_status="err")), "store.writes", "fail", "disk"),
        (with_store(vitals=vitals(aof_last_bgrewrite_status="err")), "store.writes", "warn", "rewrite"),
        (with_store(vitals=failed_save(save="60 1")), "store.snapshots", "warn", "where it has save points"),
        (with_store(vitals=failed_save(**STOPS, save="60 1")), "store.snapshots", "fail", "refuses all writes"),
        (with_store(vitals=failed_save(**GOES_ON, save="60 1")), "store.snapshots", "warn", "the last snapshot failed"),
        (with_store(vitals=vitals(used_memory="1000")), "store.memory", "fail", "Overloaded"),
        (
            with_store(vitals=vitals(used_memory="1000", mem_not_counted_for_evict="1")),
            "store.memory",
            "warn",
            "raise maxmemory",
        ),
        (with_store(vitals=vitals(maxmemory="0")), "store.memory", "warn", "no limit"),
        (with_store(vitals=vitals(used_memory="950")), "store.memory", "warn", "raise maxmemory"),
        (with_store(vitals=vitals(evicted_keys="7")), "store.evicted", "fail", "deleted 7 keys"),
        (
            with_store(
                vitals=vitals(
                    connected_slaves="1", slave0="ip=r,port=1,state=online,offset=5,lag=60", master_repl_offset="25"
                )
            ),
            "store.replicas",
            "warn",
            "r:1 online, 20 bytes behind",
        ),
        (with_store(vitals=replace(vitals(), skew_ms=-90_000)), "store.clock", "warn", "90.0 s behind"),
        (with_store(vitals=replace(vitals(), unread={"config": "NOPERM"})), "store.config", "unread", "NOPERM"),
        (replace(WELL, store="no answer"), "store.server", "fail", "no answer"),
        (replace(WELL, broker="refused"), "broker.server", "fail", "refused"),
        (with_broker(version="3.9.1"), "broker.server", "fail", "3.10"),
        (with_broker(product="LavinMQ"), "broker.server", "warn", "LavinMQ"),
        (
            with_broker(drifts=(Drift(what="queue 'q'", differs="x-queue-type"),)),
            "broker.topology",
            "fail",
            "x-queue-type",
        ),
        (with_broker(missing=("queue 'q'",)), "broker.topology", "ok", "not declared yet"),
        (with_broker(uncompared=("queue 'q'",)), "broker.topology", "unread", "may declare"),
        (replace(WELL, broker=replace(BROKER, takes_messages=None)), "broker.publishing", "unread", "may write"),
        (with_broker(dead_letters=2), "broker.dead_letters", "warn", "runner queues dead-letters"),
        (with_broker(orphans=3), "broker.orphans", "warn", "3 hints"),
        (replace(WELL, broker=replace(BROKER, takes_messages=False)), "broker.publishing", "fail", "alarms"),
        (replace(WELL, broker=replace(BROKER, alarms=None)), "broker.alarms", "unread", "RUNNER_BROKER_MANAGEMENT_URL"),
        (replace(WELL, broker=replace(BROKER, alarms="401")), "broker.alarms", "unread", "401"),
        (
            replace(WELL, broker=replace(BROKER, alarms=Alarms(alarms=("one is short",)))),
            "broker.alarms",
            "fail",
            "one",
        ),
        (with_store(leader=""), "fleet.leader", "fail", "runner scheduler"),
        (with_store(leader="", workers=()), "fleet.leader", "warn", "runner scheduler"),
        (with_store(workers=()), "fleet.workers", "warn", "runner worker"),
        (with_store(workers=(worker(ago=30_000),)), "fleet.workers", "warn", "no worker is alive"),
        (with_store(workers=(worker(), worker("w-2", ago=30_000))), "fleet.workers", "ok", "1 workers with 5 slots"),
        (with_store(workers=(worker(), worker("w-2", ago=30_000))), "fleet.gone", "warn", "w-2 (30 s ago)"),
        (with_store(workers=(worker(), worker("w-2", build="b2", ago=30_000))), "fleet.builds", "ok", "one build"),
        (with_store(workers=(worker(ago=30_000),), backlog={"default": 1}), "fleet.queues", "fail", "1 executions"),
        (with_store(workers=(worker(), worker("w-2", build="b2"))), "fleet.builds", "warn", "b1: 1, b2: 1"),
        (with_store(backlog={"gpu": 4}), "fleet.queues", "fail", "gpu (4 executions are ready)"),
        (
            with_broker(queues=(QueueVitals(queue="gpu", waiting=9), QueueVitals(queue="none", waiting=None))),
            "fleet.queues",
            "ok",
            "nothing waits",  # hints may be copies, or of what is long done
        ),
        (with_store(laid_out=False), "namespace.partitions", "warn", "is the name right?"),
        (replace(WELL, queues=("default", "mail")), "fleet.queues", "warn", "mail"),
        (with_store(vitals=replace(vitals(), declared=None)), "namespace.durability", "warn", "RUNNER_DURABILITY"),
        (replace(WELL, demands=Demands(durability="everysec")), "namespace.durability", "fail", "--set-durability"),
        (
            with_store(vitals=replace(vitals(), breaks=2, broken_at=NOW, broken_why="appendonly is off")),
            "namespace.broken",
            "warn",
            "2 times",
        ),
        (
            with_store(losses=Losses(rewound=1, orphaned=2, last_at=NOW, orphaned_ids=("a", "b"))),
            "namespace.losses",
            "fail",
            "2 are unknown (such as a, b)",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_cure(facts: Facts, code: str, verdict: str, word: str) -> None:
    check = found(facts)[code]
    assert check.verdict == verdict
    assert word in f"{check.text} {check.cure}"


def test_what_is_promised_is_said_in_words() -> None:
    assert "power loss" in found(WELL)["namespace.durability"].text


def test_what_cannot_be_reached_leaves_the_rest_to_be_looked_at() -> None:
    no_store, no_broker = replace(WELL, store="away"), replace(WELL, broker="away")
    assert {section_of(check) for check in diagnose(no_store)} == {"store", "broker"}
    assert {section_of(check) for check in diagnose(no_broker)} == set(SECTIONS)
    assert exit_for(no_store, diagnose(no_store)) == exit_for(no_broker, diagnose(no_broker)) == 3
    broken = with_store(losses=Losses(orphaned=1))
    assert exit_for(broken, diagnose(broken)) == 1


def test_alarms_are_read_from_what_the_management_api_answers() -> None:
    nodes = [
        {"name": "a", "running": True, "mem_alarm": True, "disk_free_alarm": False},
        {"name": "b", "running": False},
        {"name": "c", "running": True, "disk_free_alarm": True},
    ]
    told = alarms_of(nodes)
    assert told.nodes == ("a", "b", "c")
    assert told.alarms == ("a is short of memory", "b does not run", "c is short of disk")
    assert alarms_of({"error": "no"}) == Alarms()
