"""``runner doctor``: what it says, of servers and of a file, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from runner.records import WorkerInfo
from runner.store.redis import RedisStore
from tests.cli.conftest import Said
from tests.servers import RedisServer, free_ports, start_redis, wait_until

Here = Callable[..., Said]
WORKER = WorkerInfo(id="", build="", queues=("default",), workflows=(), slots=1, host="blade", pid=77)


@pytest.fixture
def on(here: Here, redis_url: str, rabbit_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Here:
    """A command on the shared servers, in this test's namespace."""
    monkeypatch.setenv("SHOP_NAMESPACE", namespace)

    def on(*arguments: str) -> Said:
        return here(*arguments, "--app", "shop:app", "--store", redis_url, "--broker", rabbit_url)

    return on


def checks(said: Said) -> dict[str, str]:
    return {check["code"]: check["verdict"] for check in said.json()["checks"]}


def test_every_section_is_told_with_settings_and_where_they_come_from(
    on: Here, monkeypatch: pytest.MonkeyPatch, rabbit_url: str
) -> None:
    monkeypatch.setenv("RUNNER_DURABILITY", "fsync")
    monkeypatch.setenv("RUNNER_BROKER_MANAGEMENT_URL", "http://guest:hidden@127.0.0.1:1")
    said = on("doctor")
    assert said.code == 0, said.out + said.err
    sections = [line for line in said.out.splitlines() if line and not line.startswith(" ")]
    assert sections[:5] == ["store", "broker", "fleet", "namespace", "settings"]
    assert "durability = fsync  (variable RUNNER_DURABILITY)" in said.out
    assert "(flag --store)" in said.out
    assert "hidden" not in said.out
    assert "guest:guest" not in said.out


def test_the_durability_of_a_namespace_is_declared_shown_and_changed(on: Here) -> None:
    assert checks(on("doctor", "--json"))["namespace.durability"] == "warn"
    refused = on("doctor", "--set-durability", "fsync")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert on("doctor", "--set-durability", "fsync", "--yes").code == 0
    said = on("doctor", "--json")
    assert said.code == 0
    assert checks(said)["namespace.durability"] == "ok"
    other = on("doctor", "--json", "--durability", "everysec")
    assert other.code == 1
    assert checks(other)["namespace.durability"] == "fail"
    assert on("doctor", "--forget-losses", "--yes").code == 0
    assert on("doctor", "--set-durability", "none", "--yes").code == 0
    assert checks(on("doctor", "--json"))["namespace.durability"] == "warn"


@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_a_process_that_stays_does_not_start_on_a_store_that_promises_too_little(
    here: Here, own_redis: RedisServer, rabbit_url: str, command: str
) -> None:
    with Redis.from_url(own_redis.url) as admin:
        admin.config_set("appendfsync", "everysec")
    Path("runner.toml").write_text(f'store = "{own_redis.url}"\nbroker = "{rabbit_url}"\ndurability = "fsync"\n')
    said = here("--config", "runner.toml", command, "--app", "shop:app")
    assert said.code == 2
    assert "appendfsync everysec" in said.err
    assert "set appendonly yes, appendfsync always" in said.err
    told = here("--config", "runner.toml", "doctor", "--json", "--app", "shop:app")
    assert checks(told)["store.durability"] == "fail"
    assert {"name": "durability", "value": "fsync", "source": "file"} in told.json()["settings"]


def test_what_cannot_be_reached_ends_with_3_and_the_rest_is_told(here: Here, redis_url: str, namespace: str) -> None:
    (nobody,) = free_ports(1)
    broker = f"amqp://guest:hidden@127.0.0.1:{nobody}/"
    said = here("doctor", "--json", "--namespace", namespace, "--store", redis_url, "--broker", broker)
    assert said.code == said.json()["exit"] == 3
    assert checks(said)["broker.server"] == "fail"
    assert checks(said)["store.durability"] == "ok"
    assert "hidden" not in said.out + said.err


@pytest.fixture
def unwilling(tmp_path: Path) -> Iterator[RedisServer]:
    """A server with save points whose folder is gone at its next snapshot: from then on it takes no writes."""
    (tmp_path / "data").mkdir()
    server = start_redis(tmp_path, appendonly="no", save="3600 1", dir=str(tmp_path / "data"))
    yield server
    server.kill()


def test_a_server_that_takes_no_writes_is_named_and_can_be_looked_at(
    here: Here, unwilling: RedisServer, rabbit_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_NAMESPACE", namespace)

    def on(*arguments: str) -> Said:
        return here(*arguments, "--app", "shop:app", "--store", unwilling.url, "--broker", rabbit_url)

    assert on("start", "quick", '{"id": "7", "amount": 1}', "--id", "e-1").code == 0
    (tmp_path / "data").rmdir()
    with Redis.from_url(unwilling.url) as admin:
        admin.bgsave()
        wait_until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err", 60, lambda: "it was saved")
    told = on("doctor", "--json")
    assert told.code == 1, "it can be reached, and is not well"
    assert checks(told)["store.snapshots"] == "fail"
    assert checks(told)["fleet.queues"] == "fail"
    looks = ("executions list", "executions show e-1", "executions audit e-1", "schedules list", "workers list", "fsck")
    for look in (*looks, "why e-1", "queues list"):
        said = on(*look.split(), "--json")
        assert said.code == 0, (look, said.err)


def test_looking_at_a_name_that_nobody_uses_says_so_and_makes_nothing(on: Here, redis_url: str, namespace: str) -> None:
    said = on("executions", "list", "--json")
    assert said.json() == {"executions": [], "cursor": None, "unreadable": {}}
    assert "Nothing has been kept in namespace" in said.err
    assert checks(on("doctor", "--json"))["namespace.partitions"] == "warn"
    with Redis.from_url(redis_url) as admin:
        assert not admin.exists(f"runner:{{{namespace}}}:meta")


def test_queues_are_listed_with_what_is_ready_and_who_consumes(on: Here) -> None:
    assert on("start", "quick", '{"id": "7", "amount": 1}').code == 0
    said = on("queues", "list", "--json")
    (queue,) = said.json()["queues"]
    assert (queue["queue"], queue["waiting"], queue["ready"], queue["workers"], queue["consumers"]) == (
        "default",
        1,
        1,
        0,
        0,
    )
    assert (said.json()["dead_letters"], said.json()["orphans"]) == (0, 0)
    found = on("doctor", "--json")
    assert found.code == 1
    assert checks(found)["fleet.queues"] == checks(found)["fleet.leader"] == "fail"


async def beat(url: str, namespace: str, **leases: int) -> None:
    """Workers that have said so far that they live, and when they would have to say it again, in ms."""
    store = RedisStore(url, namespace=namespace)
    await store.open()
    renewer = store.renewer()
    for id, lease_ms in leases.items():
        worker = replace(WORKER, id=id, lease_ms=lease_ms)
        await asyncio.to_thread(renewer.heartbeat, worker)
    await asyncio.to_thread(renewer.close)
    await store.close()


def test_a_worker_that_died_is_shown_as_gone_and_counted_by_nobody(on: Here, redis_url: str, namespace: str) -> None:
    asyncio.run(beat(redis_url, namespace, dead=0, live=3_600_000))
    told = on("workers", "list", "--json").json()["workers"]
    assert [(one["id"], one["state"], one["host"], one["pid"]) for one in told] == [
        ("dead", "gone", "blade", 77),
        ("live", "live", "blade", 77),
    ]
    dead, live = on("workers", "list").out.splitlines()[1:]
    assert f"gone since {told[0]['seen_at']}" in dead
    assert "gone" not in live
    assert on("queues", "list", "--json").json()["queues"][0]["workers"] == 1
    said = on("doctor", "--json")
    assert (checks(said)["fleet.workers"], checks(said)["fleet.gone"]) == ("ok", "warn")


def test_a_file_is_looked_at_through_the_process_that_holds_it(shell, here: Here) -> None:
    file = "sqlite:///state.db"
    process = shell.spawn_ready("dev.ready", "dev", "--app", "shop:app", "--store", file, "--log-format", "json")
    said = here("doctor", "--json", "--app", "shop:app", "--store", file)
    assert said.code == 0, said.out + said.err
    found = checks(said)
    assert found["namespace.durability"] == found["fleet.leader"] == found["fleet.workers"] == "ok"
    assert here("doctor", "--set-durability", "fsync", "--yes", "--app", "shop:app", "--store", file).code == 0
    (server,) = (check for check in said.json()["checks"] if check["code"] == "store.server")
    assert f"held by process {process.pid}" in server["text"]
